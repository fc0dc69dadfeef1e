"""`aura transcribe`: write recordings down."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..whole_files import write_whole
from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_result, quiet_libraries, to_json


if TYPE_CHECKING:
    from ..modeling.transcripts import TimedWord, Transcript


LONGEST_NAME = 200
"""Characters. What is longer is no name, but a recording itself (a `data:` URL); it is called by its number."""

CAPTION_WORDS, CAPTION_PAUSE_SECONDS = 10, 0.8
"""A caption has at most so many words, and ends where nobody speaks for so long."""


class Format(str, Enum):
    """How transcripts are written."""

    text = "text"
    json = "json"
    srt = "srt"
    vtt = "vtt"


def transcribe(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    files: Annotated[list[str], typer.Argument(help="Audio files or URLs, of any length.")],
    output_format: Annotated[
        Format,
        typer.Option(
            "--format", help="text; json: one object a line, with the times of the words; srt, vtt: captions."
        ),
    ] = Format.text,
    out: Annotated[
        Path | None, typer.Option(help="Folder for one file a recording, named after it; without it, standard output.")
    ] = None,
    greedy: Annotated[
        bool,
        typer.Option("--greedy", help="The likeliest tokens as they are: fastest, with more errors and no times."),
    ] = False,
    num_hypotheses: Annotated[
        int, typer.Option("--best", min=1, help="With json: so many texts of each recording.")
    ] = 1,
    beam_size: Annotated[int | None, typer.Option(min=1, help="Hypotheses of the search.")] = None,
    language_model_weight: Annotated[
        float | None, typer.Option("--lm-weight", min=0, help="Of the base LLM's opinion; 0 = it is not asked.")
    ] = None,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Where the base model lies: folder, Hub id or .gguf file.")
    ] = None,
) -> None:
    """Write recordings down, with the times of the words."""
    if greedy and output_format in (Format.srt, Format.vtt):
        raise typer.BadParameter("Captions need the times of words, which --greedy does not have.")
    names = [
        file if len(file) <= LONGEST_NAME else f"recording-{number}" for number, file in enumerate(files, start=1)
    ]
    if out is not None and len({Path(name).stem for name in names}) < len(names):
        raise typer.BadParameter("Two recordings have the same name, so their files in --out would be one.")
    prepare_device(device)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)

    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..package_data import resolve_student
    from ..processing.conversation import build_conversation
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register

    register()
    quiet_libraries()
    model = resolve_student(model)
    student: Any = AuraForSpeechQA.from_pretrained(
        model, revision=revision, dtype=dtype.value, device_map=device, base_model_name_or_path=base_model
    )
    processor = AuraProcessor.from_pretrained(model, revision=revision)
    for name, file in zip(names, files, strict=True):
        inputs = processor.apply_chat_template(
            build_conversation(file), tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        ).to(student.device, dtype=student.dtype)
        (transcript,) = student.transcribe(
            **inputs,
            tokenizer=processor.tokenizer,
            method="greedy" if greedy else "beam_search",
            num_hypotheses=num_hypotheses,
            beam_size=beam_size,
            language_model_weight=language_model_weight,
        )
        text = render(name, transcript, output_format)
        if out is None:
            print_result(text if len(files) == 1 or output_format is not Format.text else f"{name}: {text}")
        else:
            suffix = "txt" if output_format is Format.text else output_format.value
            write_whole(out / f"{Path(name).stem}.{suffix}", text + "\n")


def render(file: str, transcript: Transcript, output_format: Format) -> str:
    """A transcript in one of the formats."""
    if output_format is Format.text:
        return transcript.text
    if output_format is Format.json:
        return to_json(
            {
                "audio": file,
                "text": transcript.text,
                "heard": transcript.heard,
                "log_probability": round(transcript.log_probability, 3),
                "words": [
                    {"text": word.text, "start": word.start_seconds, "end": word.end_seconds}
                    for word in transcript.words
                ],
                **(
                    {"alternatives": [text.text for text in transcript.alternatives]}
                    if transcript.alternatives
                    else {}
                ),
            }
        )
    captions = []
    for number, words in enumerate(caption_words(transcript.words), start=1):
        start, end = (
            timestamp(seconds, "," if output_format is Format.srt else ".")
            for seconds in (words[0].start_seconds, words[-1].end_seconds)
        )
        label = f"{number}\n" if output_format is Format.srt else ""
        captions.append(f"{label}{start} --> {end}\n{' '.join(word.text for word in words)}\n")
    return "\n".join((["WEBVTT\n"] if output_format is Format.vtt else []) + captions).rstrip("\n")


def caption_words(words: list[TimedWord]) -> Iterator[list[TimedWord]]:
    """The words of each caption."""
    caption: list[TimedWord] = []
    for word in words:
        pause = caption and word.start_seconds - caption[-1].end_seconds > CAPTION_PAUSE_SECONDS
        if caption and (pause or len(caption) == CAPTION_WORDS):
            yield caption
            caption = []
        caption.append(word)
    if caption:
        yield caption


def timestamp(seconds: float, decimal_mark: str) -> str:
    """`00:01:02,345`."""
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{decimal_mark}{rest % 1000:03d}"
