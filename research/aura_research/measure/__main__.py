"""Measures a student beside what it competes with: orders of real people, in noise, spoken questions, read speech, and its text.

    python -m aura_research.measure hub_cards/aura-smollm2-135m

The systems are the student; `cascade`: Whisper tiny.en, then the same LLM; `parser`: Whisper tiny.en, then the strict grammar of orders; `gold`: the
same LLM on the gold transcript; `bridge` and `diva`, where `python -m aura_research.baselines` has trained them. Every generation is kept in `--out`, and a
run that was killed goes on. `results.json` and `results.md` hold figures, intervals, tests and what they depend on.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import transformers
from rich.console import Console
from rich.progress import Progress

from aura_research.baselines.training import BASELINES, baseline_folder
from aura_research.measure.benchmarks import (
    BARISTA,
    order_conditions,
    orders,
    reading,
    speech_conditions,
    varied_conditions,
)
from aura_research.measure.parser import Parser
from aura_research.measure.spoken_questions import spoken_questions
from tools.packages import PackageError
from tools.real_models import real_model_folder
from transformers_aura.evaluation.asking import can_be_asked
from transformers_aura.evaluation.baselines.bridge import is_bridge
from transformers_aura.evaluation.benchmarks import LoadedBenchmark
from transformers_aura.evaluation.comparison import merge_evaluations
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.systems import (
    AuraSystem,
    BridgeSystem,
    Cascade,
    GoldText,
    System,
    TextLanguageModel,
    Transcriber,
)
from transformers_aura.evaluation.text_ability import compare_text_logits


SYSTEMS = ("aura", "gold", "cascade", "bridge", "diva", "parser")
CASES = ("orders", "noise", "varied", "questions", "written", "reading", "speech-noise")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a sentence where something needed is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m aura_research.measure", description="Measures a student beside what it competes with."
    )
    parser.add_argument("student", type=Path, nargs="?", help="the student's folder; needed for the system aura")
    parser.add_argument("--out", type=Path, default=Path("outputs/measure"))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--limit", type=int, help="recordings or questions of each set")
    parser.add_argument(
        "--base-model", type=Path, help="the base LLM's folder; default: SmolLM2 of tools/real_models.py"
    )
    parser.add_argument(
        "--whisper", type=Path, help="a Whisper model's folder; default: tiny.en of tools/real_models.py"
    )
    parser.add_argument(
        "--baselines", type=Path, default=Path("outputs"), help="where aura_research.baselines trained them"
    )
    parser.add_argument("--barista", type=Path, default=BARISTA, help="folder of recorded orders")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the excerpts of noise and the bootstrap")
    parsed = parser.parse_args(arguments)
    if "aura" in parsed.systems and parsed.student is None:
        parser.error("the system aura needs the student's folder (or leave it out: --systems cascade parser gold)")
    try:
        parsed.base_model = parsed.base_model or real_model_folder("smollm2-135m-instruct")
        parsed.whisper = parsed.whisper or real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        parser.error(str(error))
    return parsed


def measure(arguments: argparse.Namespace) -> None:
    """Asks every system everything that it can be asked, scores the answers and writes the report."""
    settings: dict[str, Any] = {"dtype": arguments.dtype, "device": "cpu"}
    reader = TextLanguageModel(str(arguments.base_model), **settings)
    transcriber = Transcriber(str(arguments.whisper), **settings)
    student = AuraSystem(str(arguments.student), "aura", str(arguments.base_model), **settings)
    available: dict[str, System] = {
        "aura": student,
        "cascade": Cascade(transcriber, reader),
        "parser": Parser(transcriber),
        "gold": GoldText(reader),
        **_baselines(arguments, settings),
    }
    chosen = [available[name] for name in arguments.systems if name in available]
    text_ability = {"aura": compare_text_logits(student, reader)} if "aura" in arguments.systems else {}
    folders = []
    for name, benchmarks, conditions, names in _parts(arguments):
        systems = [system for system in chosen if system.name in names]
        benchmarks = [loaded for loaded in benchmarks if any(can_be_asked(system, loaded.items) for system in systems)]
        if not benchmarks:
            continue
        folders.append(arguments.out / name)
        evaluation = Evaluation(
            systems,
            benchmarks,
            conditions,
            folders[-1],
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            facts={"limit": arguments.limit or "all"},
        )
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("", total=evaluation.num_requests())
            evaluation.run(lambda what: progress.update(task, advance=1, description=what), text_ability)  # noqa: B023
    if not folders:
        raise FileNotFoundError("Nothing that was asked for can be measured here: what is missing stands above.")
    merge_evaluations(folders, arguments.out, arguments.seed)


def _baselines(arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, System]:
    """Those that are trained; what is not is said aloud."""
    found: dict[str, System] = {}
    for name in (name for name in BASELINES if name in arguments.systems):
        folder = baseline_folder(arguments.baselines, name)
        if is_bridge(folder):
            found[name] = BridgeSystem(str(folder), name, str(arguments.base_model), **settings)
        else:
            print(
                f"No {name}: {folder} is absent (python -m aura_research.baselines {arguments.baselines}).", flush=True
            )
    return found


def _parts(
    arguments: argparse.Namespace,
) -> list[tuple[str, list[LoadedBenchmark], list[Condition], tuple[str, ...]]]:
    """What is measured under which conditions of which systems."""
    cases = set(arguments.cases)
    parts: list[tuple[str, list[LoadedBenchmark], list[Condition], tuple[str, ...]]] = []
    if cases & {"orders", "noise", "varied"} and (loaded := orders(arguments.barista, arguments.limit)):
        noisy = order_conditions(arguments.barista, arguments.seed)[1:] if "noise" in cases else []
        conditions = [*([Condition()] if "orders" in cases else []), *noisy]
        if conditions:
            parts.append(("orders", [loaded], conditions, SYSTEMS))
        if "varied" in cases:  # an LLM that was never taught the JSON object has nothing to lose
            parts.append(("varied", [loaded], varied_conditions(arguments.seed), ("aura", "parser")))
    speech: list[LoadedBenchmark] = []
    if cases & {"questions", "written"}:
        answers, transcripts, written = spoken_questions(arguments.limit)
        if "questions" in cases:
            speech += [answers, transcripts]
        if "written" in cases:
            parts.append(("written", [written], [Condition()], SYSTEMS))
    if "reading" in cases and (read := reading(limit=arguments.limit)):
        speech.append(read)
    if speech:
        noisy = "speech-noise" in cases
        conditions = speech_conditions(arguments.barista, arguments.seed) if noisy else [Condition()]
        parts.append(("speech", speech, conditions, SYSTEMS))
    return parts


def main() -> int:
    arguments = parse_arguments()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        measure(arguments)
    except (FileNotFoundError, PackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print((arguments.out / "results.md").read_text().partition("## Wrong answers")[0])
    print(f"Everything: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
