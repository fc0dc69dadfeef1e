import numpy as np
import pytest

from tests.evaluation.support import questions, right_on
from tests.evaluation.test_evaluation import evaluate
from transformers_aura.evaluation.calibration import calibration_bins, calibration_of, separation
from transformers_aura.evaluation.figures import ScoredItem, ScoredRun
from transformers_aura.evaluation.scorers import Containment


def run(confidence, right):
    items = tuple(
        ScoredItem(str(number), str(number), (), False, (float(is_right), 1.0), float(sure))
        for number, (sure, is_right) in enumerate(zip(confidence, right, strict=True))
    )
    return ScoredRun("system", "quiz", "clean", Containment(), items)


def test_who_is_right_as_often_as_sure_is_calibrated():
    generator = np.random.default_rng(0)
    confidence = generator.random(4000)
    honest = calibration_of(run(confidence, generator.random(4000) < confidence))
    boastful = calibration_of(run(confidence, generator.random(4000) < confidence / 2))
    assert honest.expected_error < 0.03
    assert boastful.expected_error == pytest.approx(0.25, abs=0.03)
    assert boastful.interval[0] > honest.interval[1]
    assert honest.num_items == 4000


def test_expected_error_equals_the_hand_computed_number():
    # Ten bins of two: confidence 0.9, one of two right in each: |0.9 - 0.5|.
    found = calibration_of(run([0.9] * 20, [True, False] * 10))
    assert found.expected_error == pytest.approx(0.4)
    assert found.separation == 0.5
    assert [part.num_items for part in found.bins] == [2] * 10


def test_bins_go_from_unsure_to_sure():
    bins = calibration_bins(np.array([0.9, 0.1, 0.5, 0.7]), np.array([True, False, False, True]), num_bins=2)
    assert [(part.confidence, part.accuracy) for part in bins] == [
        (pytest.approx(0.3), 0.0),
        (pytest.approx(0.8), 1.0),
    ]


def test_separation():
    assert separation(np.array([0.9, 0.2, 0.8, 0.1]), np.array([True, False, True, False])) == 1.0
    assert separation(np.array([0.2, 0.9]), np.array([True, False])) == 0.0
    assert separation(np.array([0.2, 0.9]), np.array([True, True])) is None


def test_systems_that_do_not_say_have_none(tmp_path):
    assert calibration_of(run([0.5] * 5, [True] * 5)) is None, "too few"
    sure = right_on(range(15), "sure", confidence=0.9)
    silent = right_on(range(15), "silent")
    results = evaluate(tmp_path, [sure, silent], questions(30))
    found = [row for row in results.calibrations if row.scorer == "contains"]
    assert [row.system for row in found] == ["sure"]
    assert found[0].expected_error == pytest.approx(0.4, abs=0.1)
    report = (tmp_path / "results.md").read_text()
    assert "### Calibration" in report
    assert (tmp_path / "quiz-calibration.png").is_file()
