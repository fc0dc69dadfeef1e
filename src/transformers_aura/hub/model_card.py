"""The model card: a README.md that fills itself from what is in the folder and from the training run."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from transformers import AutoModelForCausalLM

from ..hub_access import HTTPError
from ..modeling.configuration_aura import AuraConfig
from ..package_data import package_data_folder
from .errors import HubError
from .repo_folder import RepoFolder, human_bytes, is_hub_id


HUB_SECONDS = 10
"""After so long without an answer the Hub is out of reach."""

TAGS = ("audio-question-answering", "aura", "speech", "lora", "knowledge-distillation")
PIPELINE_TAG = "audio-text-to-text"

# True of every student, whatever it was trained on.
GENERAL_LIMITS = (
    "It answers what it understood. On speech unlike its training data (other languages, accents, vocabulary, noise), it is often wrong "
    "and does not say so.",
    "It was trained to understand words. Unless this card says otherwise, it probably cannot tell who speaks or how, and does not recognise "
    "sounds other than speech.",
    "It has only its base model's knowledge, and inherits its errors and biases.",
)


@dataclass(frozen=True)
class Result:
    """
    One number of an evaluation.

    Args:
        metric (`str`): what was measured, `"accuracy"` or `"wer"` for example.
        value (`float`): the number, in the metric's own unit.
        dataset (`str`): what it was measured on.
        num_examples (`int`): how many items went into it.
        interval (`tuple[float, float]`, *optional*): 95 % confidence interval.
        command (`str`, *optional*): the command that reproduces it.

    Example:
        >>> Result("exact_match", 0.9, "my orders", num_examples=50, interval=(0.79, 0.96)).dataset
        'my orders'
    """

    metric: str
    value: float
    dataset: str
    num_examples: int
    interval: tuple[float, float] | None = None
    command: str | None = None


SUMMARY_FILE_NAME = "training_summary.json"


@dataclass(frozen=True)
class TrainingSummary:
    """
    What a card tells about the run that made the student. Everything is optional; what is not given is not mentioned.

    Args:
        teacher (`str`): the encoder that taught it, by Hub id or name.
        data (`Sequence[str]`): one line a source of training data.
        datasets (`Sequence[str]`): Hub ids of those that have one, for the card's metadata.
        losses (`dict[str, float]`): last value of each component of the loss.
        loss_weights (`dict[str, float]`): its weight in the sum.
        num_steps (`int`): optimizer steps.
        duration_seconds (`float`): wall-clock time of training.
        recipe (`str`): the recipe, as YAML.
        results (`Sequence[Result]`): evaluations.
        results_text (`str`): Markdown below the table of results: how they were measured, what the numbers do not say.
        limits (`Sequence[str]`): what this student cannot do, beyond what no student can.
        languages (`Sequence[str]`): codes of the languages it was trained on (`"en"`).

    Example:
        >>> TrainingSummary(teacher="openai/whisper-tiny.en", num_steps=320, languages=["en"]).num_steps
        320
    """

    teacher: str | None = None
    data: Sequence[str] = ()
    datasets: Sequence[str] = ()
    losses: dict[str, float] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    num_steps: int | None = None
    duration_seconds: float | None = None
    recipe: str | None = None
    results: Sequence[Result] = ()
    results_text: str | None = None
    limits: Sequence[str] = ()
    languages: Sequence[str] = ()

    def save(self, folder: str | os.PathLike) -> None:
        """Keep the summary beside the student, so that results that come later find it.

        Args:
            folder: of the student.
        """
        path = Path(folder) / SUMMARY_FILE_NAME
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> TrainingSummary:
        """
        The summary that [`save`] kept.

        Args:
            folder: of the student.

        Returns:
            the summary; an empty one where none was kept.

        Raises:
            HubError: its file is damaged.
        """
        path = Path(folder) / SUMMARY_FILE_NAME
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            results = [
                Result(**{**result, "interval": None if result["interval"] is None else tuple(result["interval"])})
                for result in content.pop("results")
            ]
            return cls(**content, results=results)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HubError(
                f"{path} is damaged ({type(error).__name__}: {error}). Remove it: the card then tells less of the training."
            ) from error


def add_results(folder: str | os.PathLike, results: Sequence[Result]) -> Path:
    """Write a student's model card anew, with the results of an evaluation in the place of earlier ones of the same name.

    Args:
        folder (`str` or `PathLike`): what `aura distill` wrote.
        results (`Sequence[Result]`): the numbers; one with the metric and dataset of an earlier one takes its place.

    Returns:
        `Path`: the README.md.

    Example:

    ```python
    >>> add_results("outputs/my-student", [Result("exact_match", 0.9, "my orders", num_examples=50)])
    ```
    """
    summary = TrainingSummary.load(folder)
    names = {(result.metric, result.dataset) for result in results}
    kept = [result for result in summary.results if (result.metric, result.dataset) not in names]
    summary = replace(summary, results=[*kept, *results])
    summary.save(folder)
    return save_model_card(folder, summary)


def save_model_card(
    folder: str | os.PathLike,
    summary: TrainingSummary | None = None,
    *,
    repo_id: str | None = None,
    base_model: str | None = None,
    license: str | None = None,
    packaged: bool = False,
) -> Path:
    """
    Write the README.md of a student's folder, from the files in it and from what is known of its training.

    Sizes and parameter counts are read from the weight files, so that they cannot differ from what is uploaded.

    Args:
        folder (`str` or `PathLike`): what `save_pretrained` wrote.
        summary (`TrainingSummary`, *optional*): what the card says of the training run.
        repo_id (`str`, *optional*): where the student will live; the card's examples name it. The folder's name without it.
        base_model (`str`, *optional*): the base model of a merged checkpoint, whose own config no longer names it.
        license (`str`, *optional*): the Hub's name of a licence. Without it, the base model's own is inherited where it can be read.
        packaged (`bool`): the student comes with this package; the card's examples load it by its name.

    Example:

    ```python
    >>> save_model_card("outputs/my-student", TrainingSummary(num_steps=320), repo_id="my-org/my-student")
    ```

    Returns:
        `Path`: the README.md.

    Raises:
        HubError: `folder` holds no student.
    """
    repo = RepoFolder.read(folder)
    summary = summary or TrainingSummary()
    name = repo_id or repo.path.resolve().name
    base_model = base_model or repo.config.base_model
    card = ModelCard.from_template(
        _card_data(repo, summary, name, base_model, _license_data(license, base_model, repo.config.base_revision)),
        template_str=(package_data_folder("hub_cards") / "student.md.jinja").read_text(encoding="utf-8"),
        name=name,
        short_name=name.split("/")[-1],
        config=repo.config,
        audio=repo.config.audio_config,
        base_model=None if base_model is None else model_reference(base_model),
        packaged=packaged,
        is_merged=repo.config.base_model is None,
        num_base_parameters=num_language_model_parameters(repo.config),
        num_parameters=repo.num_parameters,
        num_bytes=repo.num_bytes,
        has_text_statistics=repo.has_text_statistics,
        size=human_bytes(repo.num_bytes),
        summary=summary,
        limits=[*summary.limits, *GENERAL_LIMITS],
    )
    path = repo.path / "README.md"
    path.write_text(str(card), encoding="utf-8")
    return path


def model_reference(model: str) -> str:
    """How a card refers to a model: a link to the Hub, or the name of a local folder without the way to it."""
    return (
        f"[{model}](https://huggingface.co/{model})" if is_hub_id(model) else f"`{Path(model).name}` (a local folder)"
    )


def num_language_model_parameters(config: AuraConfig) -> int:
    """Parameters of the base LLM with its head, tied weights counted once; counted on the meta device."""
    with torch.device("meta"):
        language_model = AutoModelForCausalLM.from_config(config.text_config)
    return sum(parameter.numel() for parameter in language_model.parameters())


def _card_data(
    repo: RepoFolder, summary: TrainingSummary, name: str, base_model: str | None, license_data: dict[str, str]
) -> ModelCardData:
    metadata: dict[str, Any] = {
        **license_data,
        "library_name": "transformers",
        "pipeline_tag": PIPELINE_TAG,
        "tags": list(TAGS),
    }
    if summary.languages:
        metadata["language"] = list(summary.languages)
    if summary.datasets:
        metadata["datasets"] = list(summary.datasets)
    if base_model is not None and is_hub_id(base_model):
        metadata["base_model"] = base_model
        metadata["base_model_relation"] = "adapter" if repo.config.base_model is not None else "finetune"
    if summary.results:
        metadata["model_name"] = name
        metadata["eval_results"] = [
            EvalResult(
                task_type=PIPELINE_TAG,
                task_name="audio question answering",
                dataset_type=result.dataset,
                dataset_name=result.dataset,
                metric_type=result.metric,
                metric_value=result.value,
            )
            for result in summary.results
        ]
    return ModelCardData(**metadata)


def _license_data(license: str | None, base_model: str | None, base_revision: str | None) -> dict[str, str]:
    """The card's licence fields: what was asked for, else the base model's own, else none."""
    if license is not None:
        return {"license": license}
    fields = _base_model_card_data(base_model, base_revision)
    return {key: fields[key] for key in ("license", "license_name", "license_link") if fields.get(key)}


def _base_model_card_data(base_model: str | None, base_revision: str | None) -> dict[str, Any]:
    """What the base model's own card declares, from its folder or the Hub; nothing where there is none or the Hub is out of reach."""
    if base_model is None:
        return {}
    if is_hub_id(base_model):
        # One request: a download would be tried again and again where there is no network.
        with contextlib.suppress(OSError, HTTPError):
            data = HfApi().model_info(base_model, revision=base_revision, timeout=HUB_SECONDS).card_data
            return {} if data is None else data.to_dict()
        return {}
    readme = Path(base_model) / "README.md"
    return ModelCard.load(readme).data.to_dict() if readme.is_file() else {}
