"""Where a long prompt is cut, so that the LLM takes it in parts, each behind the keys and values of those before: the memory of one part, not of the whole prompt."""

from __future__ import annotations

import torch


TOKENS_PER_PART = 512
"""Positions that the LLM takes at once, of prompts that are at least twice as long: 41 s of audio at the usual 12.5 tokens a second."""


def parts_of_prompt(block_sequence_ids: torch.Tensor, tokens_per_part: int = TOKENS_PER_PART) -> list[slice]:
    """
    Parts of a prompt, in none of which a block of audio is cut, in any row: so each position sees what it sees in one pass.

    Args:
        block_sequence_ids (`(batch, seq)`): block that each position belongs to, -1 = it is text.
        tokens_per_part: positions of a part; more where blocks leave no place for a cut.

    Returns:
        consecutive parts of `seq`: one part where the prompt is shorter than two.
    """
    length = block_sequence_ids.shape[1]
    if length < 2 * tokens_per_part:
        return [slice(0, length)]
    before, behind = block_sequence_ids[:, :-1], block_sequence_ids[:, 1:]
    places = ((before != behind) | (before == -1)).all(0).nonzero().view(-1) + 1
    edges = [0]
    while length - edges[-1] > tokens_per_part:
        wanted = edges[-1] + tokens_per_part
        fitting = places[(places > edges[-1]) & (places <= wanted)]
        later = places[places > wanted]
        if len(fitting):
            edges.append(int(fitting[-1]))
        elif len(later):
            edges.append(int(later[0]))
        else:
            break
    return [slice(first, end) for first, end in zip(edges, [*edges[1:], length], strict=True)]
