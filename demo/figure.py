"""The demo's one picture: what the training did, and which student layer came to hold which teacher layer."""

import json
from pathlib import Path
from typing import Any


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The logs of a training run that hold losses, in order."""
    lines = (folder / "training_history.jsonl").read_text().splitlines()
    return [log for log in map(json.loads, lines) if "cosine" in log]


def draw(path: Path, history: list[dict[str, Any]], before: list[list[float]], after: list[list[float]]) -> None:
    """Writes a PNG: loss curves; cosine of each trained layer pair; the layer maps of `layer_map.py` before and after training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, pairs, map_before, map_after) = pyplot.subplots(1, 4, figsize=(17, 4.6), layout="constrained")
    for name, label in (("lm_loss", "answer tokens (nats)"), ("cosine_loss", "cosine"), ("mse_loss", "MSE")):
        points = [(log["step"], log[name]) for log in history if name in log]
        losses.plot(*zip(*points, strict=True), label=label) if points else None
    losses.set(title="Losses", xlabel="step", yscale="log")
    losses.legend()
    for name in sorted(
        (key for key in history[-1] if key.startswith("cosine/")), key=lambda key: int(key.split("_")[1])
    ):
        _, student, _, teacher = name.split("_")
        points = [(log["step"], log[name]) for log in history if name in log]
        pairs.plot(*zip(*points, strict=True), label=f"student {student}, teacher {teacher}")
    pairs.set(title="Cosine of the trained pairs (through their heads)", xlabel="step", ylim=(0, 1))
    pairs.legend()
    highest = max(max(row) for row in before + after)
    for axes, values, title in ((map_before, before, "untrained"), (map_after, after, "trained")):
        image = axes.imshow(values, origin="lower", aspect="auto", vmin=0, vmax=highest)
        axes.set(
            title=f"Teacher states predicted from the {title} student", xlabel="teacher layer", ylabel="student layer"
        )
        axes.set_xticks(range(len(values[0])))
    figure.colorbar(image, ax=map_after, label="cosine on other clips (ridge regression)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
