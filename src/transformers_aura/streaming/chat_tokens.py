"""A chat with audio parts as a row of tokens, whose audio may still be growing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..processing.control_tokens import ControlTokens
from ..processing.conversation import Conversation
from ..processing.processing_aura import AuraProcessor
from ..processing.tokenization import tokenize_texts
from .cached_row import AudioToken, RowToken


_SETTINGS = {"add_special_tokens": False, "truncation": False, "max_length": None}
"""As [`AuraProcessor.apply_chat_template`] tokenizes a rendered chat."""


def chat_tokens(
    processor: AuraProcessor,
    conversation: Conversation,
    clips: Sequence[tuple[int, int]],
    **template_kwargs: Any,
) -> list[RowToken]:
    """
    The tokens that [`AuraProcessor.apply_chat_template`] makes of a chat, with the header of the assistant's answer behind it.

    The audio token is a special one: the text beside it becomes the same tokens, however long the audio is.

    Args:
        processor: of the student.
        conversation: messages, see [`AuraProcessor.apply_chat_template`]; audio parts need no source.
        clips: number and audio tokens of the clip of each audio part, in reading order.
        template_kwargs: variables of the template.

    Raises:
        ValueError: the chat template dropped or repeated an audio.
    """
    text = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True, **template_kwargs)
    tokenizer = processor.tokenizer
    named = processor.chat_template if isinstance(processor.chat_template, str) else None
    control_tokens = ControlTokens.of(tokenizer, tokenizer.get_chat_template(named))
    (ids,) = tokenize_texts([text], tokenizer, control_tokens, _SETTINGS)["input_ids"]
    found = ids.count(processor.audio_token_id)
    if found != len(clips):
        raise ValueError(
            f"The chat has {len(clips)} audio part(s), but its template writes {found}: it dropped, repeated or itself wrote "
            f"'{processor.audio_token}'."
        )
    remaining = iter(clips)
    tokens: list[RowToken] = []
    for token in ids:
        if token == processor.audio_token_id:
            clip, length = next(remaining)
            tokens += [AudioToken(clip, place) for place in range(length)]
        else:
            tokens.append(token)
    return tokens


__all__ = ["chat_tokens"]
