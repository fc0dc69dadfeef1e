"""How the baselines are trained: `aura distill --bridge` by one recipe, with the losses of either."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from aura_research.train import ENVIRONMENT, stage_settings
from tools.real_models import make_real_model
from transformers_aura.evaluation.baselines.bridge import is_bridge


RECIPE = Path(__file__).with_name("recipe.yaml")
BASELINES: dict[str, tuple[str, ...]] = {
    "bridge": ("losses.lm_weight=1",),
    "diva": (
        "losses.lm_weight=0",
        "losses.answer_kl_weight=1",
        "losses.subword_ctc_weight=0.3",
        "losses.text_state_weight=1",
        "model.subword_ctc_layer=0",
    ),
}
"""What tells one baseline from the other."""


def baseline_folder(outputs: Path, name: str) -> Path:
    """Where a baseline is trained."""
    return outputs / f"baseline-{name}"


def log_of(outputs: Path, name: str) -> Path:
    """What its training prints."""
    return baseline_folder(outputs, name).with_suffix(".log")


def command_of(name: str, outputs: Path, more_settings: Sequence[str] = ()) -> list[str]:
    """The command that trains a baseline, or goes on with it."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    folder = baseline_folder(outputs, name)
    command = [sys.executable, "-m", "transformers_aura.cli.main", "distill", "--config", str(RECIPE)]
    command += ["--bridge", str(make_real_model("whisper-tiny.en"))]
    own = [f"name=baseline-{name}", f"training.output_dir={folder}"]
    for setting in [*stage_settings(recipe, outputs), *BASELINES[name], *own, *more_settings]:
        command += ["--set", setting]
    return [*command, *(["--resume"] if any(folder.glob("checkpoint-*")) else [])]


def train_baselines(names: Sequence[str], outputs: Path, more_settings: Sequence[str] = ()) -> list[str]:
    """Trains these baselines at the same time. Returns those that failed."""
    running = {}
    for name in names:
        folder = baseline_folder(outputs, name)
        if is_bridge(folder):  # its file is written last
            print(f"Trained already: {folder}", flush=True)
            continue
        log = log_of(outputs, name)
        print(f"{name}: training, see {log}", flush=True)
        outputs.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            running[name] = subprocess.Popen(
                command_of(name, outputs, more_settings), env=ENVIRONMENT | os.environ, stdout=file, stderr=file
            )
    return [name for name, process in running.items() if process.wait() != 0]
