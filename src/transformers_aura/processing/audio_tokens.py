"""The audio token: the text and id that mark an audio position, and which positions of a batch belong to which clip."""

from __future__ import annotations

import re
from typing import TypeVar

import torch
from transformers import AddedToken, PreTrainedConfig, PreTrainedTokenizerBase


AUDIO_TOKEN = "<|audio|>"
"""Text that marks the place of an audio, for an LLM whose embedding has a row to spare; a special token of the processor's tokenizer."""

FrameCount = TypeVar("FrameCount", int, torch.Tensor)

# <|reserved_special_token_7|>, <unused7>, <|extra_7|>, <|dummy_7|>, <|placeholder7|>, [control_7], <SPECIAL_7>, [UNUSED_TOKEN_7], ...
_RESERVED_TOKEN = re.compile(
    r"\W+(reserved|unused|extra|dummy|placeholder|control|special)[a-z_]*\d+(_token)?\W+", re.IGNORECASE
)
# Not every token that begins or ends a turn is named in a tokenizer's settings, and a template may come later.
_MARKS_TEXT = re.compile(
    r"start|end|stop|begin|eo[a-z]|bo[a-z]|im_|turn|header|user|assistant|system|tool|think|mask|pad|unk|cls",
    re.IGNORECASE,
)


def choose_audio_token(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> str:
    """The text of the audio token for a new student of an LLM. Its id lies inside the LLM's vocabulary wherever there is a token to spare.

    What looks up the ids of a prompt (assisted generation, a penalty on the prompt's tokens, a serving engine) then meets an id that the LLM has. In
    this order:

    1. [`AUDIO_TOKEN`], if the tokenizer has it, or the embedding has more rows than the tokenizer has tokens (a padded vocabulary);
    2. the last of the tokens that are reserved for later use (`<|reserved_special_token_247|>`, `<unused98>`, ...);
    3. the last special token that nothing uses: by its name it marks no part of a text, a turn or a tool call, and the chat template does not write it;
    4. [`AUDIO_TOKEN`], with an id beyond the vocabulary.

    Args:
        tokenizer: of the LLM, as its repo holds it.
        config: of the LLM.
    """
    vocabulary, text_config = tokenizer.get_vocab(), config.get_text_config()
    vocab_size = text_config.vocab_size
    if AUDIO_TOKEN in vocabulary or max(vocabulary.values()) + 1 < vocab_size:
        return AUDIO_TOKEN
    template, named = str(tokenizer.chat_template or ""), set(tokenizer.special_tokens_map.values())
    used = [getattr(text_config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")]
    used_ids = {token_id for ids in used for token_id in (ids if isinstance(ids, list) else [ids])}

    def is_free(text: str) -> bool:
        token_id = vocabulary.get(text, vocab_size)
        return token_id < vocab_size and token_id not in used_ids and text not in named and text not in template

    reserved = [text for text in vocabulary if _RESERVED_TOKEN.fullmatch(text)]
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for texts in (reserved, [text for text in special if not _MARKS_TEXT.search(text)]):
        if free := list(filter(is_free, texts)):
            return max(free, key=vocabulary.__getitem__)
    return AUDIO_TOKEN


def add_audio_token(tokenizer: PreTrainedTokenizerBase, audio_token: str = AUDIO_TOKEN) -> int:
    """Make `audio_token` a special token of `tokenizer` (unless it is one) and return its id.

    The id of a new token may lie beyond the LLM's embedding: no audio position is looked up there, so the embedding is not resized.
    """
    tokenizer.add_tokens([AddedToken(audio_token, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(audio_token))


def num_audio_tokens(num_frames: FrameCount, frames_per_token: int) -> FrameCount:
    """Number of audio positions that `num_frames` log-mel frames take in the LLM's sequence.

    The one function that decides it: the processor writes this many placeholders, the model makes this many embeddings.

    Args:
        num_frames (`int` or `torch.LongTensor` of any shape): log-mel frames (100 a second at the default hop).
        frames_per_token (`int`): frames that share one audio token.

    Returns:
        `ceil(num_frames / frames_per_token)`, of the type and shape of `num_frames`.
    """
    return (num_frames + frames_per_token - 1) // frames_per_token


def find_audio_positions(is_audio_token: torch.Tensor, clip_tokens: torch.Tensor) -> torch.Tensor:
    """The positions of a batch that its clips take.

    A row has its clips' audio tokens and no others, or it has no clip: there the token is text like any other.

    Args:
        is_audio_token (`torch.BoolTensor` of shape `(batch, seq)`): `True` = the id is the audio token's.
        clip_tokens (`(num_audios,)`): audio tokens of each clip, in reading order.

    Returns:
        `torch.BoolTensor` of shape `(batch, seq)`: `is_audio_token` without rows of text.

    Raises:
        ValueError: rows and clips do not belong together, or they do in more than one way.
    """
    row_tokens = is_audio_token.sum(-1)
    row_ends = row_tokens.cumsum(0)
    ends_with_a_clip = (row_ends == 0) | torch.isin(row_ends, clip_tokens.cumsum(0))
    if bool(ends_with_a_clip.all() & (row_tokens.sum() == clip_tokens.sum())):
        return is_audio_token
    rows, clips = row_tokens.tolist(), clip_tokens.tolist()
    assignments = _assignments(rows, clips)
    if len(assignments) == 1:
        has_clips = torch.tensor(assignments[0], device=is_audio_token.device)
        return is_audio_token & has_clips.unsqueeze(-1)
    ambiguous = (
        " Some rows hold the audio token as text, and more than one row could be the one with the audio."
        if assignments
        else ""
    )
    by_row = f" ({', '.join(map(str, rows))} by row)" if len(rows) > 1 else ""
    raise ValueError(
        f"`input_ids` hold {sum(rows)} audio positions{by_row}, but the {len(clips)} clips of the batch make {sum(clips)} audio embeddings "
        f"({', '.join(map(str, clips))}).{ambiguous} Were the ids truncated, or made by a processor of another model, or does the text beside "
        "an audio hold the audio token?"
    )


def _assignments(rows: list[int], clips: list[int]) -> list[tuple[bool, ...]]:
    """Which rows have clips: up to two ways in which all clips find their place, in reading order."""
    found: dict[int, list[tuple[bool, ...]]] = {
        len(clips): [()]
    }  # by the first clip that is left for the rows from here on
    for tokens in reversed(rows):
        before: dict[int, list[tuple[bool, ...]]] = {}
        for first in range(len(clips) + 1):
            ways = [(False, *way) for way in found.get(first, [])]
            total, end = 0, first
            while tokens and end < len(clips) and total < tokens:
                total, end = total + clips[end], end + 1
            if tokens and total == tokens:
                ways += [(True, *way) for way in found.get(end, [])]
            if ways:
                before[first] = ways[:2]
        found = before
    return found.get(0, [])


def clips_of_rows(clip_tokens: torch.Tensor, row_tokens: torch.Tensor) -> torch.Tensor:
    """Row that each clip of a batch belongs to.

    Args:
        clip_tokens (`(num_audios,)`): audio tokens of each clip, in reading order.
        row_tokens (`(batch,)`): audio positions of each row, see [`find_audio_positions`].

    Returns:
        `torch.LongTensor` of shape `(num_audios,)`.
    """
    return torch.searchsorted(row_tokens.cumsum(0), clip_tokens.cumsum(0))
