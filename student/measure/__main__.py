"""Measures a student beside what it competes with.

    python -m student.measure STUDENT_FOLDER --out outputs/measure
    python -m student.measure --systems cascade parser gold      # what the alternatives reach

| system | what it is |
|---|---|
| aura | the student |
| cascade | Whisper, then the same LLM with the transcript in the place of the audio |
| parser | Whisper, then a strict grammar of orders (orders and noise only) |
| gold | the same LLM, reading what is really said (questions only) |

Answers are kept as they come in --out, by the hash of the models that gave them: a run that was killed goes on where it was, and another
student starts anew.
"""

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers

from student.measure.cases import BARISTA, Case, noise_cases, order_cases, reading_cases
from student.measure.figures import Scored, score, set_figures
from student.measure.generations import generate
from student.measure.interface import System
from student.measure.report import CASE_SETS, Results, write_results
from student.measure.scores import Normalizer, scorer_versions
from student.measure.spoken_questions import question_cases
from student.measure.systems import (
    Cascade,
    GoldText,
    LanguageModel,
    Parser,
    Student,
    Transcriber,
    identity_hash,
)
from student.measure.text_ability import compare_text_logits
from tools.packages import PackageError
from tools.real_models import real_model_folder


SYSTEMS = ("aura", "cascade", "parser", "gold")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with a sentence where something needed is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m student.measure", description="Measures a student beside what it competes with."
    )
    parser.add_argument("student", type=Path, nargs="?", help="the student's folder; needed for the system aura")
    parser.add_argument("--out", type=Path, default=Path("outputs/measure"))
    parser.add_argument("--cases", nargs="+", choices=list(CASE_SETS), default=list(CASE_SETS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--limit", type=int, help="recordings or questions of each case set")
    parser.add_argument(
        "--base-model", type=Path, help="the base LLM's folder; default: SmolLM2 of tools/real_models.py"
    )
    parser.add_argument(
        "--whisper", type=Path, help="a Whisper model's folder; default: tiny.en of tools/real_models.py"
    )
    parser.add_argument("--barista", type=Path, default=BARISTA, help="folder of recorded orders")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the pieces of noise and the bootstrap")
    parsed = parser.parse_args(arguments)
    if "aura" in parsed.systems and parsed.student is None:
        parser.error("the system aura needs the student's folder (or leave it out: --systems cascade parser gold)")
    try:
        parsed.base_model = parsed.base_model or real_model_folder("smollm2-135m-instruct")
        parsed.whisper = parsed.whisper or real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        parser.error(str(error))
    return parsed


def measure(arguments: argparse.Namespace) -> Results:
    """Asks every system every case that it can be asked, and scores the answers."""
    dtype = getattr(torch, arguments.dtype)
    generations = arguments.out / "generations"
    language_model = LanguageModel(arguments.base_model, dtype)
    transcriber = Transcriber(arguments.whisper, generations, dtype)
    gold = GoldText(language_model)
    available: dict[str, Callable[[], System]] = {
        "aura": lambda: Student(arguments.student, arguments.base_model, dtype),
        "cascade": lambda: Cascade(transcriber, language_model),
        "parser": lambda: Parser(transcriber),
        "gold": lambda: gold,
    }
    systems = [available[name]() for name in arguments.systems]
    normalizer = Normalizer(arguments.whisper)
    builders: dict[str, Callable[[], list[Case]]] = {
        "orders": lambda: order_cases(arguments.barista, arguments.limit),
        "noise": lambda: noise_cases(arguments.barista, arguments.limit, arguments.seed),
        "questions": lambda: question_cases(arguments.limit),
        "reading": lambda: reading_cases(limit=arguments.limit),
    }
    results = Results(
        facts={"seed": arguments.seed, "limit": arguments.limit, **scorer_versions(normalizer)},
        systems={system.name: system.identity for system in systems},
    )

    def answers_of(system: System, case_set: str, cases: list[Case]) -> list[Scored]:
        path = generations / f"{system.name}-{identity_hash(system.identity)}" / f"{case_set}.jsonl"
        return score(cases, generate(system, cases, path, arguments.batch_size), normalizer)

    for case_set in arguments.cases:
        cases = builders[case_set]()
        known = None
        if case_set == "questions":  # the LLM's own answers to the text settle which questions count
            known = frozenset(item.case.name for item in answers_of(gold, case_set, cases) if item.is_right)
        for system in systems:
            scored = answers_of(system, case_set, cases)
            if scored:
                counted = known if system is not gold else None
                results.add(case_set, system.name, set_figures(case_set, scored, counted, arguments.seed), scored)
        write_results(results, arguments.out)
    for system in systems:
        if isinstance(system, Student):
            results.text_ability = compare_text_logits(system, language_model)
    return results


def main() -> int:
    arguments = parse_arguments()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    random.seed(arguments.seed)
    np.random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    try:
        results = measure(arguments)
    except (FileNotFoundError, PackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_results(results, arguments.out)
    print((arguments.out / "results.md").read_text().partition("## Failures")[0])
    print(f"Everything: {arguments.out / 'results.json'}, {arguments.out / 'results.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
