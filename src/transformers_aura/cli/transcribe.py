"""`aura transcribe`: write recordings down."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..decoding.scripts import joined
from ..whole_files import write_whole
from .batches.options import DEFAULT_BATCH_SIZE, BatchSizeOption, ShardOption, is_rows_file
from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_result, quiet_libraries, to_json


if TYPE_CHECKING:
    from ..modeling.transcripts import Transcript
    from .batches.answering import Answer
    from .batches.outputs import Output


ROW_COLUMNS = {
    "name": str, "audio": str, "text": str, "heard": bool, "log_probability": float,
    "words": [{"text": str, "start": float, "end": float}], "alternatives": [str], "error": str,
}  # fmt: skip
"""Of a Parquet file."""

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
    files: Annotated[
        list[str],
        typer.Argument(
            help="Audio files or URLs, of any length; folders, globs in quotes, manifests or Parquet files with a column audio. "
            "- reads standard input: an audio file, or names of them, one a line."
        ),
    ],
    output_format: Annotated[
        Format,
        typer.Option("--format", help="json: one object a line, with the times of the words. srt, vtt: captions."),
    ] = Format.text,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder, for one file per recording; or FILE.jsonl or FILE.parquet, with a row per recording (the same command again continues a stopped run). "
            "Default: standard output."
        ),
    ] = None,
    greedy: Annotated[
        bool,
        typer.Option("--greedy", help="Greedy decoding: fastest, with more errors and no word times."),
    ] = False,
    num_hypotheses: Annotated[
        int, typer.Option("--best", min=1, help="With json: number of alternative texts per recording.")
    ] = 1,
    beam_size: Annotated[int | None, typer.Option(min=1, help="Number of hypotheses in the beam search.")] = None,
    language_model_weight: Annotated[
        float | None, typer.Option("--lm-weight", min=0, help="Weight of the base LLM's score; 0 = not used.")
    ] = None,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Where to load the base model from: folder, Hub id or .gguf file.")
    ] = None,
    batch_size: BatchSizeOption = DEFAULT_BATCH_SIZE,
    shard: ShardOption = None,
) -> None:
    """Transcribe recordings, with the times of the words."""
    if greedy and output_format in (Format.srt, Format.vtt):
        raise typer.BadParameter("Captions need the times of words, which --greedy does not have.")
    rows_file = out if out is not None and is_rows_file(out) else None
    if rows_file is not None and output_format in (Format.srt, Format.vtt):
        raise typer.BadParameter("Captions go to a folder, a file for each recording.", param_hint="--out")
    if "-" in files and sys.stdin is None:
        raise typer.BadParameter("there is no standard input to read from.", param_hint="FILES")
    prepare_device(device)

    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..package_data import resolve_student
    from ..processing.conversation import build_conversation
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register
    from .batches.answering import run_batch
    from .batches.inputs import find_inputs
    from .batches.outputs import FilePerRow, PrintedRows, resumable_rows
    from .batches.settings import model_settings

    inputs = find_inputs(files, shard)
    if out is not None and rows_file is None:
        if len({Path(name).stem for name in inputs.names}) < len(inputs):
            raise typer.BadParameter("Two recordings have the same name, so their files in --out would be one.")
        out.mkdir(parents=True, exist_ok=True)
    register()
    quiet_libraries()
    model = resolve_student(model)
    search = {
        "method": "greedy" if greedy else "beam_search",
        "num_hypotheses": num_hypotheses,
        "beam_size": beam_size,
        "language_model_weight": language_model_weight,
    }

    def load_student() -> Callable[[list[Any]], list[dict[str, Any]]]:
        student: Any = AuraForSpeechQA.from_pretrained(
            model, revision=revision, dtype=dtype.value, device_map=device, base_model_name_or_path=base_model
        )
        processor = AuraProcessor.from_pretrained(model, revision=revision)

        def write_down(recordings: list[Any]) -> list[dict[str, Any]]:
            features = processor.apply_chat_template(
                [build_conversation(recording) for recording in recordings],
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                add_generation_prompt=True,
                padding=True,
            ).to(student.device, dtype=student.dtype)
            return [row_of(found) for found in student.transcribe(**features, tokenizer=processor.tokenizer, **search)]

        return write_down

    suffix = "txt" if output_format is Format.text else output_format.value
    if inputs.single and rows_file is None and shard is None:
        (recording,) = inputs.without(set())
        (found,) = load_student()([recording.audio])
        text = render(recording.name, found, output_format)
        if out is None:
            print_result(text)
        else:
            write_whole(out / f"{Path(recording.name).stem}.{suffix}", text + "\n")
        return

    def load_engine() -> Answer:
        write_down = load_student()
        return lambda requests: write_down([request.audio for request in requests])

    def text_of(row: dict[str, Any]) -> str:
        return render(row["name"], row, output_format)

    def line_of(row: dict[str, Any]) -> str:
        return f"{row['name']}: {text_of(row)}" if output_format is Format.text else text_of(row)

    output: AbstractContextManager[Output]
    if rows_file is not None:
        settings = {
            "command": "transcribe",
            "model": model_settings(model, revision),
            "dtype": dtype.value,
            "shard": shard,
        }
        output = resumable_rows(rows_file, {**settings, **search}, ROW_COLUMNS)
    elif out is not None:
        output = nullcontext(FilePerRow(out, suffix, text_of))
    else:
        output = nullcontext(PrintedRows(line_of))
    run_batch(inputs, output, load_engine, batch_size)


def row_of(transcript: Transcript) -> dict[str, Any]:
    """A transcript as JSON has it."""
    row: dict[str, Any] = {
        "text": transcript.text,
        "heard": transcript.heard,
        "log_probability": round(transcript.log_probability, 3),
        "words": [
            {"text": word.text, "start": word.start_seconds, "end": word.end_seconds} for word in transcript.words
        ],
    }
    if transcript.alternatives:
        row["alternatives"] = [text.text for text in transcript.alternatives]
    return row


def render(name: str, row: dict[str, Any], output_format: Format) -> str:
    """A transcript, see [`row_of`], in one of the formats."""
    if output_format is Format.text:
        return row["text"]
    if output_format is Format.json:
        return to_json(
            {"audio": name, **{key: row[key] for key in ROW_COLUMNS if key in row and key not in ("name", "audio")}}
        )
    captions = []
    for number, words in enumerate(caption_words(row["words"]), start=1):
        start, end = (
            timestamp(seconds, "," if output_format is Format.srt else ".")
            for seconds in (words[0]["start"], words[-1]["end"])
        )
        label = f"{number}\n" if output_format is Format.srt else ""
        captions.append(f"{label}{start} --> {end}\n{joined(word['text'] for word in words)}\n")
    return "\n".join((["WEBVTT\n"] if output_format is Format.vtt else []) + captions).rstrip("\n")


def caption_words(words: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The words of each caption."""
    caption: list[dict[str, Any]] = []
    for word in words:
        pause = caption and word["start"] - caption[-1]["end"] > CAPTION_PAUSE_SECONDS
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
