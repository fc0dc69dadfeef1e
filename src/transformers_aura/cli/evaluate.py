"""`aura evaluate`: systems on benchmarks, with intervals, tests and pictures; or evaluations that were run apart, in one table."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..extras import import_extra
from .compute import DeviceOption, Dtype, DtypeOption, best_device, prepare_device
from .console import print_result, print_status, progress_bar, quiet_libraries


if TYPE_CHECKING:
    from ..evaluation.results import Results
    from ..evaluation.systems import AuraSystem, System, TextLanguageModel

DEFAULT_WHISPER = "openai/whisper-tiny.en"


class AnswerFrom(str, Enum):
    """What students answer from."""

    audio = "audio"
    transcript = "transcript"


def evaluate(
    students: Annotated[
        list[str] | None,
        typer.Argument(
            help="Students: Hub id, folder or name of a packaged one, or NAME=that. With --compare: folders of evaluations."
        ),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark",
            "-b",
            help="A public benchmark (sd-qa), a local copy of it (sd-qa=folder), or your own folder or manifest.",
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            "-s",
            help="Another system to compare with: gold, cascade, or NAME=HUB_ID of an audio LLM that transformers runs.",
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition", "-c", help="clean, noise:12, speed:1.2, gain:-20, context:256, shuffled. Default: clean."
        ),
    ] = None,
    scorer: Annotated[
        list[str] | None, typer.Option(help="Scorer to use instead of the benchmark's own: squad_f1, wer, ...")
    ] = None,
    noise: Annotated[Path | None, typer.Option(help="Noise recording for the condition noise:...")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=2**31, help="Use only the first rows of each benchmark.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.md, results.json, plots and every answer.")] = Path(
        "outputs/evaluation"
    ),
    base_model: Annotated[
        str | None,
        typer.Option(
            help="Where to load the base model of students, gold and cascade from: folder or Hub id. Default: what the student names."
        ),
    ] = None,
    whisper: Annotated[
        str, typer.Option(help="The Whisper model of the cascade: folder or Hub id.")
    ] = DEFAULT_WHISPER,
    language: Annotated[
        str | None,
        typer.Option(
            help="Code of the spoken language (de), for the normaliser of wer and cer (Whisper's English rules for en, its basic rules otherwise) and the cascade's Whisper. "
            "Default: what the first student's folder says, else en."
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(help="The prompt for a transcript. Default: the one that each student was trained with."),
    ] = None,
    answer_from: Annotated[
        AnswerFrom | None,
        typer.Option(
            "--from",
            help="audio: students answer the recording directly. transcript: the text of it. Default: what each student's config says.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Commit, branch or tag of benchmarks on the Hub. Default: that of the results in --out, else the newest."
        ),
    ] = None,
    dtype: DtypeOption = Dtype.auto,
    device: DeviceOption = None,
    batch_size: Annotated[int, typer.Option(min=1, max=2**31, help="Requests per batch.")] = 16,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of noise excerpts, shuffling and bootstrap.")
    ] = 0,
    card: Annotated[
        bool, typer.Option("--card", help="Write the first student's figures into the model card in its folder.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Put separate evaluations (their --out folders) into one table."),
    ] = False,
) -> None:
    """Measure students beside other systems. The same command again continues a stopped run."""
    if compare:
        from ..evaluation.comparison import compare_evaluations

        compare_evaluations([Path(folder) for folder in students or []], out, seed)
        _print_report(out)
        return
    if not benchmark:
        raise typer.BadParameter("name at least one benchmark: --benchmark sd-qa, or a folder of your own.")
    if not students and not system:
        raise typer.BadParameter("name a student, or a --system.")
    for library in ("jiwer", "sacrebleu"):
        import_extra(library, "evaluation", "`aura evaluate`")
    prepare_device(device)
    settings = {"dtype": dtype.value, "device": device or best_device()}

    from ..registration import register

    register()
    quiet_libraries()

    from ..evaluation.benchmarks import load_benchmarks
    from ..evaluation.conditions import Condition
    from ..evaluation.evaluation import Evaluation
    from ..evaluation.results import earlier_commits
    from ..evaluation.scorers.registry import scorer as scorer_by_name
    from ..folder_lock import lock_folder

    language = language or _language_of(students or [])
    scorers = [scorer_by_name(name, language) for name in scorer] if scorer else None
    conditions = [Condition.parse(written, noise, seed) for written in condition or ["clean"]]
    commits = earlier_commits(out)  # a run that goes on stays with the rows that it began with
    benchmarks = [
        loaded
        for written in benchmark
        for loaded in load_benchmarks(written, limit, revision or commits.get(written), instruction)
    ]
    with lock_folder(out, "an evaluation"):
        pass  # only to be told before models are loaded; the run itself locks later
    asked, of_students, reader = _systems(students or [], system or [], base_model, whisper, language, settings)
    for student in of_students:
        student.answer_from = None if answer_from is None else answer_from.value
    evaluation = Evaluation(
        asked, benchmarks, conditions, out, scorers, batch_size, seed, language, facts={"limit": limit or "all rows"}
    )
    text_ability = _text_ability(of_students, reader)
    with progress_bar(evaluation.num_requests()) as on_request:
        results = evaluation.run(on_request, text_ability)
    if card and of_students:
        _write_card(results, of_students[0], out)
    _print_report(out)


def _language_of(students: list[str]) -> str:
    """The one language that the folder of the first student says it was trained on; English where that says none or several, or is no folder."""
    from ..hub import TrainingSummary
    from ..package_data import resolve_student

    languages = TrainingSummary.load(resolve_student(students[0].rpartition("=")[2])).languages if students else ()
    return languages[0] if len(languages) == 1 else "en"


def _systems(
    students: list[str],
    others: list[str],
    base_model: str | None,
    whisper: str,
    language: str,
    settings: dict[str, Any],
) -> tuple[list[System], list[AuraSystem], TextLanguageModel | None]:
    """All systems, the students among them, and the LLM that gets text."""
    from ..evaluation.baselines.bridge import is_bridge
    from ..evaluation.systems import (
        AuraSystem,
        BridgeSystem,
        Cascade,
        GoldText,
        NativeAudioSystem,
        TextLanguageModel,
        Transcriber,
    )

    of_students: list[AuraSystem] = []
    for written in students:
        name, _, model = written.rpartition("=")
        kind = BridgeSystem if is_bridge(model) else AuraSystem
        of_students.append(kind(model, name or Path(model).name, base_model, **settings))
    of_reader = settings if settings["dtype"] != "auto" else settings | {"dtype": _auto_dtype(of_students, settings)}
    reader = TextLanguageModel(base_model, **of_reader) if base_model else _reader_of(of_students, others, of_reader)
    asked: list[System] = [*of_students]
    for written in others:
        name, _, model = written.rpartition("=")
        if model in ("gold", "cascade"):
            if reader is None:
                raise ValueError(f"'{model}' needs an LLM: name a student, or --base-model.")
            on_text = (
                GoldText(reader)
                if model == "gold"
                else Cascade(Transcriber(whisper, language=language, **settings), reader)
            )
            on_text.name = name or model
            asked.append(on_text)
        else:
            asked.append(NativeAudioSystem(model, name, **settings))
    return asked, of_students, reader


def _auto_dtype(of_students: list[AuraSystem], settings: dict[str, Any]) -> str:
    """The format that `auto` is for the first student: its base LLM, which may be stored in another one, is to compute alike."""
    from ..modeling.configuration_aura import AuraConfig
    from ..modeling.dtypes import choose_dtype
    from ..package_data import resolve_student

    kwargs: dict[str, Any] = {"device_map": settings["device"], "dtype": "auto"}
    if of_students:
        choose_dtype(AuraConfig.from_pretrained(resolve_student(of_students[0].model)), kwargs)
    return str(kwargs["dtype"]).removeprefix("torch.")


def _reader_of(of_students: list[AuraSystem], others: list[str], settings: dict[str, Any]) -> TextLanguageModel | None:
    """The students' base LLM, reading: a local copy, or what their configs name; `None` where there is none, or not one.

    Raises:
        ValueError: gold or cascade was asked for beside students of different LLMs.
    """
    from ..evaluation.systems import TextLanguageModel
    from ..hub.base_copy import copy_of_base_model
    from ..modeling.configuration_aura import AuraConfig
    from ..package_data import resolve_student

    configs = [AuraConfig.from_pretrained(resolve_student(system.model)) for system in of_students]
    bases = {
        (config.base_model, config.base_revision, config.base_gguf_file) for config in configs if config.is_compact
    }
    if len(bases) > 1 and any(written.rpartition("=")[2] in ("gold", "cascade") for written in others):
        named = ", ".join(sorted(str(base[0]) for base in bases))
        raise ValueError(
            f"The students have different LLMs ({named}): name the one that gets the true text, --base-model."
        )
    if len(bases) != 1:
        return None
    copy = copy_of_base_model(next(config for config in configs if config.is_compact))
    if copy is not None:
        return TextLanguageModel(copy, **settings)
    ((model, revision, gguf_file),) = bases
    return TextLanguageModel(str(model), revision, gguf_file, **settings)


def _text_ability(of_students: list[AuraSystem], reader: TextLanguageModel | None) -> dict[str, dict[str, Any]]:
    """Of every compact student; the LLM that gets text is the base of all of them."""
    from ..evaluation.text_ability import compare_text_logits

    compact = [system for system in of_students if system.student.config.is_compact]
    return {} if reader is None else {system.name: compare_text_logits(system, reader) for system in compact}


def _write_card(results: Results, student: AuraSystem, out: Path) -> None:
    """The first scorer's figure of each benchmark and condition, into the card of a student's folder."""
    from ..hub.model_card import Result, add_results

    if not Path(student.model).is_dir():
        raise ValueError(
            f"--card writes into a student's folder, but {student.model} is none; `aura push` takes the card along."
        )
    shown = [
        Result(
            figure.scorer,
            figure.value,
            f"{figure.benchmark}, {figure.condition}",
            figure.num_items,
            (figure.interval.low, figure.interval.high),
            f"aura evaluate {student.name} --benchmark {results.benchmarks[figure.benchmark].get('folder', figure.benchmark)} "
            f"--condition {figure.condition}",
        )
        for figure in results.select(system=student.name)
        if figure.condition != "shuffled"  # a control, no result
    ]
    print_status(f"Card: {add_results(student.model, shown)}")


def _print_report(out: Path) -> None:
    report = (out / "results.md").read_text(encoding="utf-8")
    print_result(report.partition("## What was run")[0].rstrip())
    print_status(f"Everything: {out}")
