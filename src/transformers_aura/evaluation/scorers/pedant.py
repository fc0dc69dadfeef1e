"""PEDANT, a classifier of answers by the authors of the PyPI package qa-metrics."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .interface import Reference, ratio
from .squad import normalize_answer


SUPPORTED_VERSIONS = ("0.2.42",)
"""Of qa-metrics, whose order of arguments and whose files were read."""

MODEL_FILES = {
    "model": "lr_classifier.pkl",
    "tokenizer": "tf-idf_vectorizer.pkl",
    "rule_model": "rule_classifier.pkl",
    "type_model": "type_classifier.pkl",
}
"""The classifier's attributes, and the files that they come from."""

_INSTALL = f"pip install 'qa-metrics=={SUPPORTED_VERSIONS[-1]}' nltk regex tqdm"


@dataclass(frozen=True)
class Pedant:
    """Share of answers that PEDANT takes for right: at least `needed` accepted answers match, each judged with the question.

    It is PEDANT with its default settings. An accepted answer that stands anywhere in the answer, even within a word, matches
    without the classifier being asked; an accepted answer that has no word left after normalisation would therefore match
    everything, and matches nothing here.

    The package's own constructor downloads four files from a branch that changes, each time, and writes them into the installed
    package; its import downloads six more, which are not needed with the default settings. Neither happens here: the files come from
    `model_folder`, and their hashes go into the identity. They are pickles, and loading a pickle runs whatever code it holds, so
    they are loaded only with `trust_pickle`.

    References:
        - PEDANTS: Cheap but Effective and Interpretable Answer Equivalence: https://arxiv.org/abs/2402.11161

    Args:
        model_folder: has the four [`MODEL_FILES`].
        trust_pickle: the files come from someone whose code may run here.

    Example:

    ```python
    >>> pedant = Pedant("pedant_models", trust_pickle=True)
    ```

    Raises:
        ImportError: qa-metrics is not installed, or in a version that is not supported.
        FileNotFoundError: no folder was given, or files are missing; says what to fetch.
        ValueError: the files were not called trusted.
    """

    model_folder: str | Path | None = None
    trust_pickle: bool = False

    name: ClassVar[str] = "pedant"
    version: ClassVar[str] = "1"
    higher_is_better: ClassVar[bool] = True
    is_share: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_package()
        _check_files(self.model_folder)
        if not self.trust_pickle:
            raise ValueError(
                f"PEDANT's files in {self.model_folder} are pickles: loading one runs whatever code it holds. If you trust where "
                "they come from, say so with `trust_pickle=True`."
            )
        _ = self._classifier

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "scorer": self.name,
            "version": self.version,
            "qa-metrics": version("qa-metrics"),
            "scikit-learn": version("scikit-learn"),
            "sha256": self._hashes,
        }

    def statistics(self, answer: str, reference: Reference) -> tuple[float, ...]:
        """Raises `ValueError` if the item has no question."""
        if not answer.strip():
            return (0.0, 1.0)
        if reference.question is None:
            raise ValueError(f"PEDANT judges with the question, and this item has none: {reference.accepted}.")
        matches = sum(
            bool(self._classifier.evaluate(accepted, answer, reference.question))
            for accepted in dict.fromkeys(reference.accepted)
            if any(character.isalnum() for character in normalize_answer(accepted))
        )
        return (float(matches >= reference.needed), 1.0)

    def value(self, sums: np.ndarray) -> np.ndarray:
        return ratio(sums)

    @cached_property
    def _classifier(self) -> Any:
        """A `qa_metrics.pedant.PEDANT`, made without its constructor."""
        with _no_nltk_downloads():
            pedant = importlib.import_module("qa_metrics.pedant").PEDANT
        joblib = importlib.import_module("joblib")
        classifier = pedant.__new__(pedant)
        classifier.fast_eval, classifier.fast_model = True, False
        for attribute, file in MODEL_FILES.items():
            setattr(classifier, attribute, joblib.load(Path(self.model_folder or "") / file))
        return classifier

    @cached_property
    def _hashes(self) -> dict[str, str]:
        folder = Path(self.model_folder or "")
        return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in MODEL_FILES.values()}


def _check_package() -> None:
    try:
        found = version("qa-metrics")
    except PackageNotFoundError as error:
        raise ImportError(
            f"PEDANT comes with the package qa-metrics. Run: {_INSTALL}\nIt needs scikit-learn 1.3.2, and with it numpy below 2 and "
            "Python below 3.13: an environment of its own is best."
        ) from error
    if found not in SUPPORTED_VERSIONS:
        raise ImportError(
            f"qa-metrics {found} is not supported, since versions differ in their figures; supported: "
            f"{', '.join(SUPPORTED_VERSIONS)}. Run: {_INSTALL}"
        )


def _check_files(folder: str | Path | None) -> None:
    missing = [file for file in MODEL_FILES.values() if folder is None or not (Path(folder) / file).is_file()]
    if missing:
        where = "one folder, and give it as `model_folder`" if folder is None else f"{folder}, where they are missing"
        listed = "\n".join(f"  {file.removesuffix('.pkl')} -> {file}" for file in missing)
        raise FileNotFoundError(
            "PEDANT's model is not part of qa-metrics. Download these files of the GitHub repository zli12321/pedant_models, and save "
            f"them under the names after the arrows, in {where}:\n{listed}"
        )


@contextmanager
def _no_nltk_downloads() -> Iterator[None]:
    """Importing qa-metrics downloads data for NLTK, which PEDANT's default settings do not use."""
    try:
        nltk: Any = importlib.import_module("nltk")
    except ImportError as error:
        raise ImportError(f"qa-metrics needs nltk, and does not say so. Run: {_INSTALL}") from error
    download = nltk.download
    nltk.download = lambda *arguments, **settings: False
    try:
        yield
    finally:
        nltk.download = download
