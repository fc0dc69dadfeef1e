"""Draws how alike the layers of a student and of its teacher are: docs/images/layer_map.png, and the numbers beside it in layer_map.json.

    python tools/draw_layer_map.py

Each pair of layers gets its linear CKA (centred kernel alignment: Kornblith et al., arXiv 1905.00414, equation 3 with linear kernels), 0 to 1. The rows of both
matrices are the audio tokens of all recordings of tests/fixtures/speech, which no training saw; the teacher's states are averaged over each audio token.
The right half is the same student with its LoRA set to zero: what the patch embedding alone brings into the LLM.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that `python tools/draw_layer_map.py` finds `tools`

from tools.real_models import make_real_model  # noqa: E402
from transformers_aura import (  # noqa: E402
    AuraForSpeechQA,
    AuraProcessor,
    AuraTeacher,
    build_conversation,
    load_audio,
)
from transformers_aura.distillation.targets import TeacherTargets  # noqa: E402


STUDENT, BASE_MODEL, TEACHER = "aura-smollm2-135m", "smollm2-135m-instruct", "whisper-tiny.en"
RECORDINGS = REPOSITORY / "tests" / "fixtures" / "speech"
PICTURE = REPOSITORY / "docs" / "images" / "layer_map.png"


def linear_cka(first: torch.Tensor, second: torch.Tensor) -> float:
    """Linear CKA of two sets of states of the same things.

    Args:
        first (`torch.Tensor` of shape `(things, width)`): states of one layer.
        second (`torch.Tensor` of shape `(things, other width)`): states of another.

    Returns:
        0 (nothing in common) to 1 (the same up to rotation, scale and shift).
    """
    first, second = (states.double() - states.double().mean(dim=0) for states in (first, second))
    shared = torch.linalg.matrix_norm(second.T @ first) ** 2
    return float(shared / (torch.linalg.matrix_norm(first.T @ first) * torch.linalg.matrix_norm(second.T @ second)))


def layer_map(student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> np.ndarray:
    """Linear CKA of each student layer with each teacher layer, `(student layers, teacher layers)`."""
    return np.array([[linear_cka(mine, other) for other in teacher] for mine in student])


@torch.no_grad()
def student_states(
    model: AuraForSpeechQA, processor: AuraProcessor, waveforms: Sequence[np.ndarray]
) -> list[torch.Tensor]:
    """States at the audio positions: of the patch embedding, then of each decoder layer, `(audio tokens, hidden)` of all recordings."""
    collected: list[list[torch.Tensor]] = []
    for waveform in tqdm(waveforms, desc="Student", unit="recording", leave=False):
        inputs = processor.apply_chat_template(
            build_conversation({"array": waveform, "sampling_rate": 16000}),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        is_audio = inputs["input_ids"][0] == model.config.audio_token_id
        states = model(**inputs, output_hidden_states=True).hidden_states
        collected.append([layer[0, is_audio].float() for layer in states])
    return [torch.cat(layer) for layer in zip(*collected, strict=True)]


def set_lora_to_zero(model: AuraForSpeechQA) -> None:
    """The LoRA adds nothing any more."""
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.zero_()


def draw(maps: dict[str, np.ndarray], out: Path) -> None:
    """One heat map a title, from the patch embedding at the bottom to the last decoder layer at the top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(maps), figsize=(7.5, 7), sharey=True, layout="constrained")
    for axis, (title, values) in zip(axes, maps.items(), strict=True):
        image = axis.imshow(values, origin="lower", aspect="auto", vmin=0.3, vmax=0.75, cmap="viridis")
        axis.set_title(title)
        axis.set_xlabel("layer of the teacher's encoder")
        axis.set_xticks(range(values.shape[1]), range(1, values.shape[1] + 1))
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    labels = ["patches", *range(1, len(next(iter(maps.values()))))]
    axes[0].set_yticks(range(len(labels)), labels, fontsize=8)
    axes[0].set_ylabel("decoder layer of the student's LLM")
    figure.colorbar(image, ax=axes, label="linear CKA", shrink=0.6)
    figure.savefig(out, dpi=110)
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=PICTURE)
    out: Path = parser.parse_args().out
    model = AuraForSpeechQA.from_pretrained(STUDENT, base_model_name_or_path=make_real_model(BASE_MODEL)).float()
    processor = AuraProcessor.from_pretrained(STUDENT)
    teacher = AuraTeacher.from_pretrained(make_real_model(TEACHER))
    waveforms = [load_audio(path) for path in sorted(RECORDINGS.glob("*.flac"))]

    targets = TeacherTargets(teacher, range(teacher.num_layers), model.config.audio_config.frames_per_token)
    of_teacher = list(targets(waveforms))
    maps = {"with its LoRA": layer_map(student_states(model, processor, waveforms), of_teacher)}
    set_lora_to_zero(model)
    maps["with its LoRA set to zero"] = layer_map(student_states(model, processor, waveforms), of_teacher)

    draw(maps, out)
    rounded = {
        title: [[round(value, 3) for value in row] for row in values.tolist()] for title, values in maps.items()
    }
    about = {
        "student": STUDENT,
        "teacher": TEACHER,
        "measure": "linear CKA, arXiv 1905.00414",
        "recordings": len(waveforms),
        "audio_tokens": len(of_teacher[0]),
        "rows": "patch embedding, then each decoder layer (the last one after the LLM's closing norm)",
        "columns": "layers of the teacher's encoder (the last one after its closing norm)",
    }
    out.with_suffix(".json").write_text(json.dumps(about | rounded, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: {len(waveforms)} recordings, {len(of_teacher[0])} audio tokens")


if __name__ == "__main__":
    main()
