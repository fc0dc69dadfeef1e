"""The student that ships with the package, asked and timed: what `make demo` runs, in at most three minutes with warm caches.

    python demo/ask_student.py [--student NAME_OR_FOLDER] [--write-card]

It is asked the spoken questions of `demo/questions`; it writes recordings down; it is asked for the orders of real people in `tests/fixtures/speech`. No recording
was trained on. Then its first token is timed beside that of Whisper with the same LLM. The base LLM comes from the copy of `tools/real_models.py`, so no hub is needed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


# So that `python demo/ask_student.py` finds `benchmarks`, `demo` and `tools`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.markup import escape
from rich.table import Table
from tqdm.auto import tqdm

from benchmarks import first_token
from benchmarks.levels import ORDER_QUESTION
from benchmarks.recordings import ORDERS, QUESTIONS, read_recordings
from benchmarks.systems import BASE_MODEL, STUDENT, WHISPER, Systems
from demo.corpus import read_rows
from demo.report import console, first_words, share_right, show_times, write_into_card
from tools.packages import PackageError
from tools.real_models import make_real_model
from transformers_aura import load_audio, packaged_students
from transformers_aura.cli.console import quiet_libraries
from transformers_aura.evaluation.scorers.containment import Containment, first_sentence
from transformers_aura.evaluation.scorers.interface import Reference, Scorer
from transformers_aura.evaluation.scorers.slots import SlotAcceptance


TRANSCRIPTS = 4


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """What a folder of recordings says of each, with its `path`."""
    return [row | {"path": str(folder / row["audio"])} for row in read_rows(folder / "manifest.jsonl")]


def ask_questions(systems: Systems, rows: Sequence[dict[str, Any]]) -> list[bool]:
    """Asks the spoken questions as the student's config says, prints what it wrote down and answered; returns what was right."""
    table = Table(title="Spoken questions")
    for column in ("asked", "written down", "answer", ""):
        table.add_column(column)
    scorer = Containment(first_sentence=True)
    marks = []
    results = systems.pipeline(
        (row["path"] for row in rows), batch_size=4, max_new_tokens=32, do_sample=False
    )  # an iterator that works as it is read
    for row, (result,) in zip(rows, _progress(results, "questions", len(rows)), strict=True):
        marks.append(_is_right(scorer, result["answer"], row["accepted"]))
        table.add_row(
            escape(row["question"]),
            escape(result.get("transcript", "")),
            escape(first_words(first_sentence(result["answer"]), 90)),
            _mark(marks[-1]),
        )
    console.print(table)
    return marks


def write_down(systems: Systems, rows: Sequence[dict[str, Any]]) -> None:
    """Prints what the student writes of recordings, and when each word is said."""
    table = Table(title="Transcripts: what was said, what was written down, and the second at which each word begins")
    table.add_column("recording")
    table.add_column("")
    for row in _progress(rows, "transcripts", len(rows)):
        transcript = systems.transcript(load_audio(row["path"]))
        times = "  ".join(f"{word.start_seconds:.1f} {word.text}" for word in transcript.words)
        table.add_row(row["audio"], escape(f"{row['transcript']}\n{transcript.text}\n{times}"), end_section=True)
    console.print(table)


def take_orders(systems: Systems, rows: Sequence[dict[str, Any]]) -> list[bool]:
    """Asks for the orders, answered directly, as training taught it; prints them; returns what was right: the true slots, and no others."""
    table = Table(title=f"Orders of real people, answered directly: {ORDER_QUESTION}")
    for column in ("said", "answer", ""):
        table.add_column(column)
    scorer = SlotAcceptance(strict=True)
    marks = []
    results = systems.pipeline(
        ({"audio": row["path"], "question": ORDER_QUESTION} for row in rows),
        batch_size=9,
        answer_from="audio",
        max_new_tokens=60,
        do_sample=False,
    )
    for row, (result,) in zip(rows, _progress(results, "orders", len(rows)), strict=True):
        marks.append(_is_right(scorer, result["answer"], [json.dumps(row["slots"])]))
        table.add_row(escape(row["transcript"]), escape(first_words(result["answer"], 110)), _mark(marks[-1]))
    console.print(table)
    return marks


def to_try(student: str) -> list[tuple[str, str]]:
    """Commands for whoever has seen the demo, and what each gives."""
    aura = Path(sys.executable).with_name("aura")
    program = f".venv/bin/{aura.name}" if aura.parent == Path(".venv/bin").absolute() else str(aura)
    return [
        (
            f"{program} ask {student} {_place(QUESTIONS / 'question_11.flac')}",
            "an answer to a recording; take one of your own",
        ),
        (
            f"{program} transcribe {student} {_place(ORDERS / 'order_04.flac')} --format srt",
            "what was said, with times; also of folders and long recordings",
        ),
        (
            f"{program} listen {student} --file {_place(QUESTIONS / 'question_11.flac')}",
            "captions while somebody speaks; without --file, through your microphone",
        ),
    ]


def _place(path: Path) -> str:
    """As it is typed in the checkout."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_right(scorer: Scorer, answer: str, accepted: Sequence[str]) -> bool:
    return scorer.statistics(answer, Reference(tuple(accepted)))[0] > 0


def _mark(right: bool) -> str:
    return "[green]right" if right else "[red]wrong"


def _progress(items: Any, what: str, total: int) -> Iterator[Any]:
    return iter(tqdm(items, desc=what, total=total, leave=False))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--student", default=STUDENT, help="name of a packaged student, or folder of one of SmolLM2-135M"
    )
    parser.add_argument(
        "--write-card", action="store_true", help="put the results into the card of a student's folder"
    )
    parser.add_argument(
        "--picture", type=Path, default=Path("outputs/demo/times.png"), help="where the bars are drawn"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()

    student = packaged_students().get(arguments.student, Path(arguments.student))
    if not student.is_dir():
        console.print(
            f"[red]No student called {arguments.student} comes with this checkout.[/] To make one of your own, in 20 minutes: make demo-train"
        )
        return 1
    if arguments.write_card and student in packaged_students().values():
        parser.error(
            "--write-card is for the folder that `aura distill` wrote; a packaged student's card is made with it"
        )
    quiet_libraries()
    try:
        systems = Systems(str(student), make_real_model(BASE_MODEL), make_real_model(WHISPER))
    except PackageError as error:
        console.print(f"[red]error: {error}")
        return 1

    start = time.perf_counter()
    config = systems.pipeline.model.config
    size = (student / "model.safetensors").stat().st_size
    console.print(
        f"{student.name}: {size / 1e6:.1f} MB of weights on {config.base_model}, loaded in {time.perf_counter() - start:.1f} s"
    )
    questions, orders = rows_of(QUESTIONS), rows_of(ORDERS)
    marks = {"spoken questions, synthetic voices": ask_questions(systems, questions)}
    if systems.can_transcribe:
        write_down(systems, orders[:TRANSCRIPTS])
    marks["orders of real people"] = take_orders(systems, orders)

    table = Table(title="Right of n, 95 % interval")
    for column in ("asked", "right"):
        table.add_column(column)
    for name, of_one in marks.items():
        table.add_row(name, share_right(sum(of_one), len(of_one)))
    console.print(table)
    console.print(
        "So few questions show what the student does; they do not measure how well: its card does "
        f"({os.path.relpath(student / 'README.md')}).",
        soft_wrap=True,
    )
    if arguments.write_card:
        write_into_card(student, {name: (sum(of_one), len(of_one)) for name, of_one in marks.items()}, "make demo")

    show_times(
        first_token.measure_clips(systems, read_recordings(QUESTIONS), rounds=1), "spoken questions", arguments.picture
    )
    console.print(f"Done in {time.perf_counter() - started:.0f} seconds. Three things to try:")
    for command, gives in to_try(arguments.student):
        console.print(f"  [bold]{command}[/]\n    {gives}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
