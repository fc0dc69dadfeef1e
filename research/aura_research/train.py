"""Trains the packaged student in five stages, with another patch embedding before the fourth; on two processes, without a hub. Two more need a GPU.

    python -m aura_research.train outputs [--gpu] [--steps 2] [--set training.per_device_train_batch_size=2 ...]

Reads OUTPUTS/corpus (made by `python -m aura_research.corpus`) and the models of `tools/real_models.py`. A run that was killed goes on from its last
checkpoint, a stage that is done is left alone. `--steps` tries the whole way in minutes: so many steps of each stage teach nothing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import yaml

from aura_research.places import RECIPES
from aura_research.precision import precision_settings
from aura_research.reshape_student import reshape_student
from tools.real_models import make_real_model


STAGES = ("smollm2-135m-cpu", *(f"smollm2-135m-cpu-stage{number}" for number in (2, 3, 4, 5)))
GPU_STAGES = ("smollm2-135m-gpu-stage6", "smollm2-135m-gpu-stage7")
"""The last two again, on batches ten times as large."""
SHAPE = {"conv_blocks": 8, "lora_rank": 44}
"""Of the student in the further stages: more of its 32 MB for the patch embedding."""
PROCESSES = 2
# OpenMP's default spin-waiting makes small CPU operators many times slower as soon as two processes share a core.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


def stage_settings(recipe: dict, outputs: Path) -> list[str]:
    """What a stage's recipe must be told on this machine, as `key=value` settings: models from folders, everything else below `outputs`."""

    def here(place: str) -> str:
        return str(outputs / Path(place).relative_to("outputs"))

    settings = {
        "model.base_model": make_real_model("smollm2-135m-instruct"),
        "teacher.model": make_real_model("whisper-tiny.en"),
        "training.output_dir": outputs / recipe["name"],
        "data.augmentation.noise_files": [
            path for path in map(here, recipe["data"]["augmentation"]["noise_files"]) if Path(path).is_file()
        ],
    }
    settings |= {
        f"data.train.{index}.source": here(item["source"]) for index, item in enumerate(recipe["data"]["train"])
    }
    if "teacher_cache_dir" in recipe["training"]:
        settings["training.teacher_cache_dir"] = here(recipe["training"]["teacher_cache_dir"])
    if "student" in recipe["model"]:
        student = Path(here(recipe["model"]["student"]))
        if not student.exists() and any(student.parent.glob("checkpoint-*")):
            student = last_checkpoint(student.parent)  # of a stage that had fewer steps than its recipe says
        settings["model.student"] = student
    return [f"{key}={value}" for key, value in settings.items()]


def few_steps(recipe: dict, steps: int) -> list[str]:
    """The settings by which a stage ends after so many steps."""
    settings = {"training.max_steps": steps, "training.warmup_steps": 0}
    if "lr_scheduler_kwargs" in recipe["training"]:
        settings["training.lr_scheduler_kwargs.num_decay_steps"] = steps
    return [f"{key}={value}" for key, value in settings.items()]


def train_stage(name: str, outputs: Path, more_settings: list[str], steps: int | None = None) -> None:
    """Runs one stage to its end, unless it is there already.

    Args:
        name: of its recipe.
        outputs: folder that holds `corpus` and the students.
        more_settings: on top of the recipe, `key=value`.
        steps: of the stage, and of the new patch embedding before the fourth; `None` = as many as the recipe says.

    Raises:
        SystemExit: the training failed; its reason stands above.
    """
    file = RECIPES / f"{name}.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    folder = outputs / recipe["name"]
    if (folder / "README.md").is_file():  # written last
        print(f"Trained already: {folder}", flush=True)
        return
    reshaped = outputs / "aura-smollm2-135m-reshaped"
    if recipe["model"].get("student") == f"outputs/{reshaped.name}" and not reshaped.is_dir():
        reshape_student(outputs / "aura-smollm2-135m-stage2", reshaped, **SHAPE)
    told = [
        *stage_settings(recipe, outputs),
        *precision_settings(recipe["training"]),
        *(few_steps(recipe, steps) if steps else ()),
        *more_settings,
    ]
    settings = [part for setting in told for part in ("--set", setting)]
    swapped = outputs / "aura-smollm2-135m-swapped" / "checkpoint-0"
    if recipe["model"].get("student") == f"outputs/{swapped.relative_to(outputs)}" and not swapped.is_dir():
        stage3 = outputs / "aura-smollm2-135m-stage3"
        swapped.parent.mkdir(exist_ok=True)
        swap = ["aura_research.swap_patch_embedding", str(file), str(last_checkpoint(stage3)), str(swapped), *settings]
        run_on_all_processes([*swap, "--steps", str(steps)] if steps else swap)
    resume = ["--resume"] if any(folder.glob("checkpoint-*")) else []
    distil = ["transformers_aura.cli.main", "distill", "--config", str(file), *settings, *resume]
    run_on_all_processes(distil, processes=1 if name in GPU_STAGES else PROCESSES)


def last_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a stage that is done."""
    return max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def run_on_all_processes(module_and_arguments: list[str], processes: int = PROCESSES) -> None:
    """Runs a module in as many processes as train together.

    Raises:
        SystemExit: it failed; its reason stands above.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    status = subprocess.run([*command, *module_and_arguments], env=ENVIRONMENT | os.environ, check=False).returncode
    if status != 0:
        raise SystemExit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path, help="folder that holds `corpus` and gets the students")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change all recipes")
    parser.add_argument("--steps", type=int, help="of every stage, to try them; default: as many as the recipes say")
    parser.add_argument("--gpu", action="store_true", help="go on with the two stages that need a GPU")
    arguments = parser.parse_args()
    if arguments.steps is not None and arguments.steps < 1:
        parser.error(f"--steps must be at least 1, got {arguments.steps}.")
    for name in (*STAGES, *(GPU_STAGES if arguments.gpu else ())):
        train_stage(name, arguments.outputs, arguments.set, arguments.steps)


if __name__ == "__main__":
    main()
