"""What the page shows of a chat."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from transformers_aura.serving.web.visit import Visit
from transformers_aura.serving.web.voice_chat import Reply


class Chat:
    """Of one recording, whose answer comes in two steps."""

    def __init__(self, said: str | None = "what is it", note: str | None = None) -> None:
        self.said, self.note = said, note
        self.begun: list[str] = []

    def begin(self, answer_from: str) -> None:
        self.begun.append(answer_from)

    def reply(self, question: str | None) -> Iterator[Reply]:
        yield Reply("It", 3.04, self.said, 0.25)
        yield Reply("It is.", 3.04, self.said and f"{self.said.capitalize()}?", 0.25, 3, 0.5, self.note)


def visit_of(chat: Chat) -> Visit:
    return Visit(chat)  # type: ignore[arg-type]


def test_messages_and_status_go_on_with_the_answer() -> None:
    visit = visit_of(Chat(note="Only the first 60 s were heard."))
    seen = [(visit.messages, visit.status) for _ in visit.answer("Really?")]
    user, assistant = seen[0][0]
    assert user == {"role": "user", "content": "“what is it”\nReally?"}
    assert assistant == {"role": "assistant", "content": "It"}
    user, assistant = seen[1][0]
    assert user["content"] == "“What is it?”\nReally?"
    assert assistant["content"] == "It is."
    assert (
        seen[1][1]
        == "first token after 0.25 s · 3 tokens in 0.50 s · recording of 3.0 s · Only the first 60 s were heard."
    )
    list(visit.answer(None))
    assert [message["role"] for message in visit.messages] == ["user", "assistant"] * 2


def test_of_what_is_said_only_the_length_may_be_known() -> None:
    visit = visit_of(Chat(said=None))
    list(visit.answer(""))
    assert visit.messages[0]["content"] == "(a recording of 3.0 s)"


def test_a_new_chat_ends_the_answer() -> None:
    chat = Chat()
    visit = visit_of(chat)
    answer = visit.answer("Really?")
    next(answer)
    visit.begin("transcript")
    assert list(answer) == []
    assert (visit.messages, visit.status, chat.begun) == ([], "", ["transcript"])


def test_what_is_shown_of_a_recording() -> None:
    heard = []
    chat = SimpleNamespace(
        hear=lambda samples, rate: heard.append((len(samples), rate)),
        features=lambda: np.zeros((3, 80), np.float32)[: len(heard) - 1],
        captions=lambda: None,
        seconds=0.5,
        is_full=False,
    )
    visit = visit_of(chat)  # type: ignore[arg-type]
    assert visit.hear(np.zeros(0, np.int16), 48_000) == {
        "seconds": 0.5,
        "captions": "",
        "picture": None,
        "is_full": False,
    }
    assert visit.hear(np.zeros(9, np.int16), 48_000)["picture"].startswith("data:image/png;base64,")
    assert heard == [(0, 48_000), (9, 48_000)]
