"""The files of a report."""

import json

import numpy as np
import soundfile

from student.measure.cases import Case
from student.measure.figures import score, set_figures
from student.measure.report import MAX_FAILURES, Results, write_results
from student.measure.scores import Normalizer


def test_report_holds_figures_answers_and_failures(tmp_path):
    cases = [
        Case(
            name=f"clip {number}", kind="order", group="clean", source=str(number), seconds=1.0, question="What?",
            text=None, truth={"size": "small"}, load=lambda number=number: np.full(16, number / 16, np.float32),
        )
        for number in range(14)
    ]  # fmt: skip
    answers = {case.name: '{"size": "small"}' if case.source < "2" else "a | b\nc" for case in cases}
    scored = score(cases, answers, Normalizer())
    results = Results({"seed": 3}, {"aura": {"weights": "abc"}, "gold": {"weights": "def"}})
    results.add("orders", "aura", set_figures("orders", scored, None), scored)
    results.add("orders", "gold", [], scored[:2])
    results.text_ability = {"prompts": 5, "prompts_equal": 4, "largest_difference": 0.5, "dtype": "float32"}
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "earlier.flac").touch()
    write_results(results, tmp_path)
    assert not (tmp_path / "failures" / "earlier.flac").exists()  # of a measurement that these results replace

    content = json.loads((tmp_path / "results.json").read_text())
    assert content["seed"] == 3
    assert content["systems"]["aura"] == {"weights": "abc"}
    assert len(content["results"][0]["answers"]) == 14
    assert content["results"][0]["answers"][2]["answer"] == "a | b\nc"
    assert content["results"][0]["figures"][0]["n"] == 14
    assert {"value", "interval", "method"} <= set(content["results"][0]["figures"][0])

    text = (tmp_path / "results.md").read_text()
    assert "| orders | clean: every labelled slot right | 14 | 42.9% (21.4% to 67.4%) |" in text
    assert "4 of 5 prompts" in text
    assert "orders, aura: 8 of 14 not entirely right" in text
    assert text.count("a \\| b c") == min(8, MAX_FAILURES)
    assert "orders, gold:" not in text  # nothing failed
    assert "- seed: 3" in text
    # What failed can be listened to.
    assert "| [clip 2](failures/clip_2.flac) |" in text
    samples, sampling_rate = soundfile.read(tmp_path / "failures" / "clip_2.flac")
    assert (samples.tolist(), sampling_rate) == ([2 / 16] * 16, 16000)
