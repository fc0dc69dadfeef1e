"""Texts to rows of token ids of one length. The tokenizer itself is only read: several threads may share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import LARGE_INTEGER

from .arguments import one_of
from .control_tokens import ControlTokens


_CUT = ("longest_first", "only_first")


def tokenize_texts(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    control_tokens: ControlTokens,
    settings: Mapping[str, Any],
    **tokenizer_kwargs: Any,
) -> dict[str, list[list[Any]]]:
    """
    Token ids and attention mask of texts, and what else the tokenizer was asked for.

    A fast tokenizer keeps the padding and truncation of its last call, so that calls of several threads spoil each other: both are done here.

    Args:
        texts: prompts, or rendered chats.
        tokenizer, control_tokens: of the LLM.
        settings: `add_special_tokens`, `truncation` and `max_length`, as in the tokenizer's own call.
        tokenizer_kwargs: further arguments of the tokenizer's call.

    Returns:
        lists of rows by name: `input_ids`, `attention_mask`, ...

    Raises:
        TypeError: an argument that would make other rows than one of each text.
        ValueError: an empty text, or a setting of an unknown value.
    """
    for name in ("stride", "return_overflowing_tokens", "text_pair", "text_target"):
        if tokenizer_kwargs.get(name):
            raise TypeError(f"AuraProcessor makes one row of each text, so it does not take `{name}`.")
    asked_for_mask = tokenizer_kwargs.pop("return_special_tokens_mask", False)
    truncation = one_of("truncation", settings["truncation"], (True, False, *_CUT, "do_not_truncate", None))
    is_cut = truncation is True or truncation in _CUT
    columns = control_tokens.encode(
        texts,
        tokenizer,
        add_special_tokens=settings["add_special_tokens"],
        padding=False,
        truncation=False,
        return_token_type_ids=tokenizer_kwargs.pop("return_token_type_ids", False),
        return_special_tokens_mask=asked_for_mask or is_cut,
        **tokenizer_kwargs,
    )
    if is_cut:
        _cut(columns, settings["max_length"] or tokenizer.model_max_length, tokenizer.truncation_side)
    for number, row in enumerate(columns["input_ids"], start=1):
        if not row:
            raise ValueError(f"Text {number} is empty: it has no token, and an LLM needs at least one.")
    if not asked_for_mask:
        columns.pop("special_tokens_mask", None)
    return columns


def pad(
    columns: Mapping[str, list[list[Any]]], tokenizer: PreTrainedTokenizerBase, settings: Mapping[str, Any]
) -> dict[str, list[list[Any]]]:
    """
    Rows of one length.

    Args:
        columns: see [`tokenize_texts`].
        tokenizer: says what to fill with.
        settings: `padding`, `padding_side`, `max_length` and `pad_to_multiple_of`, as in the tokenizer's own call.
    """
    padding = one_of("padding", settings["padding"], (True, False, "longest", "max_length", "do_not_pad", None))
    side = one_of("padding_side", settings["padding_side"], ("left", "right", None)) or tokenizer.padding_side
    if padding in (False, None, "do_not_pad"):
        return dict(columns)
    rows = columns["input_ids"]
    length = max(map(len, rows))
    if padding == "max_length":
        if not settings["max_length"] and tokenizer.model_max_length > LARGE_INTEGER:
            raise ValueError(
                '`padding="max_length"` needs `max_length`: this tokenizer does not say what the LLM takes.'
            )
        length = max(length, settings["max_length"] or tokenizer.model_max_length)
    multiple = settings["pad_to_multiple_of"] or 1
    length = -(-length // multiple) * multiple
    fillings = {"input_ids": tokenizer.pad_token_id, "special_tokens_mask": 1, "offset_mapping": (0, 0)}
    padded = {}
    for name, of_rows in columns.items():
        if [len(row) if isinstance(row, list) else None for row in of_rows] != list(map(len, rows)):
            padded[name] = of_rows  # not one value for each token
            continue
        missing = [[fillings.get(name, 0)] * (length - len(row)) for row in of_rows]
        pairs = zip(missing, of_rows, strict=True)
        padded[name] = [[*empty, *row] if side == "left" else [*row, *empty] for empty, row in pairs]
    return padded


def _cut(columns: dict[str, list[list[Any]]], max_length: int, side: str) -> None:
    """Shortens rows in place; what the tokenizer itself added at their ends stays."""
    for number, mask in enumerate(columns["special_tokens_mask"]):
        excess = len(mask) - max_length
        if excess <= 0:
            continue
        first = mask.index(0) if 0 in mask else 0
        end = len(mask) - mask[::-1].index(0) if 0 in mask else len(mask)
        start = max(first, end - excess) if side == "right" else first
        for rows in columns.values():
            rows[number] = rows[number][:start] + rows[number][start + min(excess, end - first) :]


__all__ = ["pad", "tokenize_texts"]
