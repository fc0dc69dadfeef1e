"""`aura ask`: put one recording to a student."""

import sys
from typing import Annotated, Any

import typer

from .compute import DeviceOption, Dtype, DtypeOption, prepare_device
from .console import print_result, quiet_libraries, to_json


def ask(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or name of a student that comes with the package.")],
    audio: Annotated[str, typer.Argument(help="Audio file or URL; - reads a file from standard input.")],
    question: Annotated[
        str | None, typer.Argument(help="A question about the recording. Without it, the recording is the question.")
    ] = None,
    answer_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="audio: answer the recording directly. transcript: write it down first, then answer the text. As the student's config says without it.",
        ),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Text that the answer may rest on.")] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Length limit of the answer, in tokens; 256, or more of long recordings, without it."
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.01, help="Sample at this temperature instead of taking the likeliest words.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the sampling.")] = 0,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the student.")] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Where the base model lies: folder, Hub id or .gguf file. Without it, a copy by `make real-models`, or where the student says."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of the answer alone.")
    ] = False,
) -> None:
    """Ask a student by voice, or ask it about a recording."""
    if audio == "-" and sys.stdin is None:
        raise typer.BadParameter("there is no standard input to read from.", param_hint="AUDIO")
    recording: str | bytes = sys.stdin.buffer.read() if audio == "-" else audio

    prepare_device(device)

    import transformers

    from ..hub_access import explained
    from ..modeling.configuration_aura import AuraConfig
    from ..modeling.modeling_aura import AuraForSpeechQA
    from ..package_data import resolve_student
    from ..processing.processing_aura import AuraProcessor
    from ..registration import register

    register()
    quiet_libraries()
    transformers.set_seed(seed)
    model = resolve_student(model)
    with explained(model, {"revision": revision}):
        config = transformers.AutoConfig.from_pretrained(model, revision=revision)
    if not isinstance(config, AuraConfig):
        raise ValueError(f"{model} is a model of type '{config.model_type}', so it is no AuRA student.")
    answerer: Any = transformers.pipeline(
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
    generation: dict[str, Any] = {"do_sample": temperature is not None}
    if max_new_tokens is not None:
        generation["max_new_tokens"] = max_new_tokens
    if temperature is not None:
        generation["temperature"] = temperature
    answer = answerer(recording, question=question, context=context, answer_from=answer_from, **generation)[0]
    print_result(to_json(answer) if as_json else answer["answer"])
