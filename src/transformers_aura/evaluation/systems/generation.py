"""Greedy generation, with how sure the model was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


@torch.inference_mode()
def generate_greedily(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    max_new_tokens: int,
    pad_token_id: int | None = None,
) -> tuple[torch.Tensor, list[float | None]]:
    """
    Args:
        model: has `generate` and `compute_transition_scores`.
        inputs: padded on the left; `input_ids` among them.
        max_new_tokens: length limit.
        pad_token_id: fills finished rows; the model's own without it.

    Returns:
        new tokens `(batch, tokens)`; and of each row the geometric mean of its tokens' probabilities, the one that ends it included (`None`
        where there is no token).
    """
    output = model.generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        num_beams=1,
        **({} if pad_token_id is None else {"pad_token_id": pad_token_id}),
    )
    tokens = output.sequences[:, inputs["input_ids"].shape[1] :]
    log_probabilities = model.compute_transition_scores(
        output.sequences, output.scores, getattr(output, "beam_indices", None), normalize_logits=True
    )
    ends = torch.tensor(_end_tokens(model), device=tokens.device)
    is_end = torch.isin(tokens, ends)
    counted = (is_end.long().cumsum(dim=1) - is_end.long()) == 0  # up to the first end, with it
    sums = (log_probabilities.float().nan_to_num(neginf=-1e4) * counted).sum(dim=1)
    means = (sums / counted.sum(dim=1).clamp(min=1)).exp().tolist()
    return tokens, [mean if any_ else None for mean, any_ in zip(means, counted.any(dim=1).tolist(), strict=True)]


def _end_tokens(model: Any) -> list[int]:
    ends = model.generation_config.eos_token_id
    return [] if ends is None else ends if isinstance(ends, list) else [ends]
