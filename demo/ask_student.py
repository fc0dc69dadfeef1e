"""The student that ships with the package, asked recordings of real people: what `make demo` runs, in under two minutes with warm caches.

    python demo/ask_student.py [--student NAME_OR_FOLDER] [--write-card]

Every recording is put to it in up to three ways: as it is, where it is a question; to be transcribed; and with "What was ordered? Answer in JSON.",
which it answers from the audio. No recording was trained on. The base LLM comes from the copy of `tools/real_models.py`, so no hub is needed.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


# So that `python demo/ask_student.py` finds `demo` and `tools`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import transformers
from rich.markup import escape
from rich.table import Table

from demo.corpus import read_rows
from demo.report import console, first_words, run, share_right, show_latency, write_into_card
from tools.packages import PackageError
from tools.real_models import make_real_model
from transformers_aura import build_conversation, packaged_students
from transformers_aura.cli.console import quiet_libraries
from transformers_aura.package_data import resolve_student
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


REPOSITORY = Path(__file__).resolve().parents[1]
RECORDINGS = REPOSITORY / "tests" / "fixtures" / "speech"
STUDENT = "aura-smollm2-135m"
ORDER_QUESTION = "What was ordered? Answer in JSON."
LATENCY_CLIPS = 12


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())


def says(answer: str, row: dict[str, Any]) -> bool:
    """Whether an answer holds the true one, word for word."""
    return f" {' '.join(words(row['answer']))} " in f" {' '.join(words(answer))} "


def transcribes(answer: str, row: dict[str, Any]) -> bool:
    """Whether an answer is what was said, word for word."""
    return words(answer) == words(row["transcript"])


def names_slots(answer: str, row: dict[str, Any]) -> bool:
    """Whether an answer is a JSON object with the true slots and no others."""
    try:
        return json.loads(answer) == row["slots"]
    except json.JSONDecodeError:
        return False


@dataclass(frozen=True)
class Way:
    """
    A fixed way to ask: the question (`None`: the recording is one), what is true of a row, when an answer is right, of which rows, and what the answer is from
    (`None`: as the student's config says).
    """

    question: str | None
    truth: Callable[[dict[str, Any]], str]
    is_right: Callable[[str, dict[str, Any]], bool]
    needs: str
    answer_from: str | None = None

    @property
    def name(self) -> str:
        """How tables and cards call it."""
        return self.question or "asked by voice"


WAYS = (
    Way(None, lambda row: row["answer"], says, needs="answer"),
    Way(TRANSCRIPTION_INSTRUCTION, lambda row: row["transcript"], transcribes, needs="transcript"),
    Way(ORDER_QUESTION, lambda row: json.dumps(row["slots"]), names_slots, needs="slots", answer_from="audio"),
)


def ask(answerer: Any, way: Way, rows: list[dict[str, Any]]) -> list[str]:
    """The answers to `rows`' recordings, asked in one way, greedily."""
    if way.question == TRANSCRIPTION_INSTRUCTION and answerer.model.config.subword_ctc_layer is not None:
        return [transcript_of(answerer, row["path"]) for row in rows]
    requests = [{"audio": row["path"]} | ({"question": way.question} if way.question else {}) for row in rows]
    results = answerer(requests, batch_size=9, max_new_tokens=60, do_sample=False, answer_from=way.answer_from)
    return [result[0]["answer"] for result in results]


def transcript_of(answerer: Any, path: str) -> str:
    """A recording, written down by the student's CTC heads."""
    inputs = answerer.processor.apply_chat_template(
        build_conversation(path), tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    ).to(answerer.model.device, answerer.model.dtype)
    method = "greedy" if answerer.model.config.character_ctc_alphabet is None else "beam_search"
    return answerer.model.transcribe(**inputs, tokenizer=answerer.processor.tokenizer, method=method)[0].text


def show_answers(way: Way, rows: list[dict[str, Any]], answers: list[str], marks: list[bool]) -> None:
    table = Table(title=way.name)
    for column in ("heard", "truth", ""):
        table.add_column(column)
    for row, answer, right in zip(rows, answers, marks, strict=True):
        mark = "[green]right" if right else "[red]wrong"
        table.add_row(escape(first_words(answer, 75)), escape(first_words(way.truth(row), 75)), mark)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--student", default=STUDENT, help="name of a packaged student, or folder of one of SmolLM2-135M"
    )
    parser.add_argument(
        "--write-card", action="store_true", help="put the results into the card of a student's folder"
    )
    arguments = parser.parse_args()
    started = time.perf_counter()

    student = Path(resolve_student(arguments.student))
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
        llm, whisper = make_real_model("smollm2-135m-instruct"), make_real_model("whisper-tiny.en")
    except PackageError as error:
        console.print(f"[red]error: {error}")
        return 1
    rows = [row | {"path": str(RECORDINGS / row["audio"])} for row in read_rows(RECORDINGS / "manifest.jsonl")]
    start = time.perf_counter()
    answerer = transformers.pipeline(
        "audio-question-answering", model=student, model_kwargs={"base_model_name_or_path": llm}
    )
    size = (student / "model.safetensors").stat().st_size
    console.print(
        f"{student.name}: {size / 1e6:.1f} MB of weights on {answerer.model.config.base_model}, loaded in {time.perf_counter() - start:.1f} s"
    )

    counts = {}
    for way in WAYS:
        asked = [row for row in rows if way.needs in row]
        if not asked:
            console.print(f"No recording here has what is needed to be {way.name}: left out.")
            continue
        answers = ask(answerer, way, asked)
        marks = [way.is_right(answer, row) for row, answer in zip(asked, answers, strict=True)]
        show_answers(way, asked, answers, marks)
        counts[way.name] = sum(marks), len(marks)
    table = Table(title=f"{len(rows)} recordings of real people: right of n, 95 % interval")
    for column in ("asked", "right"):
        table.add_column(column)
    for name, (right, total) in counts.items():
        table.add_row(name, share_right(right, total))
    console.print(table)
    if arguments.write_card:
        write_into_card(
            student, {f"orders of real people, {way}": count for way, count in counts.items()}, "make demo"
        )

    with tempfile.TemporaryDirectory(prefix="aura-demo-") as temporary:
        clips, measured = Path(temporary, "clips.json"), Path(temporary, "latency.json")
        clips.write_text(json.dumps([row["path"] for row in rows[:LATENCY_CLIPS]]))
        run(REPOSITORY / "demo" / "latency.py", student, whisper, llm, clips, measured)
        show_latency(json.loads(measured.read_text()))
    console.print(
        f"Done in {time.perf_counter() - started:.0f} seconds. Ask it yourself: aura ask {arguments.student} RECORDING"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
