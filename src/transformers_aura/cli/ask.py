"""`aura ask`: put a recording to a student, or many."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .batches.options import DEFAULT_BATCH_SIZE, BatchSizeOption, ShardOption, is_rows_file
from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_result, print_status, quiet_libraries, to_json


if TYPE_CHECKING:
    from .batches.answering import Answer, Request
    from .batches.outputs import Output

ROW_COLUMNS = {
    "name": str, "audio": str, "question": str, "answer": str, "heard": bool, "transcript": str, "error": str
}  # fmt: skip
"""Of a Parquet file."""


class Engine(str, Enum):
    """What runs the student."""

    transformers = "transformers"
    vllm = "vllm"


def ask(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    audio: Annotated[
        str,
        typer.Argument(
            help="Audio file or URL. Or many: a folder, a glob in quotes, a manifest or Parquet file with a column audio (and question, context, name). "
            "- reads standard input: an audio file, or names of them, one a line."
        ),
    ],
    question: Annotated[
        str | None, typer.Argument(help="A question about the recording. Without it, the recording is the question.")
    ] = None,
    answer_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="audio: answer the recording directly. transcript: write it down first, then answer the text. Default: what the student's config says.",
        ),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Text to answer from, placed before the recording.")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Length limit of the answer, in tokens. Default: 256, more for long recordings."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="Sample at this temperature instead of greedy decoding.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the sampling.")] = 0,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Where to load the base model from: folder, Hub id or .gguf file. Default: a copy by `make real-models`, or what the student names."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON object instead of the answer alone; for several recordings, one a line."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.jsonl or FILE.parquet, with a row per recording. The same command again continues a stopped run."
        ),
    ] = None,
    batch_size: BatchSizeOption = DEFAULT_BATCH_SIZE,
    shard: ShardOption = None,
    engine: Annotated[
        Engine,
        typer.Option(help="What runs the student. vllm must be installed, and answers directly (--from audio)."),
    ] = Engine.transformers,
) -> None:
    """Ask a student a spoken question, or a written question about one or many recordings."""
    if audio == "-" and sys.stdin is None:
        raise typer.BadParameter("there is no standard input to read from.", param_hint="AUDIO")
    if out is not None and not is_rows_file(out):
        raise typer.BadParameter(f"rows go to a .jsonl or a .parquet file, not to {out}.", param_hint="--out")
    prepare_device(device)

    import transformers

    from ..hub_access import explained
    from ..modeling.configuration_aura import AuraConfig
    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..package_data import resolve_student
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register
    from .batches.answering import run_batch
    from .batches.inputs import find_inputs
    from .batches.outputs import PrintedRows, resumable_rows
    from .batches.settings import model_settings

    inputs = find_inputs([audio], shard)
    register()
    quiet_libraries()
    transformers.set_seed(seed)
    model = resolve_student(model)
    with explained(model, {"revision": revision}):
        config = AuraConfig.from_pretrained(model, revision=revision)
    generation: dict[str, Any] = {"do_sample": temperature is not None}
    if max_new_tokens is not None:
        generation["max_new_tokens"] = max_new_tokens
    if temperature is not None:
        generation["temperature"] = temperature

    def load_student() -> Callable[..., Any]:
        answerer = transformers.pipeline(
            "audio-question-answering",
            model=AuraForSpeechQA.from_pretrained(
                model,
                revision=revision,
                dtype=dtype.value,
                device_map=device,
                base_model_name_or_path=base_model,
            ),
            processor=AuraProcessor.from_pretrained(model, revision=revision),
            device=device,
        )
        return partial(answerer, question=question, context=context, answer_from=answer_from, **generation)

    if inputs.single and out is None and shard is None and engine is Engine.transformers:
        (recording,) = inputs.without(set())
        answer = load_student()(recording.audio)[0]
        if not as_json and answer.get("transcript"):
            print_status(f"heard: {answer['transcript']}")
        print_result(to_json(answer) if as_json else answer["answer"])
        return

    def load_engine() -> Answer:
        if engine is Engine.vllm:
            from .batches.vllm_engine import vllm_answers

            return vllm_answers(
                model,
                config,
                question,
                context,
                answer_from,
                max_new_tokens,
                temperature,
                {"seed": seed, "dtype": dtype.value, "revision": revision},
            )
        return partial(_answers, load_student(), question)

    def render(row: dict[str, Any]) -> str:
        return to_json(row) if as_json else f"{row['name']}: {row['answer']}"

    output: AbstractContextManager[Output]
    if out is None:
        output = nullcontext(PrintedRows(render))
    else:
        settings: dict[str, Any] = {
            "command": "ask",
            "model": model_settings(model, revision),
            "question": question,
            "context": context,
        }
        settings |= {"from": answer_from, "dtype": dtype.value, "engine": engine.value, "shard": shard, **generation}
        if temperature is not None:
            settings["seed"] = seed
        output = resumable_rows(out, settings, ROW_COLUMNS)
    run_batch(inputs, output, load_engine, batch_size)


def _answers(student: Callable[..., Any], question: str | None, requests: Sequence[Request]) -> list[dict[str, Any]]:
    """What the student says to each request, in one batch."""
    asked = [
        {"audio": request.audio, "question": request.input.question, "context": request.input.context}
        for request in requests
    ]
    answers = student(asked, batch_size=len(asked))
    return [
        {"question": request.input.question or question, **answer[0]}
        for request, answer in zip(requests, answers, strict=True)
    ]
