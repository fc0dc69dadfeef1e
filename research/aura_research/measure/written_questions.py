"""Written questions about recordings that no training had: answered directly, from the transcript, and by the base LLM on the true text.

    python -m aura_research.measure.written_questions [STUDENT]

Tells which `answer_from` is the better default for a written question: about 27 orders of real people (`tests/fixtures/speech`), each asked in several
wordings, about the twelve recorded questions of the demo, and about ten read sentences and playing cards (Debian's `pocketsphinx-testdata`). Greedy, float32.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from aura_research.measure.benchmarks import reading
from benchmarks.recordings import ORDERS, QUESTIONS
from benchmarks.systems import STUDENT, Systems
from transformers_aura.cli.console import quiet_libraries
from transformers_aura.evaluation.scorers.squad import normalize_answer
from transformers_aura.evaluation.statistics import wilson_interval


MAX_NEW_TOKENS = 48
TAUGHT = "What was ordered? Answer in JSON."
"""The question that the packaged student was taught to answer directly."""
OF_THE_DRINK = ("What did the caller order?", "Which drink does the customer want?", "What should I make?")
OF_A_SLOT = {
    "size": "What size should it be?",
    "milkAmount": "What kind of milk do they want?",
    "roast": "Which roast do they want?",
    "numberOfShots": "How many shots?",
    "sugarAmount": "How should it be sweetened?",
}
OF_A_QUESTION = ("Answer the question.", "What is the answer?")
OF_WORDS = ("What did the speaker say?", "Repeat what you heard.")


@dataclass(frozen=True)
class Question:
    """A question about a recording. Its answer is right if it holds at least the share `needed` of the `words`."""

    kind: str
    audio: str
    text: str
    question: str
    words: tuple[str, ...]
    needed: float = 1.0

    def is_right(self, answer: str) -> bool:
        """Whether the answer says it, spelling of case, articles and punctuation aside."""
        said = normalize_answer(answer.replace('"', " ")).split()
        return sum(word in said for word in self.words) >= self.needed * len(self.words)


def _words(text: str) -> tuple[str, ...]:
    return tuple(normalize_answer(text).split())


def questions() -> Iterator[Question]:
    """All that is asked."""
    for line in (ORDERS / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        audio, text, slots = str(ORDERS / row["audio"]), row["transcript"], row["slots"]
        drink = _words(slots["coffeeDrink"])
        yield Question("order, as taught", audio, text, TAUGHT, drink)
        for question in OF_THE_DRINK:
            yield Question("order, other words", audio, text, question, drink)
        for slot, question in OF_A_SLOT.items():
            if slot in slots:
                yield Question("a detail of an order", audio, text, question, _words(slots[slot]))
    for line in (QUESTIONS / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        for question in OF_A_QUESTION:
            # The first of several spellings has to be there.
            words = _words(row["accepted"][0])
            yield Question(
                "recorded question, to be answered", str(QUESTIONS / row["audio"]), row["question"], question, words
            )
    read = reading()
    for item in read.items if read is not None else ():
        for question in OF_WORDS:
            # Eight words of ten: a transcript of that many would do for most purposes.
            yield Question("read sentence, repeated", str(item.audio), item.text, question, _words(item.text), 0.8)


def answers(systems: Systems, asked: Sequence[Question], way: str) -> list[str]:
    """The answers of one way: `"audio"`, `"transcript"`, or `"gold"`, the base LLM on the true text."""
    requests: list[Any] = [{"audio": each.audio, "question": each.question} for each in asked]
    settings: dict[str, Any] = {"answer_from": way}
    if way == "gold":
        requests = [
            [{"role": "user", "content": [{"type": "text", "text": f"{each.text}\n{each.question}"}]}]
            for each in asked
        ]
        settings = {}
    results = systems.pipeline(
        iter(requests), batch_size=8, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, **settings
    )
    return [result["answer"] for (result,) in tqdm(results, desc=way, total=len(asked), leave=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", nargs="?", default=STUDENT, help="packaged student, folder or Hub id")
    parser.add_argument("--kind", help="only the questions of kinds that begin so")
    parser.add_argument("--show", action="store_true", help="every answer")
    arguments = parser.parse_args()
    quiet_libraries()
    systems = Systems(arguments.student)
    asked = [each for each in questions() if each.kind.startswith(arguments.kind or "")]
    given = {way: answers(systems, asked, way) for way in ("audio", "transcript", "gold")}
    if arguments.show:
        for index, each in enumerate(asked):
            print(f"\n{each.text} | {each.question}")
            for way, texts in given.items():
                print(f"  {'right' if each.is_right(texts[index]) else 'wrong'} {way}: {texts[index]!r}")
    print("| asked | n | directly | from the transcript | the LLM on the true text |\n|---|---|---|---|---|")
    for kind in dict.fromkeys(each.kind for each in asked):
        rows = [index for index, each in enumerate(asked) if each.kind == kind]
        cells = []
        for texts in given.values():
            right = sum(asked[index].is_right(texts[index]) for index in rows)
            interval = wilson_interval(right, len(rows))
            cells.append(f"{right / len(rows):.0%} ({interval.low:.0%} to {interval.high:.0%})")
        print(f"| {kind} | {len(rows)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
