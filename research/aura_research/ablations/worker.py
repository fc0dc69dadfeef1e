"""One run, in a process of its own: trains an arm with a seed, scores it at several points, and writes `result.json`.

    python -m aura_research.ablations.worker outputs/ablations/supervision-ce/seed-0 [--core 0]

A run that was killed goes on from its last checkpoint, and with the answers that it has; a finished one stays as it is.
"""

import argparse
import fcntl
import json
import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aura_research.ablations.arms import recipe_digest
from aura_research.ablations.plan import RunSpec, read_spec, write_json


RESULT = "result.json"
TRAINED = "trained.json"


def run_arm(folder: Path) -> None:
    """Does what the `run.json` of `folder` says, unless it is done already.

    Raises:
        RecipeError: a setting does not fit, or rows are not there.
    """
    if (folder / RESULT).is_file():
        return
    spec = read_spec(folder / "run.json")
    if not (folder / TRAINED).is_file():
        write_json(folder / TRAINED, train(folder, spec))
    log = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
    checks, marks = score_checks(folder, spec, log)
    result = {
        "name": spec.name,
        "seed": spec.seed,
        "settings": spec.arm_settings,
        "common_settings": spec.common_settings,
        "minutes": spec.minutes,
        "recipe": recipe_digest(Path(spec.recipe), spec.common_settings),
        "log": log,
        "checks": checks,
        "marks": marks,
        "machine": describe_machine(spec),
    }
    write_json(folder / RESULT, result)
    shutil.rmtree(folder / "training", ignore_errors=True)  # three checkpoints are half a gigabyte


def train(folder: Path, spec: RunSpec) -> list[dict[str, Any]]:
    """Trains into `folder/training`. Returns all logs of the run, each with `step` and `train_seconds`."""
    from aura_research.ablations.clock import TrainingClock
    from transformers_aura.distillation.checkpoint_files import last_complete_checkpoint
    from transformers_aura.distillation.recipe import load_recipe, training_arguments
    from transformers_aura.distillation.recipe_run import build_trainer
    from transformers_aura.registration import register

    register()
    out = folder / "training"
    own = [f"training.output_dir={json.dumps(str(out))}", "training.save_strategy='no'", "training.eval_strategy='no'",
           "training.report_to=none", "training.disable_tqdm=true"]  # fmt: skip
    recipe = load_recipe(spec.recipe, [*spec.settings, *own])
    clock = TrainingClock(spec.num_checks, spec.num_evaluations, spec.minutes)
    trainer = build_trainer(recipe, training_arguments(recipe), callbacks=[clock])
    checkpoint = last_complete_checkpoint(out)
    for path in checkpoints(out):
        if checkpoint is None or _step(path) > _step(Path(checkpoint)):
            shutil.rmtree(path)  # its writing was interrupted
    clock.start()
    trainer.train(resume_from_checkpoint=checkpoint)
    return trainer.state.log_history


def score_checks(
    folder: Path, spec: RunSpec, log: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, list[bool]]]]:
    """Asks the student of every checkpoint for all orders, greedily.

    Returns:
        of each checkpoint its `step` and `train_seconds`; and kind of clip -> name -> at each checkpoint, whether every labelled slot is right.
    """
    from aura_research.ablations.clips import KIND, scored_clips
    from transformers_aura.distillation.recipe import load_recipe
    from transformers_aura.evaluation.asking import ask
    from transformers_aura.evaluation.conditions import Condition
    from transformers_aura.evaluation.figures import score
    from transformers_aura.evaluation.scorers import SlotAcceptance
    from transformers_aura.evaluation.systems import AuraSystem

    model = load_recipe(spec.recipe, spec.settings).model
    clips = scored_clips(Path(spec.orders), Path(spec.recordings))
    seconds = {entry["step"]: entry["train_seconds"] for entry in log}
    checks = []
    marks: dict[str, dict[str, list[bool]]] = {}
    for checkpoint in checkpoints(folder / "training"):
        student = AuraSystem(str(checkpoint), base_model=model.base_model, dtype=model.dtype or "float32")
        path = folder / f"answers-{_step(checkpoint)}.jsonl"
        answers = ask(student, clips, Condition(), path, batch_size=64)
        is_right = score("student", "orders", "clean", clips, answers, SlotAcceptance()).is_right()
        for clip, right in zip(clips, is_right, strict=True):
            marks.setdefault(clip.groups[KIND], {}).setdefault(clip.name, []).append(bool(right))
        step = _step(checkpoint)
        checks.append({"step": step, "train_seconds": seconds[step]})
    return checks, marks


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints of a training run, first to last."""
    return sorted(out.glob("checkpoint-*"), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def describe_machine(spec: RunSpec) -> str:
    """What the seconds of a run depend on, in one line."""
    from transformers_aura.distillation.recipe import load_recipe

    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.is_file() else [])
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.machine()
    software = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    dtype = load_recipe(spec.recipe, spec.settings).model.dtype or "float32"
    return f"{processor}, {os.cpu_count()} cores, one thread a run, {dtype}; {software}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--core", type=int, help="the processor core to stay on, where the system can do that")
    arguments = parser.parse_args()
    if arguments.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})
    with (arguments.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"error: another process is at {arguments.folder}.", file=sys.stderr)
            return 1
        run_arm(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
