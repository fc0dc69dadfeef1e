"""What a lighter patch embedding costs: several of them taught as many steps, their operations beside what they still say wrong, and a picture of it.

    python -m aura_research.patch_embedding_curve aura-smollm2-135m OUT CORPUS --steps 250

Each is made and taught by `lighten_patch_embedding`, the patch embedding alone, on the same clips in the same order, at the same rates. What it says wrong is measured on the
same validation clips: squared error of the embeddings relative to their energy, and KL divergence of the character CTC head. Operations are multiplications with their addition,
counted from shapes for 10 s, beside those of the LLM's layers on the audio's tokens.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from aura_research import lighten_patch_embedding
from transformers_aura import AuraConfig
from transformers_aura.hub import TrainingSummary
from transformers_aura.modeling.audio_embedding import AuraAudioEmbedding
from transformers_aura.package_data import resolve_student
from transformers_aura.processing.audio_tokens import num_audio_tokens


@dataclass(frozen=True)
class Shape:
    """
    A patch embedding.

    Attributes:
        frames_per_step: log-mel frames from one of its steps to the next.
        blocks: numbers of the student's convolution blocks that it keeps.
    """

    frames_per_step: int
    blocks: tuple[int, ...]

    @property
    def name(self) -> str:
        """For tables and folders."""
        blocks = f"{len(self.blocks)} block{'s' * (len(self.blocks) != 1)}" if self.blocks else "stem alone"
        return f"{blocks}, {100 / self.frames_per_step:g} steps a second"


SHAPES = (
    Shape(4, (0, 1, 3)),
    Shape(4, (0, 3)),
    Shape(4, (3,)),
    Shape(8, (0, 3)),
    Shape(8, (3,)),
    Shape(4, ()),
)
SECONDS = 10


def operations_share(config: AuraConfig) -> float:
    """Operations of the patch embedding for 10 s, as a share of those of the LLM's layers on the audio's tokens."""
    frames = 100 * SECONDS
    tokens = num_audio_tokens(frames, config.audio_config.frames_per_token)
    with torch.device("meta"):
        embedding = AuraAudioEmbedding(config.audio_config, config.text_config.hidden_size)
        language_model = AutoModel.from_config(config.text_config, attn_implementation="eager")
        features = torch.empty(1, frames, config.audio_config.num_mel_bins)
        counts = [
            _counted(lambda: embedding(features, torch.ones(1, frames, dtype=torch.bool, device="meta"))),
            _counted(lambda: language_model(inputs_embeds=torch.empty(1, tokens, config.text_config.hidden_size))),
        ]
    return counts[0] / counts[1]


def _counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


def teach_all(
    student: str, out: Path, corpus: Path, shapes: Sequence[Shape], steps: int, seed: int
) -> list[dict[str, object]]:
    """A row for each shape; one whose folder is there already is not taught again."""
    rows = []
    for shape in shapes:
        folder = out / shape.name.replace(", ", "-").replace(" ", "_")
        if not (folder / "config.json").is_file():
            step, blocks = str(shape.frames_per_step), [str(number) for number in shape.blocks]
            taught = [student, str(folder), str(corpus), "--frames-per-step", step, "--blocks", *blocks]
            lighten_patch_embedding.main([*taught, "--steps", str(steps), "--seed", str(seed)])
        config = AuraConfig.from_pretrained(folder)
        losses = TrainingSummary.load(folder).losses
        rows.append({"name": shape.name, **asdict(shape), "operations": operations_share(config), **losses})
    return rows


def draw(rows: Sequence[dict], whole: float, file: Path) -> None:
    """Operations along, what is wrong above; the student's own is right by definition.

    Args:
        whole: operations of the student's own, as a share of the LLM's.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, both = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharex=True)
    labels = {"embedding": "squared error of the embeddings / energy", "characters": "KL of the characters (nats)"}
    for axes, (loss, label) in zip(both, labels.items(), strict=True):
        axes.plot([whole], [0.0], "k*", label="the student's own")
        for row in sorted(rows, key=lambda row: row["operations"]):
            axes.plot([row["operations"]], [row[loss]], "o", label=row["name"])
        axes.set_xlabel("operations / LLM, 10 s of audio")
        axes.set_title(label, fontsize="medium")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    both[0].legend(fontsize="small")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("student", help="packaged student or folder, which teaches")
    parser.add_argument("out", type=Path, help="folder of the students that are taught, of curve.json and curve.png")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--steps", type=int, default=250, help="of each")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    rows = teach_all(arguments.student, arguments.out, arguments.corpus, SHAPES, arguments.steps, arguments.seed)
    whole = operations_share(AuraConfig.from_pretrained(resolve_student(arguments.student)))
    (arguments.out / "curve.json").write_text(json.dumps({"whole": whole, "shapes": rows}, indent=2) + "\n")
    draw(rows, whole, arguments.out / "curve.png")
    print("| patch embedding | operations / LLM, 10 s | embedding | characters |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['name']} | {row['operations']:.3f} | {row['embedding']:.3f} | {row['characters']:.3f} |")


if __name__ == "__main__":
    main()
