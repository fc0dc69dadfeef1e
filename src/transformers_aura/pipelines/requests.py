"""What may be asked: one input of the pipeline, in any of its forms, as a chat."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..processing.arguments import described
from ..processing.audio_loading import (
    AUDIO_DICT_KEYS,
    SupportsRead,
    is_array_with_rate,
    is_audio_decoder,
    is_samples_list,
)
from ..processing.conversation import Conversation, as_batch_of_chats, build_conversation


REQUEST_KEYS = ("audio", "question", "context", "history")
"""Keys of a dict input, the arguments of [`~transformers_aura.build_conversation`]."""


@dataclass(frozen=True)
class Request:
    """One input, wrapped so that the base class does not take a list in it for several inputs."""

    value: Any


class RequestDataset(Dataset):
    """A dataset (of `datasets`, torch, or any other sequence) whose items are requests."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Request:
        return Request(self._dataset[index])


def is_one_input(value: Any) -> bool:
    """Whether this is one input, not several."""
    return isinstance(value, (Mapping, Request)) or _is_chat(value) or _is_audio(value)


def conversation_of(value: Any, question: str | None, context: str | None) -> Conversation:
    """
    The chat of one input.

    Args:
        value: what was asked.
        question, context: of inputs that have none of their own.

    Raises:
        TypeError: a question, context or history of a wrong type.
        ValueError: an input of an unknown form, with unknown keys, or without anything to ask.
    """
    if isinstance(value, Mapping) and "messages" in value and len(value) == 1:
        return _chat(value["messages"], question, context)
    if _is_chat(value):
        return _chat(value, question, context)
    if _is_audio(value):
        return build_conversation(value, question, context)
    if not isinstance(value, Mapping):
        raise ValueError(input_error(value))
    if set(value) <= set(AUDIO_DICT_KEYS) and value:
        return build_conversation(value, question, context)
    unknown = [str(key) for key in value if key not in REQUEST_KEYS]
    if unknown:
        close = difflib.get_close_matches(unknown[0], REQUEST_KEYS, n=1, cutoff=0.6)
        suggestion = f' Did you mean "{close[0]}"?' if close else ""
        raise ValueError(
            f"The input has unknown keys {unknown}.{suggestion} Valid keys are {', '.join(REQUEST_KEYS)}, or those of an audio "
            f"dict: {', '.join(AUDIO_DICT_KEYS)}. (Of a dataset, select the columns: "
            'dataset.select_columns(["audio", "question"]).)'
        )
    return build_conversation(
        value.get("audio"),
        question if value.get("question") in (None, "") else value["question"],
        context if value.get("context") in (None, "") else value["context"],
        value.get("history"),
    )


def input_error(value: Any) -> str:
    """What to say of an input of an unknown form."""
    return (
        f"An input of type {type(value).__name__} is not supported. Pass audio (a path, URL, bytes, samples, "
        '{"array": ..., "sampling_rate": ...}), {"audio": ..., "question": ..., "context": ...}, a chat (a list of messages), '
        "or a list, generator or dataset of these."
    )


def _chat(value: Any, question: str | None, context: str | None) -> Conversation:
    if question is not None or context is not None:
        raise ValueError("A chat holds its question and context itself: leave `question=` and `context=` out.")
    (conversation, *others), is_batch = as_batch_of_chats(value)
    if is_batch or others:
        raise ValueError("An input holds one chat, a list of messages. Pass several chats as a list of inputs.")
    for number, message in enumerate(conversation, start=1):
        if not isinstance(message, Mapping):
            raise ValueError(f"Message {number} of the chat is {described(message)}, not a dict.")
    return conversation


def _is_chat(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and _is_message(value[0])


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and ("role" in value or "content" in value)


def _is_audio(value: Any) -> bool:
    """Whether `value` is audio in itself (not a dict)."""
    return (
        isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, torch.Tensor))
        or is_samples_list(value)
        or is_array_with_rate(value)
        or is_audio_decoder(value)
        or isinstance(value, SupportsRead)
    )


__all__ = ["REQUEST_KEYS", "Request", "RequestDataset", "conversation_of", "input_error", "is_one_input"]
