"""
A training recipe: one YAML file that says which student learns from which teacher, on what, and how.

```yaml
name: my-student
model:      # arguments of `AuraForSpeechQA.from_language_model_pretrained`
  base_model: HuggingFaceTB/SmolLM2-135M-Instruct
  lora_rank: 64
teacher:    # arguments of `AuraTeacher.from_pretrained`
  model: openai/whisper-tiny.en
second_teacher:  # a further encoder, if there is one: docs/second_teacher.md
  model: microsoft/wavlm-base-plus
data:       # where rows come from; `repeat` weighs sources
  train:
    - source: orders/manifest.jsonl
evaluation: {}  # scores of what the student answers while it learns
losses: {}  # fields of `AuraTrainingArguments` that decide what is learned
training:   # its other fields, those of `transformers.TrainingArguments` among them
  output_dir: outputs/my-student
```

Reading is strict: a key that nobody reads is an error that names the nearest one that is read.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
import types
import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from ..package_data import package_data_folder
from ..processing.manifests import describe
from ..processing.text_files import TextFileError, read_text_file


RENAMED_ARGUMENTS = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
"""Training arguments that transformers 5.24 renamed; a recipe with the older name runs on every release."""


LARGEST_NUMBER, LARGEST_SIZE = 1e15, 1e6
"""More than any count in a recipe, and any number of its `model`: slips of the finger, which would overflow or fill the memory."""

LONGEST_SHOWN = 200
"""Characters of a setting in an error."""


class RecipeError(ValueError):
    """A recipe, or a `--set` on top of it, is wrong. The message names the key."""


@dataclass(frozen=True)
class ModelSection:
    """
    The student; see `AuraForSpeechQA.from_language_model_pretrained` for what each setting does.

    Args:
        base_model (`str`, *optional*): Hub id or folder of the base LLM. With `student`, by default the base LLM that the student names.
        chat_template (`str`, *optional*): Jinja template of a chat, instead of the base model's.
        transcription_instruction (`str`, *optional*): the prompt for a transcript, in the student's language; stored in its processor.
        init_from_teacher (`bool`): start the convolutions of the patch embedding from the teacher's.
        student (`str`, *optional*): Hub id or folder of a student to continue from, or a training checkpoint (`checkpoint-N`), whose
            distillation heads are used too. The student keeps its own settings. Of this section only these apply: `base_model` (where to load its base
            LLM from), `dtype`, `attn_implementation`, `transcription_instruction`, `answer_from`, and `character_ctc_alphabet` and
            `subword_ctc_layer`, which add missing CTC heads. With another alphabet, the student learns another language.

    Settings that are `None` keep the library's default. `auto` is two thirds of the base LLM's layers for `lora_num_layers`, the teacher's own for
    `num_mel_bins` and `conv_width`, as `init_from_teacher` needs them, and the characters of the training transcripts for `character_ctc_alphabet`; see
    `distillation/recipe_auto.py`.
    """

    base_model: str | None = None
    revision: str | None = None
    gguf_file: str | None = None
    dtype: str | None = None
    attn_implementation: str | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_num_layers: int | Literal["auto"] | None = None
    lora_target_modules: list[str] | None = None
    lora_dropout: float | None = None
    lora_scope: Literal["rows", "audio", "always"] | None = None
    num_mel_bins: int | Literal["auto"] | None = None
    frames_per_token: int | None = None
    frames_per_step: int | None = None
    patch_embedding: Literal["conv", "linear"] | None = None
    conv_width: int | Literal["auto"] | None = None
    conv_blocks: int | None = None
    conv_block_type: Literal["causal", "kernel"] | None = None
    tokens_per_block: int | Literal["clip"] | None = None
    character_ctc_alphabet: str | None = None
    subword_ctc_layer: int | None = None
    answer_from: Literal["audio", "transcript"] | None = None
    transcription_instruction: str | None = None
    chat_template: str | None = None
    init_from_teacher: bool = False
    student: str | None = None

    def __post_init__(self) -> None:
        if self.base_model is None and self.student is None:
            raise RecipeError("'model.base_model' is missing.")

    @property
    def source(self) -> str:
        """What the training starts from: a student, or else a base LLM."""
        return self.student or self.base_model or ""

    def student_settings(self) -> dict[str, Any]:
        """What was set, as keyword arguments of `from_language_model_pretrained` beside `base_model`."""
        own = ("base_model", "chat_template", "transcription_instruction", "init_from_teacher", "student")
        settings = {
            key: value for key, value in dataclasses.asdict(self).items() if key not in own and value is not None
        }
        if settings.get("tokens_per_block") == "clip":
            settings["tokens_per_block"] = None
        return settings


@dataclass(frozen=True)
class TeacherSection:
    """
    The teacher; see `AuraTeacher.from_pretrained`.

    Args:
        model (`str`): Hub id or folder of a Whisper-family model.
        dtype (`str`, *optional*): number format of the encoder.
        pad_to_seconds (`float`, *optional*): see [`AuraTeacher`]; `auto`: the shortest multiple of 5 s that nine of ten training clips fit into, if
            the sources have a column `seconds`, else the teacher's window.
        random (`bool`): the control experiment: the same architecture with random weights.
    """

    model: str
    revision: str | None = None
    dtype: str | None = None
    pad_to_seconds: float | Literal["auto"] | None = None
    random: bool = False

    def teacher_settings(self) -> dict[str, Any]:
        """What was set, as keyword arguments of `from_pretrained` (or `from_random`) beside the model."""
        own = ("model", "random")
        return {key: value for key, value in dataclasses.asdict(self).items() if key not in own and value is not None}


@dataclass(frozen=True)
class SecondTeacherSection:
    """
    A second teacher; see [`~distillation.second_teacher.SecondTeacher`].

    Args:
        model (`str`): Hub id or folder of an encoder over the waveform (wav2vec2, HuBERT, WavLM, ...).
        dtype (`str`, *optional*): number format of the encoder.
        layers (`str` or `list`): which student layer learns from which of its layers, like `layer_mapping`.
        weight (`float`): weight of its term in the loss.
    """

    model: str
    revision: str | None = None
    dtype: str | None = None
    layers: str | list[list[int]] = "uniform"
    weight: float = 1.0

    @property
    def parsed_layers(self) -> Any:
        """`layers`, pairs as tuples."""
        return self.layers if isinstance(self.layers, str) else [tuple(pair) for pair in self.layers]


@dataclass(frozen=True)
class DataSource:
    """
    One source of rows.

    Args:
        source (`str`): a manifest (JSON lines, a JSON array, CSV or TSV with a header, Common Voice's own tables), a Parquet file, a folder that
            holds `manifest.jsonl` (or another of these), `SPLIT.tsv`, `SPLIT-*.parquet` or `*.tar` (WebDataset; as a stream only), a glob of
            Parquet files or tars, or the Hub id of a dataset.
        config (`str`, *optional*): configuration of a Hub dataset.
        split (`str`): split of a Hub dataset or of a folder.
        revision (`str`, *optional*): commit, branch or tag of a Hub dataset.
        columns (`dict[str, str]`): which column of the source is `audio`, `transcript`, `question` or `answer`. Default: the column of
            the same name.
        use (`list[str]`, *optional*): which of these four to use. Without `answer`, spoken questions become a transcription task.
        max_seconds (`float`, *optional*): leave out longer clips, by the source's column `seconds`.
        repeat (`float`): how often the source is seen per epoch: 2 = twice, 0.5 = half of its rows. For streams a whole number.
        weight (`float`, *optional*): for streams: share of the rows relative to other sources; a source that ends starts again.
        answer_kl (`bool`): whether `answer_kl_weight` acts on its rows. Set `False` for answers of a closed domain that the base LLM
            would not give to the transcript.
        note (`str`, *optional*): one line for the model card.
    """

    source: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    use: list[str] | None = None
    max_seconds: float | None = None
    repeat: float = 1.0
    weight: float | None = None
    answer_kl: bool = True
    note: str | None = None


@dataclass(frozen=True)
class AugmentationSection:
    """
    What the student gets in place of the clean clips; see `WaveformAugmentation` for each setting.

    Settings that are `None` keep the library's default.
    """

    noise_files: list[str] = field(default_factory=list)
    noise_probability: float | None = None
    snr_db: list[float] | None = None
    room_probability: float | None = None
    equalizer_db: float | None = None
    telephone_probability: float | None = None
    mask_probability: float | None = None

    def settings(self) -> dict[str, Any]:
        """What was set, as keyword arguments of `WaveformAugmentation`."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class DataSection:
    """
    Where rows come from, for training and for evaluation during it.

    Args:
        stream (`bool`): stream the training rows, from sources of any size; see `docs/data.md`. Needs `training.max_steps`.
        shuffle_buffer (`int`): rows of a stream that each worker keeps in memory to shuffle.
        augmentation (`AugmentationSection`, *optional*): reverberation, microphones and noise on the training clips.
        context_texts (`str`, *optional*): a text file, one text a line, for the `context_probability` of the `training` section.
    """

    train: list[DataSource]
    evaluation: list[DataSource] = field(default_factory=list)
    stream: bool = False
    shuffle_buffer: int = 1000
    context_texts: str | None = None
    augmentation: AugmentationSection | None = None


@dataclass(frozen=True)
class EvaluationSection:
    """
    What is measured on the rows of `data.evaluation` while the student learns, beside the losses.

    Args:
        metrics (`list[str]`): scorers of `aura evaluate` for what the student answers: `wer` and `cer` score rows that ask for a transcript, `exact_match`
            and the others rows that ask a question. Logs and `training.metric_for_best_model` call them `eval_wer`, ... Texts are normalised by the rules
            of the language in `card.languages`, if it names exactly one; else by Whisper's basic rules.
        early_stopping_patience (`int`, *optional*): stop training after this many evaluations without an improvement of `training.metric_for_best_model`.
    """

    metrics: list[str] = field(default_factory=list)
    early_stopping_patience: int | None = None


@dataclass(frozen=True)
class CardSection:
    """What the model card says beyond what the run knows of itself."""

    license: str | None = None
    languages: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recipe:
    """
    A whole recipe.

    Attributes:
        losses, training (`dict`): fields of `AuraTrainingArguments`, checked against it by [`training_arguments`].
        text (`str`): the recipe as YAML with every `--set` applied, for the model card.
    """

    name: str
    model: ModelSection
    teacher: TeacherSection
    data: DataSection
    training: dict[str, Any]
    second_teacher: SecondTeacherSection | None = None
    losses: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    card: CardSection = field(default_factory=CardSection)
    text: str = ""


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """
    Read a recipe.

    Args:
        path (`str` or `Path`): a YAML file, or the name of a recipe that comes with the package (`smollm2-135m-quick`).
        overrides (`Iterable[str]`): `key=value` settings on top, with dots between levels and YAML values: `training.max_steps=10`,
            `data.train.0.repeat=2`.

    Raises:
        RecipeError: no such file, not YAML, an unknown or missing key, a value of the wrong kind.
    """
    file = _find(path)
    try:
        content = yaml.load(read_text_file(file), Loader=_StrictLoader)
    except TextFileError as error:
        raise RecipeError(str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{file} must hold the sections {_names(Recipe)}, but is {_kind(content)}.")
    for override in overrides:
        _apply_override(content, override)
    content.pop("text", None)
    _check_numbers(content)
    recipe = _read(Recipe, content, where="")
    return dataclasses.replace(recipe, text=yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def training_arguments(recipe: Recipe) -> Any:
    """
    The `AuraTrainingArguments` of a recipe: its `losses` and `training` sections, checked.

    Raises:
        RecipeError: a key that `AuraTrainingArguments` does not have, a key in both sections, or a value that it refuses.
    """
    from .training_args import AuraTrainingArguments

    known = [argument.name for argument in dataclasses.fields(AuraTrainingArguments) if argument.init]
    losses, training = _as_installed(recipe.losses, known), _as_installed(recipe.training, known)
    hints = typing.get_type_hints(AuraTrainingArguments)
    for section, settings in (("losses", losses), ("training", training)):
        for key, value in settings.items():
            _check_key(key, known, section)
            if set(typing.get_args(hints[key]) or [hints[key]]) <= {
                int,
                float,
                bool,
                type(None),
            }:  # what is text may be more
                settings[key] = _value(hints[key], value, _join(section, key))
    if twice := sorted(losses.keys() & training.keys()):
        raise RecipeError(f"{twice[0]} stands in both the 'losses' and the 'training' section; keep one.")
    settings = {**training, **losses}
    settings.setdefault("output_dir", f"outputs/{recipe.name}")
    settings.setdefault("run_name", recipe.name)
    try:
        return AuraTrainingArguments(**settings)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"The 'training' and 'losses' sections: {error}") from error


def _as_installed(settings: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """`settings` under the names that the installed transformers prefers; `no`, which YAML takes for false, as the strategy that it names."""
    installed = {
        key: "no" if value is False and key.endswith("_strategy") else value for key, value in settings.items()
    }
    for old, new in RENAMED_ARGUMENTS.items():
        if old in settings and new in known:
            if new in settings:
                raise RecipeError(f"'{old}' is the older name of '{new}'; keep one.")
            installed[new] = installed.pop(old)
    return installed


# Reading


def _check_numbers(content: Any) -> None:
    """That every number is one, and none is absurd."""
    places = [("", content)]
    seen = set()  # of what YAML's aliases put into many places, or into itself
    while places:
        where, value = places.pop()
        if isinstance(value, (dict, list)):
            if id(value) not in seen:
                inside = value.items() if isinstance(value, dict) else enumerate(value)
                places += [(_join(where, str(key)), part) for key, part in inside]
            seen.add(id(value))
        elif isinstance(value, (int, float)):
            largest = LARGEST_NUMBER if isinstance(value, int) else sys.float_info.max
            if where.startswith("model."):
                largest = LARGEST_SIZE
            if not abs(value) <= largest:
                raise RecipeError(
                    f"'{where}' is {describe(value)}; a number lies between -{largest:g} and {largest:g}."
                )


class _StrictLoader(yaml.SafeLoader):
    """YAML 1.2 in the two places where 1.1 surprises: `1e-4` is a number, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key is no list or mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    folder = package_data_folder("recipes")
    packaged = folder / f"{file.name.removesuffix('.yaml')}.yaml"
    # `recipes/x.yaml` names the same recipe from anywhere, not only from the top of a checkout.
    if packaged.is_file() and file.parent in (Path(), Path("recipes")):
        return packaged
    available = ", ".join(sorted(recipe.stem for recipe in folder.glob("*.yaml")))
    raise RecipeError(f"There is no recipe {path}. Recipes that come with the package: {available}.")


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if len(override) > LONGEST_SHOWN:
        override = f"{override[:LONGEST_SHOWN]}..."
    if not equals or not key.strip():
        raise RecipeError(f"--set takes key=value, for example training.max_steps=10; got '{override}'.")
    try:
        value = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {override}: the value is not valid YAML.") from error
    *parents, last = key.strip().split(".")
    place: Any = content
    for parent in parents:
        if isinstance(place, dict):
            if place.get(parent) is None:
                place[parent] = {}
            place = place[parent]
        else:
            place = place[_list_index(place, parent, override)]
    if isinstance(place, dict):
        place[last] = value
    else:
        place[_list_index(place, last, override)] = value


def _list_index(place: Any, key: str, override: str) -> int:
    if not isinstance(place, list):
        raise RecipeError(
            f"--set {override}: there is nothing below '{key}' in the recipe ({_kind(place)} stands there)."
        )
    if not (key.isascii() and key.isdigit()) or int(key) >= len(place):
        raise RecipeError(f"--set {override}: the list has the entries 0 to {len(place) - 1}, not '{key}'.")
    return int(key)


Section = TypeVar("Section")


def _read(section: type[Section], content: Mapping[str, Any], where: str) -> Section:
    """A dataclass from a mapping: no unknown key, no missing one, every value of its kind."""
    if not isinstance(content, Mapping):
        raise RecipeError(f"'{where}' must hold {_names(section)}, but is {_kind(content)}.")
    fields = {item.name: item for item in dataclasses.fields(section) if item.name != "text"}  # type: ignore[arg-type]
    hints = typing.get_type_hints(section)
    for key in content:
        _check_key(str(key), list(fields), where)
    for name, item in fields.items():
        needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if needed and content.get(name) is None:
            raise RecipeError(f"'{_join(where, name)}' is missing.")
    values = {
        name: _value(hints[name], content[name], _join(where, name))
        for name in fields
        if name in content and not (content[name] is None and not _takes_none(hints[name]))
    }
    return section(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _read(typing.cast(type, hint), value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        for option in options:
            if _fits(option, value) or (dataclasses.is_dataclass(option) and isinstance(value, Mapping)):
                return _value(option, value, where)
        raise _wrong(where, options, value)
    if not _fits(hint, value):
        raise _wrong(where, [hint], value)
    if origin is list:
        return [_value(arguments[0], item, f"{where}.{index}") for index, item in enumerate(value)]
    if origin is dict:
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return hint(value) if hint in (int, float) else value


def _fits(hint: Any, value: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:  # 1e5 is a number of steps, too
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    return isinstance(value, origin or hint)


def _takes_none(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _wrong(where: str, options: Sequence[Any], value: Any) -> RecipeError:
    wanted = " or ".join(_wording(option) for option in options)
    return RecipeError(f"'{where}' must be {wanted}, but is {_kind(value)}.")


def _wording(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(str(option) for option in typing.get_args(hint))
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(typing.get_origin(hint) or hint, str(hint))


def _kind(value: Any) -> str:
    return "empty" if value is None else describe(value)


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _names(section: type) -> str:
    return ", ".join(item.name for item in dataclasses.fields(section) if item.name != "text")


def _check_key(key: str, known: Sequence[str], where: str) -> None:
    if key in known:
        return
    place = f"section '{where}'" if where else "recipe"
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it takes {', '.join(sorted(known)[:40])}."
    raise RecipeError(f"The {place} has no setting '{key}'; {hint}")
