"""Scores of what a student answers in an evaluation during training: `compute_metrics` of a trainer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import EvalPrediction

from .scorers import Reference, scorer


TRANSCRIPT_SCORERS = ("wer", "cer")
"""Scorers of transcripts; all others score answers."""

DEFAULT_SCORERS = ("wer", "exact_match")


class AnswerMetrics:
    """Scores answers of a student by the scorers of `aura evaluate`.

    A row that asks for a transcript is scored by `wer` and `cer`, one that asks a question by all others. A scorer without any row gives no figure.

    Args:
        scorers: names, see [`SCORERS`].
        language: of the texts, for Whisper's normaliser: `"en"` gets the English rules, any other the basic ones. `None`: those of no language.

    Raises:
        ValueError: there is no such scorer, or one is named twice.
        MissingExtraError: a library that a scorer needs is not installed.

    Example:
        ```python
        trainer = AuraTrainer(
            student, teacher, AuraTrainingArguments("out", eval_strategy="steps", metric_for_best_model="eval_wer"),
            compute_metrics=AnswerMetrics(["wer"]), ...
        )
        ```
    """

    def __init__(self, scorers: Sequence[str] = DEFAULT_SCORERS, language: str | None = "en") -> None:
        if len(set(scorers)) < len(scorers):
            raise ValueError(f"A scorer is named twice: {', '.join(scorers)}.")
        self.scorers = {name: scorer(name, language) for name in scorers}
        for each in self.scorers.values():
            each.identity  # noqa: B018 - asks for the libraries that it needs, before the training rather than after its first part

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """
        Args:
            prediction: `predictions` are texts, `label_ids` the right ones (`None` where a row has none), `inputs` tell for each what was asked: dicts with
                `task` (`"transcript"` or `"answer"`) and `question`.

        Returns:
            by the scorer's name, as shares of 1 (`wer`, `exact_match`), or from 0 to 100 (`bleu`).
        """
        rows = list(zip(prediction.predictions, prediction.label_ids, prediction.inputs, strict=True))
        figures = {}
        for name, each in self.scorers.items():
            task = "transcript" if name in TRANSCRIPT_SCORERS else "answer"
            statistics = [
                each.statistics(text, Reference((expected,), question=asked["question"]))
                for text, expected, asked in rows
                if asked["task"] == task and expected
            ]
            if statistics:
                figures[name] = float(each.value(np.sum(statistics, axis=0)))
        return figures
