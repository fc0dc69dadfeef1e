"""What one visitor of the page has, and what the page shows of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .log_mel_picture import log_mel_picture, png_data_url
from .voice_chat import AnswerFrom, Reply, VoiceChat


@dataclass
class Visit:
    """
    Attributes:
        chat: by voice and in writing.
        messages: of it, `{"role": "user" or "assistant", "content": text}`.
        status: one line about what was answered last.
    """

    chat: VoiceChat
    messages: list[dict[str, str]] = field(default_factory=list)
    status: str = ""

    def begin(self, answer_from: AnswerFrom) -> None:
        """Begins a new chat."""
        self.chat.begin(answer_from)
        self.messages, self.status = [], ""

    def hear(self, samples: NDArray, sampling_rate: int) -> dict[str, Any]:
        """
        Goes on with a recording, see [`VoiceChat.hear`].

        Returns:
            What the page shows of it: `seconds`, `captions`, `picture` (a URL, or `None` before there is one), and `is_full`.
        """
        self.chat.hear(samples, sampling_rate)
        features = self.chat.features()
        return {
            "seconds": self.chat.seconds,
            "captions": self.chat.captions() or "",
            "picture": png_data_url(log_mel_picture(features)) if len(features) else None,
            "is_full": self.chat.is_full,
        }

    def answer(self, question: str | None) -> Iterator[None]:
        """Ends the turn, see [`VoiceChat.reply`]; `messages` and `status` go on at each step. A new chat ends it."""
        before = now = self.messages
        for reply in self.chat.reply(question):
            if self.messages is not now:
                return
            turn = [
                {"role": "user", "content": _asked(reply, question)},
                {"role": "assistant", "content": reply.text},
            ]
            self.messages, self.status = [*before, *turn], _described(reply)
            now = self.messages
            yield


def _asked(reply: Reply, question: str | None) -> str:
    """What the visitor said and wrote, a line each."""
    lines = [(question or "").strip()]
    if reply.recording_seconds:
        lines.insert(0, f"“{reply.said}”" if reply.said else f"(a recording of {reply.recording_seconds:.1f} s)")
    return "\n".join(filter(None, lines))


def _described(reply: Reply) -> str:
    parts = []
    if reply.seconds_to_first_token is not None:
        parts.append(f"first token after {reply.seconds_to_first_token:.2f} s")
    if reply.num_tokens and reply.seconds is not None:
        parts.append(f"{reply.num_tokens} tokens in {reply.seconds:.2f} s")
    if reply.recording_seconds:
        parts.append(f"recording of {reply.recording_seconds:.1f} s")
    if reply.note:
        parts.append(reply.note)
    return " · ".join(parts)
