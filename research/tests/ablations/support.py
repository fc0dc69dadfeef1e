"""Recordings, arms, and results made by hand, for the tests of the ablations."""

import itertools
import json
from pathlib import Path
from typing import Any

import soundfile

from aura_research.ablations.results import RunResult
from aura_research.reserved import is_validation_clip
from tests.support.tiny import tone


def write_recordings(folder: Path) -> Path:
    """One recording that is kept for validation and one that is not."""
    names = [f"{number}.flac" for number in range(100)]
    kept = next(name for name in names if is_validation_clip(name))
    other = next(name for name in names if not is_validation_clip(name))
    folder.mkdir()
    for name in (kept, other):
        soundfile.write(folder / name, tone(0.4), 16000)
    rows = [{"audio": name, "slots": {"coffeeDrink": "mocha"}} for name in (kept, other)]
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def write_arms(path: Path) -> Path:
    path.write_text(
        """
supervision:
  question: Does distillation help?
  reference: ce
  arms:
    ce: [losses.supervision=transcript, losses.character_ctc_weight=0, model.character_ctc_alphabet=null]
    both: []
scope:
  question: Where?
  reference: rows
  arms: {rows: [], audio: [model.lora_scope=audio]}
"""
    )
    return path


def made_up_run(
    name: str,
    seed: int,
    marks: list[list[bool]],
    seconds_per_step: float = 1.0,
    cross_entropies: tuple[float, ...] = (3.0, 2.0, 1.0),
    **values: Any,
) -> RunResult:
    """A run of 30 steps, scored after every tenth; `marks`: of each scoring those of the synthetic clips."""
    steps = (10, 20, 30)
    times = {step: {"step": step, "train_seconds": seconds_per_step * step} for step in steps}
    log = [
        {**times[step], "train_cpu_seconds": 0.9 * seconds_per_step * step, "eval_lm_loss": loss, "eval_cosine": 0.5}
        for step, loss in zip(steps, cross_entropies, strict=True)
    ]
    by_clip = zip(*itertools.islice(itertools.cycle(marks), 3), strict=True)
    of_clips = {f"clip {index}": list(of_clip) for index, of_clip in enumerate(by_clip)}
    checks = list(times.values())
    values = {"recipe": "a recipe", "settings": [], "machine": "a machine", **values}
    return RunResult(name, seed, minutes=None, log=log, checks=checks, marks={"synthetic": of_clips}, **values)
