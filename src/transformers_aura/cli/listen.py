"""`aura listen`: talk to a student, through the microphone or by a file that is played."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..extras import MissingExtraError, import_extra
from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_status, quiet_libraries


if TYPE_CHECKING:
    from numpy import ndarray

    from ..streaming.aura_stream import AuraStream, StreamedAnswer


CHUNK_SECONDS = 0.1


def listen(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    question: Annotated[
        str | None, typer.Argument(help="A question about what is said. Without it, the speech is the question.")
    ] = None,
    file: Annotated[
        str | None, typer.Option(help="Audio file or URL, played in real time instead of a microphone.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message of the chat.")] = None,
    answer_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="audio: answer what is heard directly. transcript: write it down first, then answer the text. Default: what the student's config says.",
        ),
    ] = None,
    pause: Annotated[float, typer.Option(min=0.1, help="Seconds of silence that end a turn.")] = 0.8,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Length limit of an answer, in tokens.")] = None,
    input_device: Annotated[
        str | None, typer.Option(help="Name or number of the microphone, as `python -m sounddevice` lists it.")
    ] = None,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Where to load the base model from: folder, Hub id or .gguf file.")
    ] = None,
) -> None:
    """Talk to a student: it shows captions while you speak, answers when you pause, and stops when you interrupt it. Ctrl-C ends."""
    sounddevice = None if file is not None else _sounddevice()
    prepare_device(device)

    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..package_data import resolve_student
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register

    register()
    quiet_libraries()
    model = resolve_student(model)
    processor = AuraProcessor.from_pretrained(model, revision=revision)
    recording = None if file is None else processor.load_audio(file)
    student: Any = AuraForSpeechQA.from_pretrained(
        model, revision=revision, dtype=dtype.value, device_map=device, base_model_name_or_path=base_model
    )
    before = None if system is None else [{"role": "system", "content": system}]
    stream = student.stream(
        processor, before, pause_seconds=pause, answer_from=answer_from or student.config.answer_from
    )
    settings = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    chunks = (
        played(recording, stream.sampling_rate)
        if recording is not None
        else from_microphone(sounddevice, stream.sampling_rate, input_device)
    )
    print_status("Listening. Ctrl-C ends.")
    try:
        converse(stream, chunks, question, settings)
    except KeyboardInterrupt:
        return


def converse(stream: AuraStream, chunks: Iterator[ndarray], question: str | None, settings: dict[str, Any]) -> None:
    """
    Feeds a stream, shows captions while somebody speaks, and answers each turn when it ends. Speech during an answer stops it.

    Args:
        stream: one with `pause_seconds`.
        chunks: samples, as they come.
        question: asked about each turn.
        settings: arguments of `generate`.
    """
    from transformers import TextStreamer

    from ..streaming.aura_stream import ConversationFullError

    class Shown(TextStreamer):
        def put(self, value: Any) -> None:
            turn_ended.set()
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            screen.go_on(text)

    def answer() -> StreamedAnswer:
        streamer = Shown(stream.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        return stream.answer(question, streamer=streamer, **settings)

    def ask() -> Future[StreamedAnswer]:
        screen.end_turn(f"> {stream.captions()}")
        turn_ended.clear()
        answering = worker.submit(answer)
        answering.add_done_callback(lambda _: turn_ended.set())
        turn_ended.wait()  # what comes next is of the next turn
        return answering

    def finish(answering: Future[StreamedAnswer]) -> None:
        done = answering.result()
        screen.end_turn(done.text if done.is_complete else f"{done.text} —")

    turn_ended = threading.Event()
    answering: Future[StreamedAnswer] | None = None
    with ThreadPoolExecutor(1) as worker, _screen() as screen:
        for chunk in chunks:
            if answering is not None and answering.done():
                finish(answering)
                answering = None
            try:
                stream.feed(chunk)
            except ConversationFullError as error:
                print_status(str(error))
                finish(answering if answering is not None else ask())
                answering = None
                stream.reset()
                continue
            if answering is not None:
                continue
            screen.show(f"> {stream.captions()}")
            if stream.speech_ended:
                answering = ask()
        if answering is not None:
            finish(answering)
        if stream.heard:
            finish(ask())


def played(recording: ndarray, sampling_rate: int, sleep: Callable[[float], None] = time.sleep) -> Iterator[ndarray]:
    """A recording, `(n_samples,)`, in chunks that come when a microphone would bring them."""
    size = round(CHUNK_SECONDS * sampling_rate)
    begin = time.monotonic()
    for start in range(0, len(recording), size):
        wait = begin + (start + size) / sampling_rate - time.monotonic()
        if wait > 0:
            sleep(wait)
        yield recording[start : start + size]


def from_microphone(sounddevice: Any, sampling_rate: int, device: str | None) -> Iterator[ndarray]:
    """What a microphone hears, in chunks; without end."""
    heard: queue.Queue[ndarray] = queue.Queue()
    with sounddevice.InputStream(
        samplerate=sampling_rate,
        channels=1,
        dtype="float32",
        blocksize=round(CHUNK_SECONDS * sampling_rate),
        device=int(device) if device is not None and device.isdigit() else device,
        callback=lambda chunk, frames, times, status: heard.put(chunk[:, 0].copy()),
    ):
        while True:
            yield heard.get()


def _sounddevice() -> Any:
    what = "Listening to a microphone (`--file` plays a recording instead)"
    try:
        return import_extra("sounddevice", "microphone", what)
    except OSError as error:  # the Python package without the library that it wraps
        raise MissingExtraError(
            f"{what} needs the PortAudio library, which is not installed ({error}): for instance, apt install libportaudio2"
        ) from error


class _Screen:
    """The last lines of a terminal, which change while somebody speaks; what is said stays. Without a terminal, only that."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._text = ""

    def show(self, text: str) -> None:
        """What the turn is so far."""
        from rich.text import Text

        self._text = text
        self._live.update(Text(text))

    def go_on(self, text: str) -> None:
        """More of the turn."""
        self.show(self._text + text)

    def end_turn(self, text: str) -> None:
        """What the turn was in the end."""
        from rich.text import Text

        self.show("")
        self._live.console.print(Text(text), soft_wrap=True)


@contextmanager
def _screen() -> Iterator[_Screen]:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), refresh_per_second=10, transient=True) as live:
        yield _Screen(live)
