"""Systems and items whose figures are known beforehand."""

from typing import Any

from tests.support.tiny import tone
from transformers_aura.evaluation.benchmarks import QA_SCORERS, Benchmark, LoadedBenchmark, read_own
from transformers_aura.evaluation.items import Item
from transformers_aura.evaluation.systems import Answer


class KnownSystem:
    """Recognises a recording by its length, and answers what it was told to."""

    def __init__(
        self,
        name: str,
        answers: dict[int, str],
        needs_text: bool = False,
        tasks: tuple[str, ...] = ("answer",),
        confidence: float | None = None,
    ):
        self.name = name
        self.confidence = confidence
        self.answers = answers
        self.needs_text = needs_text
        self.tasks = frozenset(tasks)
        self.identity: dict[str, Any] = {"kind": "known", "answers": [list(pair) for pair in sorted(answers.items())]}

    def answer(self, requests: Any) -> list[Answer]:
        return [Answer(self.answers.get(len(request.waveform), ""), self.confidence) for request in requests]


def length_of(number: int) -> int:
    return 1600 + 160 * number


def questions(count: int = 12) -> LoadedBenchmark:
    """Item `n` asks for `"answer n"`; even ones in one accent, odd ones in another."""
    items = [
        Item(
            name=f"q{number}",
            task="answer",
            audio={"array": tone(length_of(number) / 16000), "sampling_rate": 16000},
            accepted=(f"answer {number}",),
            text=f"question {number}",
            groups={"accent": "even" if number % 2 == 0 else "odd"},
        )
        for number in range(count)
    ]
    return LoadedBenchmark(Benchmark("quiz", QA_SCORERS, "A quiz.", read_own), items, {"folder": "quiz"})


def right_on(numbers: Any, name: str, **settings: Any) -> KnownSystem:
    """A system that gets these items, and only these."""
    wanted = set(numbers)
    answers = {length_of(n): f"It is answer {n}." if n in wanted else "No idea." for n in range(40)}
    return KnownSystem(name, answers, **settings)


class FakeTranscriber:
    """Transcribes a recording by its length, as it was told to."""

    identity = {"weights": "fake"}

    def __init__(self, texts: dict[int, str]):
        self.texts = texts

    def transcribe(self, waveforms: Any) -> list[str]:
        return [self.texts[len(waveform)] for waveform in waveforms]
