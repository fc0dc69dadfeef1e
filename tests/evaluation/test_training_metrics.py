"""Scores of an evaluation during training."""

import pytest
from transformers import EvalPrediction

from transformers_aura.evaluation.training_metrics import AnswerMetrics


def prediction(*rows: tuple[str, str, str | None]) -> EvalPrediction:
    """Of `(task, text, expected)`."""
    return EvalPrediction(
        predictions=[text for _, text, _ in rows],
        label_ids=[expected for _, _, expected in rows],
        inputs=[{"task": task, "question": None} for task, _, _ in rows],
    )


ROWS = (
    ("transcript", "A large, cup of tea", "a large cup of tea"),
    ("transcript", "one cup", "two cups now"),
    ("answer", "Paris.", "Paris"),
    ("answer", "In London, I think", "London"),
    ("answer", "Nothing is right here", None),
)


def test_transcripts_and_answers_are_scored_apart():
    figures = AnswerMetrics(["wer", "exact_match", "contains"])(prediction(*ROWS))
    assert figures == {"wer": pytest.approx(3 / 8), "exact_match": 0.5, "contains": 1.0}


def test_a_scorer_without_rows_gives_no_figure():
    assert AnswerMetrics(["wer", "exact_match"])(prediction(*ROWS[2:])) == {"exact_match": 0.5}


def test_the_language_chooses_the_normaliser():
    texts = prediction(("transcript", "die Straße colour 1", "die Straße color one"))
    assert AnswerMetrics(["wer"], "en")(texts) == {"wer": 0.25}, "English knows that one is 1"
    for other in ("de", None):
        assert AnswerMetrics(["wer"], other)(texts) == {"wer": 0.5}


def test_wrong_names_are_named():
    with pytest.raises(ValueError, match="Did you mean 'wer'"):
        AnswerMetrics(["wert"])
    with pytest.raises(ValueError, match="named twice: wer, wer"):
        AnswerMetrics(["wer", "wer"])
