"""Which runs there are, in which order, and what each is told: a `run.json` that its process reads."""

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aura_research.ablations.arms import ARMS, ORDERS, RECIPE, THIRD_OF_STEPS, AblationError, Arm, Group
from aura_research.precision import precision_settings
from tools.real_models import REAL_MODELS, real_model_folder
from transformers_aura.distillation.recipe import Recipe, load_recipe


MANY_STEPS = 1_000_000
ROW_COLUMNS = ["audio", "question", "answer", "transcript"]


@dataclass(frozen=True)
class RunSpec:
    """Everything that a run depends on.

    Attributes:
        recipe: YAML file.
        common_settings: what all arms change.
        arm_settings: what the arm changes.
        settings: all that is set on top of the recipe.
        minutes: of training, after which the run ends; `None` = after its `training.max_steps`.
        num_checks, num_evaluations: see [`Budget`]; no checks of a group that learns no orders.
        orders: folder with `validation-*.parquet`, the synthetic clips to score on.
        recordings: folder of recorded orders with `manifest.jsonl`, or where it would be.
    """

    name: str
    seed: int
    recipe: str
    common_settings: list[str]
    arm_settings: list[str]
    settings: list[str]
    minutes: float | None
    num_checks: int
    num_evaluations: int
    orders: str
    recordings: str

    @property
    def folder(self) -> str:
        """Of the run, in the folder of all runs."""
        return f"{self.name}/seed-{self.seed}"


@dataclass(frozen=True)
class Budget:
    """What is spent on a run.

    Attributes:
        steps: after which it ends; `None` = the recipe's.
        minutes: of training after which it ends instead.
        num_checks: after so many equal parts of the run the student is asked for all orders; 0 = never.
        num_evaluations: so many times the losses of the validation rows are taken; a multiple of `num_checks`.

    Raises:
        AblationError: there is no such budget.
    """

    steps: int | None = None
    minutes: float | None = None
    num_checks: int = 3
    num_evaluations: int = 12

    def __post_init__(self) -> None:
        if (
            self.num_evaluations < 1
            or self.num_checks < 0
            or (self.num_checks and self.num_evaluations % self.num_checks)
        ):
            raise AblationError(
                f"Evaluations must be a multiple of the scorings, and one at least; got {self.num_evaluations} and {self.num_checks}."
            )


def plan_runs(
    groups: Sequence[Group],
    seeds: Sequence[int],
    corpus: Path,
    recordings: Path,
    budget: Budget,
    recipe: Path = RECIPE,
    common_settings: Sequence[str] = (),
) -> list[RunSpec]:
    """All runs of the groups: one seed after the other, the arms of each in another order, so that what else the machine does hits all alike.

    Args:
        common_settings: what all arms change, such as `training.per_device_train_batch_size=2`.

    Raises:
        AblationError: the corpus holds nothing to train a group on, or the student that an arm goes on from is not there.
        RecipeError: a setting of an arm does not fit the recipe.
    """
    sources = {parts: training_folders(corpus, parts) for parts in dict.fromkeys(group.parts for group in groups)}
    precision = precision_settings(load_recipe(recipe).training)
    arms = list({arm.run: (arm, sources[group.parts]) for group in groups for arm in group.arms}.values())
    runs = []
    for seed in seeds:
        order = list(arms)
        random.Random(seed).shuffle(order)
        for arm, folders in order:
            settings = [
                *data_settings(folders),
                *precision,
                *common_settings,
                f"training.seed={seed}",
                *_arm_settings(arm, len(folders), budget, recipe, common_settings),
            ]
            of_arm = load_recipe(recipe, settings)
            if of_arm.model.student is not None and not Path(of_arm.model.student).is_dir():
                raise AblationError(
                    f"{arm.run} goes on from a student that is not there: {of_arm.model.student}; {ARMS} says where to get it."
                )
            settings += local_models(of_arm)
            runs.append(
                RunSpec(
                    arm.run, seed, str(recipe), list(common_settings), list(arm.settings), settings, budget.minutes,
                    budget.num_checks if folders[0].name == ORDERS[0] else 0, budget.num_evaluations, str(corpus / "orders"), str(recordings),
                )
            )  # fmt: skip
    return runs


def _arm_settings(
    arm: Arm, num_sources: int, budget: Budget, recipe: Path, common_settings: Sequence[str] = ()
) -> list[str]:
    """An arm's settings and those of the budget; what an arm says of a source of rows that is left out is left out too."""
    of_training = [setting for setting in common_settings if setting.startswith("training.")]
    steps = budget.steps or load_recipe(recipe, of_training).training["max_steps"]
    settings = [f"training.max_steps={steps if budget.minutes is None else MANY_STEPS}"]
    for setting in arm.settings:
        source = re.match(r"data\.train\.(\d+)\.", setting)
        if source is None or int(source[1]) < num_sources:
            settings.append(setting.replace(THIRD_OF_STEPS, str(steps // 3)))
    return settings


def training_folders(corpus: Path, parts: Sequence[str]) -> list[Path]:
    """The folders of rows to train on. Of the parts behind the first, those that the corpus does not have are left out, said aloud.

    Raises:
        AblationError: the corpus holds nothing of the first part, of training or of validation.
    """
    first, *others = (corpus / part for part in parts)
    for split in ("train", "validation"):
        if not any(first.glob(f"{split}-*.parquet")):
            raise AblationError(
                f"{first} holds no {split}-*.parquet; make them: python -m aura_research.corpus {corpus} --only {' '.join(parts)}"
            )
    folders = [first]
    for folder in others:
        if any(folder.glob("train-*.parquet")):
            folders.append(folder)
        else:
            print(f"No {folder.name} to train on: {folder} holds none, so they are left out.", flush=True)
    return folders


def data_settings(folders: Sequence[Path]) -> list[str]:
    """The training rows of these folders and the validation rows of the first, as recipe settings."""
    train = [{"source": str(folder), "use": ROW_COLUMNS} for folder in folders]
    evaluation = [{"source": str(folders[0]), "split": "validation", "use": ROW_COLUMNS}]
    return [f"data.train={json.dumps(train)}", f"data.evaluation={json.dumps(evaluation)}"]


def local_models(recipe: Recipe) -> list[str]:
    """Settings that replace Hub ids by the copies that `tools/real_models.py` left on this machine, where there are some."""
    settings = []
    for key, model in (("model.base_model", recipe.model.base_model), ("teacher.model", recipe.teacher.model)):
        for name in (name for name, known in REAL_MODELS.items() if known.hub_id == model):
            try:
                settings.append(f"{key}={json.dumps(str(real_model_folder(name)))}")
            except FileNotFoundError:
                print(
                    f"{model} is read from the Hub; a copy on this machine: python tools/real_models.py --only {name}"
                )
    return settings


def write_specs(out: Path, runs: Iterable[RunSpec]) -> None:
    """Writes the `run.json` of every run.

    Raises:
        AblationError: a folder holds a run of other settings.
    """
    for spec in runs:
        path = out / spec.folder / "run.json"
        if path.is_file() and (earlier := read_spec(path)) != spec:
            differ = [key for key, value in asdict(spec).items() if asdict(earlier)[key] != value]
            raise AblationError(
                f"{path.parent} holds a run of other settings ({', '.join(differ)}). Choose another --out, or remove that folder."
            )
        write_json(path, asdict(spec))


def read_spec(path: Path) -> RunSpec:
    """What [`write_specs`] wrote."""
    return RunSpec(**json.loads(path.read_text(encoding="utf-8")))


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file that is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
