"""Generations survive a kill, and are thrown away where something else went in."""

import numpy as np

from student.measure.cases import Case
from student.measure.generations import GenerationFile, generate, input_hash


class Echo:
    """Answers with the length of the recording; counts its batches."""

    name = "echo"
    kinds = frozenset(["order", "transcript"])
    identity: dict = {}

    def __init__(self):
        self.batches = []

    def answer(self, requests):
        self.batches.append([(len(request.samples), request.question) for request in requests])
        return [str(len(request.samples)) for request in requests]


def case(name: str, length: int, kind: str = "order", question: str | None = "What?", level: float = 0.0) -> Case:
    return Case(
        name=name, kind=kind, group="clean", source=name, seconds=length / 16000, question=question, text=None,
        truth={}, load=lambda: np.full(length, level, np.float32),
    )  # fmt: skip


def test_batches_by_question_and_length(tmp_path):
    system = Echo()
    cases = [
        case("a", 300),
        case("b", 100),
        case("c", 200),
        case("d", 50, "transcript", "Transcribe."),
        case("e", 9, "answer"),
    ]
    answers = generate(system, cases, tmp_path / "orders.jsonl", batch_size=2)
    assert answers == {"a": "300", "b": "100", "c": "200", "d": "50"}
    assert sorted(system.batches) == [[(50, "Transcribe.")], [(100, "What?"), (200, "What?")], [(300, "What?")]]


def test_a_second_run_asks_only_what_is_missing_or_changed(tmp_path):
    path = tmp_path / "orders.jsonl"
    generate(Echo(), [case("a", 300), case("b", 100)], path)
    system = Echo()
    answers = generate(system, [case("a", 300), case("b", 100, level=0.5), case("c", 200)], path)
    assert answers == {"a": "300", "b": "100", "c": "200"}
    assert system.batches == [[(100, "What?"), (200, "What?")]]


def test_half_a_line_is_forgotten(tmp_path):
    path = tmp_path / "orders.jsonl"
    file = GenerationFile(path)
    file.append("a", "hash", "first")
    file.append("b", "hash", "second\nline")
    whole = path.read_bytes()
    for cut in (len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:cut])
        again = GenerationFile(path)
        assert "a" in again
        assert "b" not in again
        again.append("b", "hash", "third")
        assert GenerationFile(path).answer("b", "hash") == "third"
    assert GenerationFile(path).answer("a", "other hash") is None


def test_input_hash_tells_everything_apart():
    samples = np.zeros(10, np.float32)
    hashes = {input_hash(samples), input_hash(samples[:9]), input_hash(samples, "a"), input_hash(samples, "a", "b")}
    assert len(hashes) == 4
