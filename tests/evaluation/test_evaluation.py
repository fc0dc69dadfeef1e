import errno
import json
import os
from pathlib import Path

import pytest
import soundfile

from tests.evaluation.support import questions, right_on
from tests.support.tiny import tone
from transformers_aura.evaluation.benchmarks import LoadedBenchmark
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.items import Item
from transformers_aura.evaluation.results import Results
from transformers_aura.evaluation.scorers.registry import scorer
from transformers_aura.folder_lock import FolderInUseError


def evaluate(folder, systems, benchmark=None, conditions=("clean",), **settings):
    parsed = [Condition.parse(written) for written in conditions]
    return Evaluation(systems, [benchmark or questions()], parsed, folder, **settings).run()


def values(results, **wanted):
    return {figure.system: figure.value for figure in results.select(**wanted)}


def test_figures_tests_and_files(tmp_path):
    systems = [right_on(range(9), "student"), right_on(range(12), "cascade")]
    results = evaluate(tmp_path, systems)
    assert values(results, scorer="contains") == {"student": 0.75, "cascade": 1.0}
    assert values(results, scorer="exact_match") == {"student": 0.0, "cascade": 0.0}
    assert values(results, scorer="contains", group="accent=odd")["student"] == pytest.approx(4 / 6)
    (test,) = [test for test in results.tests if test.scorer == "contains"]
    assert (test.first, test.second) == ("student", "cascade")
    assert test.comparison.difference == -0.25
    assert test.lost.items == ["q9", "q10", "q11"]
    assert test.lost.by_group["accent=odd"] == (2, 6)
    assert Results.load(tmp_path) == results
    assert {path.name for path in tmp_path.iterdir()} >= {"results.json", "results.md", "scores.jsonl", "generations"}


def test_swapping_two_names_swaps_their_rows(tmp_path):
    there = evaluate(tmp_path / "a", [right_on(range(9), "one"), right_on(range(4), "two")])
    back = evaluate(tmp_path / "b", [right_on(range(9), "two"), right_on(range(4), "one")])
    names = {"one": "two", "two": "one"}
    swapped = {(names[f.system], f.scorer, f.group): (f.value, f.interval) for f in there.figures}
    assert swapped == {(f.system, f.scorer, f.group): (f.value, f.interval) for f in back.figures}


def test_a_shuffled_control_scores_at_chance(tmp_path):
    everything = right_on(range(12), "all")
    results = evaluate(tmp_path, [everything], conditions=("clean", "shuffled"))
    assert values(results, scorer="contains", condition="clean") == {"all": 1.0}
    assert values(results, scorer="contains", condition="shuffled") == {"all": 0.0}


def test_a_broken_recording_is_reported_and_counts_as_wrong(tmp_path):
    benchmark = questions()
    broken = Item("broken", "answer", str(tmp_path / "gone.wav"), ("x",), text="question")
    benchmark = LoadedBenchmark(benchmark.benchmark, [*benchmark.items, broken], benchmark.origin)
    results = evaluate(tmp_path / "out", [right_on(range(12), "all")], benchmark)
    (figure,) = results.select(scorer="contains")
    assert (figure.num_items, figure.num_failed, figure.value) == (13, 1, pytest.approx(12 / 13))
    (failure,) = results.failures
    assert failure["item"] == "broken"
    report = (tmp_path / "out" / "results.md").read_text()
    assert "## Items without an answer" in report
    assert "gone.wav" in report


def test_what_the_reader_knows_is_a_group_of_its_own(tmp_path):
    gold = right_on(range(6), "gold", needs_text=True)
    results = evaluate(tmp_path, [right_on(range(3), "student"), gold])
    assert values(results, scorer="contains", group="gold=right") == {"student": 0.5, "gold": 1.0}
    assert values(results, scorer="contains", group="gold=wrong") == {"student": 0.0, "gold": 0.0}


def test_who_reads_is_asked_once_whatever_there_is_to_hear(tmp_path):
    gold = right_on(range(6), "gold", needs_text=True)
    asked = []
    gold.answer = lambda requests, answer=gold.answer: asked.extend(requests) or answer(requests)
    results = evaluate(tmp_path, [gold], conditions=("clean", "gain:-6", "speed:1.2", "shuffled"))
    assert len(asked) == 2 * 12, "clean and shuffled"
    assert values(results, scorer="contains", condition="speed:1.2") == {"gold": 0.5}


def test_all_amounts_of_a_condition_together_are_drawn_by_recording(tmp_path):
    results = evaluate(tmp_path, [right_on(range(6), "student")], conditions=("clean", "gain:-6", "gain:-12"))
    (figure,) = results.select(scorer="contains", condition="gain:all")
    assert (figure.value, figure.num_items) == (0.5, 24)
    assert figure.interval.method == "bootstrap over 12 sources"


def test_an_answered_run_is_not_asked_again_and_can_be_scored_otherwise(tmp_path):
    evaluate(tmp_path, [right_on(range(9), "student")])

    class Silent(type(right_on([], "student"))):
        def answer(self, requests):
            raise AssertionError("it answered before")

    silent = Silent("student", right_on(range(9), "student").answers)
    results = evaluate(tmp_path, [silent], scorers=[scorer("squad_f1")])
    assert set(values(results, scorer="squad_f1")) == {"student"}
    assert list(results.scorers) == ["squad_f1"]


def test_wrong_answers_come_with_their_recordings(tmp_path):
    results = evaluate(tmp_path, [right_on(range(9), "student")], num_examples=2)
    assert [row["item"] for row in results.examples] == ["q9", "q10"]
    samples, rate = soundfile.read(tmp_path / results.examples[0]["audio"])
    assert (len(samples), rate) == (1600 + 9 * 160, 16000)
    again = evaluate(tmp_path, [right_on(range(10), "student")], num_examples=2)
    assert [row["item"] for row in again.examples] == ["q10", "q11"]
    assert len(list((tmp_path / "examples").iterdir())) == 2, "those of the earlier evaluation are gone"


def test_results_name_what_they_depend_on(tmp_path):
    evaluate(tmp_path, [right_on(range(9), "student")], seed=3, facts={"limit": 12})
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["facts"] == {"seed": 3, "batch_size": 16, "limit": 12}
    assert content["systems"]["student"]["kind"] == "known"
    assert content["benchmarks"]["quiz"] == {"description": "A quiz.", "num_items": 12, "folder": "quiz"}
    assert set(content["scorers"]) == {"contains", "exact_match", "squad_f1"}
    assert content["scorers"]["contains"]["version"]


@pytest.mark.fault("disk")
@pytest.mark.parametrize("file", ["results.json", "scores.jsonl", "results.md", "quiz_q10.flac"])
def test_on_a_full_disk_everything_is_as_it_was(tmp_path, monkeypatch, file):
    evaluate(tmp_path, [right_on(range(9), "student")])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    opened = Path.open

    def full(path, *args, **kwargs):
        if path.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
        evaluate(tmp_path, [right_on(range(10), "student")])
    monkeypatch.undo()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    assert {path.parent.parent.parent.name for path in after.keys() - before} == {"generations"}, "what was answered"
    evaluate(tmp_path, [right_on(range(10), "student")])
    assert (tmp_path / "results.json").read_bytes() != before[tmp_path / "results.json"]


@pytest.mark.fault("disk")
def test_two_evaluations_do_not_write_into_one_folder(tmp_path):
    class Nested(type(right_on([], "x"))):
        def answer(self, requests):
            with pytest.raises(FolderInUseError, match=rf"{tmp_path} is in use: an evaluation \(process "):
                evaluate(tmp_path, [right_on(range(9), "other")])
            return super().answer(requests)

    results = evaluate(tmp_path, [Nested("student", right_on(range(9), "student").answers)])
    assert set(results.systems) == {"student"}
    evaluate(tmp_path, [right_on(range(9), "other")])


@pytest.mark.fault("evaluation")
def test_a_recording_that_is_gone_when_the_report_is_written_is_left_out_of_it(tmp_path):
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, tone(0.2), 16000)

    class Removes(type(right_on([], "x"))):
        def answer(self, requests):
            clip.unlink()
            return super().answer(requests)

    benchmark = LoadedBenchmark(questions().benchmark, [Item("q", "answer", str(clip), ("x",), text="q")], {})
    results = evaluate(tmp_path / "out", [Removes("student", {})], benchmark)
    assert values(results, scorer="contains") == {"student": 0.0}
    assert results.examples == []


def test_examples_of_like_names_do_not_replace_each_other(tmp_path):
    like = [
        Item(name, "answer", {"array": tone(0.1 * (n + 1)), "sampling_rate": 16000}, ("x",), text="q")
        for n, name in enumerate(("a/b", "a_b", "long" * 100))
    ]
    benchmark = LoadedBenchmark(questions().benchmark, like, {})
    results = evaluate(tmp_path, [right_on([], "student")], benchmark)
    lengths = [soundfile.info(tmp_path / row["audio"]).frames for row in results.examples]
    assert lengths == [1600, 3200, 4800]


def test_errors_for_people(tmp_path):
    with pytest.raises(ValueError, match="Two systems are called 'x'"):
        evaluate(tmp_path, [right_on([1], "x"), right_on([2], "x")])
    with pytest.raises(ValueError, match=r"None of x can be asked the items of quiz \(answer\)"):
        evaluate(tmp_path, [right_on([1], "x", tasks=("transcript",))])
    with pytest.raises(ValueError, match="Two conditions are called 'clean'"):
        evaluate(tmp_path, [right_on([1], "x")], conditions=("clean", "clean"))
    with pytest.raises(ValueError, match="Two benchmarks are called 'quiz'"):
        Evaluation([right_on([1], "x")], [questions(), questions()], [Condition()], tmp_path)
    for name in ("", "..", "../up", "a/b", "a\\b"):
        with pytest.raises(ValueError, match="cannot be one of the systems: files are named after it"):
            evaluate(tmp_path, [right_on([1], name)])
    with pytest.raises(FileNotFoundError, match=r"holds no results\.json"):
        Results.load(tmp_path)
