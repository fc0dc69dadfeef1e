"""What the results must show: figures with their bounds, and whether each is met."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    features,
    first_token,
    graph_breaks,
    memory,
    operations,
    serving_load,
    streaming,
    training_step,
)
from benchmarks.results import STUDENT, Ratio, Result, markdown_table


@dataclass(frozen=True)
class Target:
    """
    One system's number divided by another's, with a bound for each case.

    Attributes:
        figure: what it is, in words.
        benchmark: in whose results it is.
        above: the system whose number is divided.
        below: the system that it is divided by; `None` = the number itself is the figure.
        must: bound of each case.
        goal: what would be better still; may lack cases.
        at_least: the figure must be as large as its bound; else, at most so large.
    """

    figure: str
    benchmark: str
    above: str
    below: str | None
    must: Mapping[str, float]
    goal: Mapping[str, float]
    at_least: bool = False

    def value(self, result: Result, case: str) -> Ratio | None:
        """The figure in a result; `None` = it was not measured."""
        for table in result.tables:
            if self.below is not None:
                found = table.ratio(self.above, self.below, case)
            else:
                median = table.median(self.above, case)
                found = None if median is None else Ratio(median, median, median)
            if found is not None:
                return found
        return None

    def is_met(self, value: Ratio, case: str) -> bool:
        """Whether the bound is kept, by the median."""
        return value.median >= self.must[case] if self.at_least else value.median <= self.must[case]


def _by_case(cases: str, *bounds: float) -> dict[str, float]:
    """One bound for all cases, or one for each."""
    names = cases.split()
    return dict(zip(names, bounds if len(bounds) > 1 else bounds * len(names), strict=True))


TARGETS = (
    Target(
        "first token, direct, merged / LLM alone",
        "first_token",
        first_token.MERGED,
        first_token.LIMIT,
        _by_case("3 10 30", 1.10),
        _by_case("3 10 30", 1.03),
    ),
    Target(
        "first token, direct, unmerged / LLM alone",
        "first_token",
        first_token.DIRECTLY,
        first_token.LIMIT,
        _by_case("3 10 30", 1.20),
        _by_case("3 10 30", 1.05),
    ),
    Target(
        "first token, encoder + LLM / direct, merged",
        "first_token",
        first_token.WITH_ENCODER,
        first_token.MERGED,
        _by_case("3 10 30", 2.4, 1.8, 1.25),
        _by_case("3 10 30", 2.6, 2.0, 1.4),
        at_least=True,
    ),
    Target(
        "first token, Whisper + LLM / direct, merged",
        "first_token",
        first_token.CASCADE,
        first_token.MERGED,
        _by_case("3 10 30", 3.0, 2.6, 2.2),
        _by_case("3 10 30", 5.0),
        at_least=True,
    ),
    Target(
        "first token, faster-whisper int8 + LLM / direct, merged",
        "first_token",
        first_token.FASTER_INT8,
        first_token.MERGED,
        _by_case("3 10 30", 1.3),
        _by_case("3 10 30", 2.0),
        at_least=True,
    ),
    Target(
        "operations, patch embedding / LLM alone",
        "operations",
        operations.PATCH_EMBEDDING,
        operations.LANGUAGE_MODEL,
        _by_case("10", 0.08),
        _by_case("10", 0.03),
    ),
    Target(
        "streamed: first token after the end of speech, 60 s / 3 s of audio",
        "streaming",
        streaming.after(60),
        streaming.after(3),
        _by_case("first_token", 1.3),
        _by_case("first_token", 1.0),
    ),
    Target(
        "streamed: first token after the end of speech, Whisper + LLM / us",
        "streaming",
        first_token.CASCADE,
        streaming.STREAMED,
        _by_case("10", 6.0),
        _by_case("10", 10.0),
        at_least=True,
    ),
    Target(
        "features, WhisperFeatureExtractor padded / ours",
        "features",
        features.WHISPER_PADDED,
        features.OURS,
        _by_case("5", 5.0),
        {},
        at_least=True,
    ),
    Target(
        "features, WhisperFeatureExtractor unpadded / ours",
        "features",
        features.WHISPER_UNPADDED,
        features.OURS,
        _by_case("5", 1.0),
        {},
        at_least=True,
    ),
    Target(
        "training step, student with cached teacher / PEFT LoRA on as many tokens",
        "training_step",
        training_step.CACHED,
        training_step.PEFT,
        _by_case("8", 1.25),
        _by_case("8", 1.10),
    ),
    Target(
        "peak memory of the process, direct / LLM alone",
        "memory",
        memory.DIRECTLY,
        memory.LIMIT,
        _by_case("300", 1.10),
        _by_case("300", 1.03),
    ),
    Target(
        "requests a second over HTTP, student / LLM alone",
        "serving_load",
        serving_load.STUDENT,
        serving_load.BARE,
        _by_case("1 8 32", 0.8),
        {},
        at_least=True,
    ),
    Target(
        "requests a second over HTTP, student / faster-whisper float32 + LLM",
        "serving_load",
        serving_load.STUDENT,
        first_token.FASTER_FLOAT32,
        _by_case("1 8 32", 3.0),
        {},
        at_least=True,
    ),
    Target(
        "graph breaks, student, prefill and decoding",
        "graph_breaks",
        graph_breaks.UNMERGED,
        None,
        _by_case("prefill decoding", 0),
        {},
    ),
)


def to_markdown(results: Mapping[str, Result]) -> str:
    """A table for each student: each figure and case, on one thread and on two, what it must be, and whether it is; measured ones in float32."""
    measured = (Path(result.settings.get("student", STUDENT)).name for result in results.values())
    students = dict.fromkeys(measured) or [STUDENT]
    return "\n\n".join(f"`{student}`:\n\n{_table_of(student, results)}" for student in students)


def _table_of(student: str, results: Mapping[str, Result]) -> str:
    rows = [["figure", "case", "1 thread", "2 threads", "must", "goal", "met"]]
    for target in TARGETS:
        for case in target.must:
            values = values_of(target, case, results, student)
            sign = ">=" if target.at_least else "<="
            met = [target.is_met(value, case) for value in values if value is not None]
            rows.append(
                [
                    target.figure,
                    case,
                    *("-" if value is None else str(value) for value in values),
                    f"{sign} {target.must[case]:g}",
                    f"{target.goal[case]:g}" if case in target.goal else "",
                    "not measured" if not met else "yes" if all(met) else "**no**",
                ]
            )
    return markdown_table(rows)


def values_of(target: Target, case: str, results: Mapping[str, Result], student: str = STUDENT) -> list[Ratio | None]:
    """On one thread and on two; what was counted stands in both."""
    of_student = "" if student == STUDENT else f"-of-{student}"
    counted = target.benchmark + of_student
    stems = [
        counted if counted in results else f"{target.benchmark}-{threads}t-float32{of_student}" for threads in (1, 2)
    ]
    return [target.value(results[stem], case) if stem in results else None for stem in stems]
