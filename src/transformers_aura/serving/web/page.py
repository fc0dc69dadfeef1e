"""The page: what is on it, and what its buttons do."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr

from ...modeling.modeling_aura import AuraForSpeechQA
from ...processing.audio_errors import AudioTooLongError
from ...processing.audio_loading import load_audio
from ...processing.mixing import SAMPLING_RATE
from .limits import Limits
from .visit import Visit
from .visitors import Visitors


_NOTHING = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
"""A picture of one transparent pixel."""

_CALL = {"api_visibility": "private"}
_ANSWER_FROM = [("the audio, directly", "audio"), ("its transcript", "transcript")]
# What the microphone still has is sent before the function of a button is called with the values of its inputs.
_STOP_FIRST = "async (...values) => { await auraMicrophone.stop(); return values; }"


def web_page(model: AuraForSpeechQA, name: str, visitors: Visitors[Visit], limits: Limits) -> gr.Blocks:
    """
    The page, without a server. It needs `microphone.js` and `page.css`.

    Args:
        model ([`AuraForSpeechQA`]): whom it belongs to.
        name: what to call it.
        visitors: who is on it.
        limits: what they may do.
    """
    actions = _Actions(visitors, limits)
    base = str(model.config.base_model or "").rpartition("/")[2]
    with gr.Blocks(title=f"Talk to {name}", analytics_enabled=False, delete_cache=(60, 600)) as page:
        gr.HTML(
            f"<h1>Talk to {html.escape(name)}</h1>"
            f"<p>{html.escape(base or 'A language model')} with an AuRA adapter. Sound goes into the language model itself.</p>",
            elem_id="aura-title",
        )
        visitor = gr.Textbox(visible="hidden", elem_id="aura-visitor")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                with gr.Row():
                    speak = gr.Button("Speak", variant="primary", elem_id="aura-speak")
                    stop = gr.Button("Stop and answer", variant="stop", elem_id="aura-stop")
                    file = gr.UploadButton("Upload a file", file_types=["audio", "video"], elem_id="aura-file")
                live = gr.HTML(actions.live(), elem_id="aura-live", container=True)
                question = gr.Textbox(
                    label="Question about the recording",
                    placeholder="Optional, asked with the next recording",
                    max_length=2000,
                    elem_id="aura-question",
                )
                answer_from = gr.Radio(
                    _ANSWER_FROM,
                    value=model.config.answer_from,
                    label="Answer from",
                    visible=model.config.can_transcribe,
                    elem_id="aura-answer-from",
                )
            with gr.Column(scale=3, min_width=360):
                chat = gr.Chatbot(
                    show_label=False,
                    height=430,
                    render_markdown=False,
                    buttons=[],
                    feedback_options=None,
                    placeholder="Press Speak and ask something.",
                    elem_id="aura-chat",
                )
                status = gr.HTML(actions.status(""), elem_id="aura-status-line")
                with gr.Row():
                    written = gr.Textbox(
                        show_label=False,
                        placeholder="Write a question, or go on in writing",
                        max_length=2000,
                        scale=4,
                        elem_id="aura-written",
                    )
                    new = gr.Button("New chat", scale=1, min_width=100, elem_id="aura-new")
        answered = [chat, status]
        answering: Any = {
            "concurrency_limit": limits.max_answers,
            "concurrency_id": "answers",
            "show_progress": "hidden",
            **_CALL,
        }
        page.load(actions.enter, None, visitor, show_progress="hidden", **_CALL).then(
            None, None, None, js="() => auraMicrophone.connect()"
        )
        speak.click(None, None, None, js="() => auraMicrophone.start()")
        stop.click(actions.answer, [visitor, question], answered, js=_STOP_FIRST, **answering)
        file.upload(actions.answer_file, [visitor, question, file], [*answered, live], **answering)
        written.submit(actions.answer, [visitor, written], answered, js=_STOP_FIRST, **answering).then(
            lambda: "", None, written, queue=False, show_progress="hidden", **_CALL
        )
        beginning = [actions.begin, [visitor, answer_from], [*answered, live]]
        gr.on([new.click, answer_from.input], *beginning, js=_STOP_FIRST, show_progress="hidden", **_CALL)
    page.queue(max_size=limits.max_waiting)
    return page


class _Actions:
    """What the buttons do. Each action begins with the visitor's secret name."""

    def __init__(self, visitors: Visitors[Visit], limits: Limits) -> None:
        self._visitors = visitors
        self._limits = limits
        self._counter = itertools.count()

    def enter(self) -> str:
        with _told():
            return self._visitors.enter()

    def answer(self, visitor: str, question: str) -> Iterator[tuple[Any, ...]]:
        with _told():
            visit = self._visitors.of(visitor)
            for _ in visit.answer(question):
                yield visit.messages, self.status(visit.status)

    def answer_file(self, visitor: str, question: str, file: str) -> Iterator[tuple[Any, ...]]:
        with _told():
            uploaded = _taken(Path(file))
            visit = self._visitors.of(visitor)
            try:
                recording = load_audio(uploaded, max_seconds=self._limits.max_seconds)
            except AudioTooLongError as error:
                raise ValueError(f"A recording may have {self._limits.max_seconds:g} s here.") from error
            shown = visit.hear(recording, SAMPLING_RATE)
            yield visit.messages, self.status(""), self.live(shown["picture"], shown["captions"])
            for _ in visit.answer(question):
                yield visit.messages, self.status(visit.status), gr.skip()

    def begin(self, visitor: str, answer_from: Any) -> tuple[Any, ...]:
        with _told():
            visit = self._visitors.of(visitor)
            visit.begin(answer_from)
            return visit.messages, self.status(""), self.live()

    def live(self, picture: str | None = None, captions: str = "") -> str:
        """A recording's picture and captions; `microphone.js` goes on with them."""
        return (
            f'<figure data-number="{next(self._counter)}"><img id="aura-picture" alt="Log-mel features" src="{picture or _NOTHING}">'
            "<figcaption>Log-mel features: what the model gets of the sound</figcaption></figure>"
            f'<p id="aura-captions" aria-live="polite">{html.escape(captions)}</p>'
        )

    def status(self, text: str) -> str:
        """A line about what happens; `microphone.js` writes there too."""
        # Numbered, since gradio leaves what is there if it sends the same again.
        return f'<div id="aura-status" role="status" data-number="{next(self._counter)}">{html.escape(text)}</div>'


def _taken(file: Path) -> bytes:
    """
    What is in an uploaded file, which is gone then, with the folder that was made for it.

    Raises:
        ValueError: it is gone already: somebody else uploaded the same at the same time.
    """
    try:
        content = file.read_bytes()
        file.unlink()
    except FileNotFoundError as error:
        raise ValueError("The file did not arrive. Upload it again.") from error
    with suppress(OSError):  # somebody else's file may be in it
        file.parent.rmdir()
    return content


@contextmanager
def _told() -> Iterator[None]:
    """What went wrong for a reason that a person can do something about is shown on the page."""
    try:
        yield
    except (ValueError, RuntimeError) as error:  # those of this package are among them
        raise gr.Error(str(error), print_exception=False) from error
