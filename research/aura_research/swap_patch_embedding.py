"""Gives a student a new patch embedding, which starts from Whisper's own layers, in the place of the one it was trained with.

    python -m aura_research.swap_patch_embedding RECIPE STUDENT OUT [--set data.train.0.source=... ...]

The new one (`KernelConvBlock`s) learns three things at once from the clips of RECIPE: what Whisper's layers hear, 50 states a second; the
characters of the transcript (CTC); and to say to the LLM what the old one said of the clean clip, so that LoRA and CTC heads go on where they stand.
OUT is the student with its LoRA, its CTC heads and its distillation heads as they were; name it `checkpoint-0` for a recipe's `model.student`. Started by
`python -m torch.distributed.run --nproc_per_node 2 -m ...` it uses two processes; a run that was killed goes on from its last save.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import skip_first_batches
from safetensors.torch import load_file, save_file
from torch import nn

from transformers_aura import AuraAudioConfig
from transformers_aura.distillation.attention_kernels import mean_attention_by_distance
from transformers_aura.distillation.ctc import ctc_loss
from transformers_aura.distillation.heads import HEADS_FILE_NAME, TeacherStatistics
from transformers_aura.distillation.recipe import load_recipe, training_arguments
from transformers_aura.distillation.recipe_run import build_trainer
from transformers_aura.distillation.recipe_student import KERNEL_CLIPS
from transformers_aura.distillation.teacher import AuraTeacher
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.hub.export import new_folder
from transformers_aura.hub.push import PUSHED_FILES
from transformers_aura.modeling.audio_embedding import TEACHER_FRAMES_PER_STEP, AuraAudioEmbedding, KernelConvBlock


PREFIX = "embed_audio."
KERNEL_RATE, PROJECTION_RATE = 2.5, 5.0
"""Learning rates of what is new, as multiples of the rate of what comes from Whisper."""
WARMUP_STEPS, DECAY_SHARE = 50, 0.25
STANDARDIZING_CLIPS = 64
SAVE_STEPS = 100
EMBEDDING_WEIGHT, CTC_WEIGHT = 2.0, 0.5


class SwapLosses(nn.Module):
    """The new patch embedding with everything it is taught by.

    Args:
        new, old: patch embeddings; the old one stays as it is.
        alphabet: the characters of the student's character CTC head, see [`~transformers_aura.decoding.alphabet.CharacterAlphabet`].
        mean, std (`(teacher_layers, width)`): of the teacher's states, by which they are standardised.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, new: AuraAudioEmbedding, old: AuraAudioEmbedding, alphabet: str, mean: torch.Tensor, std: torch.Tensor
    ) -> None:
        super().__init__()
        self.new = new
        self.old = old.requires_grad_(False)
        self.characters = nn.Linear(mean.shape[-1], 1 + len(alphabet))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(
        self,
        heard: tuple[torch.Tensor, torch.Tensor],
        clean: tuple[torch.Tensor, torch.Tensor],
        teacher_states: tuple[torch.Tensor, ...],
        lengths: torch.Tensor,
        symbols: torch.Tensor,
        symbol_lengths: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Mean losses of a batch.

        Args:
            heard, clean: log-mel frames and their mask, of the augmented clips and of the clean ones.
            teacher_states: `(clips, states, width)` of each layer, of the clean clips.
            lengths (`(clips,)`): real states of each clip.
            symbols, symbol_lengths: of the transcripts, see [`TranscriptSymbols`].

        Returns:
            `states` (smooth L1 to the standardised states), `characters` (nats a character), `embedding` (squared error in units of the
            old embedding's mean square).
        """
        steps: list[torch.Tensor] = []
        listened = [*self.new.blocks[:-1], self.new.blocks_norm]
        hooks = [module.register_forward_hook(lambda _m, _i, out: steps.append(out)) for module in listened]
        try:
            embeddings, mask = self.new(*heard)
        finally:
            for hook in hooks:
                hook.remove()
        with torch.no_grad():
            wanted, clean_mask = self.old(*clean)
            wanted = wanted[clean_mask].float()  # the same audio tokens, of clips that may be padded otherwise
        num_states = min(steps[0].shape[1], teacher_states[0].shape[1])
        real = torch.arange(num_states) < lengths.unsqueeze(-1)
        states = torch.stack(
            [
                nn.functional.smooth_l1_loss(
                    (own[:, :num_states].float() - mean)[real] / std, (teachers[:, :num_states] - mean)[real] / std
                )
                for own, teachers, mean, std in zip(steps, teacher_states, self.mean, self.std, strict=True)
            ]
        ).mean()
        logits = self.characters(steps[-1][:, :num_states].float())
        characters = ctc_loss(logits, lengths.clamp(max=num_states), symbols, symbol_lengths).sum()
        embedding = (embeddings[mask].float() - wanted).square().mean() / wanted.square().mean()
        return {
            "states": states,
            "characters": characters / symbol_lengths.sum().clamp(min=1),
            "embedding": embedding,
        }


def swap_patch_embedding(
    trainer: AuraTrainer, teacher: AuraTeacher, student: Path, out: Path, *, steps: int, learning_rate: float
) -> None:
    """Trains the new patch embedding on the trainer's data and writes the student that has it into the new folder `out`.

    Args:
        trainer: of the recipe whose `model.student` gets a new patch embedding; its data, augmentation and seeds are used, its losses are not.
        teacher: as wide as the student's convolutions.
        student: folder of the trainer's student.
        out: folder of the new student; what is saved on the way lies beside it.
        steps: optimisation steps.
        learning_rate: of what comes from Whisper.
    """
    accelerator = trainer.accelerator
    old_config = trainer.model.config
    audio = AuraAudioConfig(
        **{**old_config.audio_config.to_dict(), "conv_blocks": teacher.num_layers, "conv_block_type": "kernel"}
    )
    old = trainer.model.model.embed_audio.float()
    losses = _start(trainer, teacher, AuraAudioEmbedding(audio, old_config.text_config.hidden_size), old)
    progress = out.with_name(out.name + "-progress.safetensors")
    first = 0
    if progress.is_file():
        saved = load_file(progress)
        first = int(saved.pop("step"))
        losses.load_state_dict(saved)
    optimizer = torch.optim.AdamW(_groups(losses, learning_rate), weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, first, steps))
    model, optimizer = accelerator.prepare(losses, optimizer)
    began = time.time()
    for step, batch in enumerate(islice(_batches(trainer, first), steps - first), start=first + 1):
        waveforms = batch["waveforms"]
        hears = teacher(waveforms)
        clean = trainer.processing_class.feature_extractor(waveforms, sampling_rate=16000, return_tensors="pt")
        with accelerator.autocast():
            values = model(
                (batch["input_features"], batch["input_features_mask"]),
                (clean["input_features"], clean["input_features_mask"]),
                hears.hidden_states,
                hears.lengths,
                batch["transcript_symbols"],
                batch["transcript_lengths"],
            )
        loss = values["states"] + CTC_WEIGHT * values["characters"] + EMBEDDING_WEIGHT * values["embedding"]
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(losses.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if not accelerator.is_main_process:
            continue
        if step % 25 == 0:
            shown = {name: round(value.item(), 3) for name, value in values.items()}
            print(f"step {step} of {steps}, {time.time() - began:.0f} s: {shown}", flush=True)
        if step % SAVE_STEPS == 0:
            save_file({**_contiguous(losses.state_dict()), "step": torch.tensor(step)}, str(progress))
    if accelerator.is_main_process:
        _write(student, losses.new, audio.to_dict(), out)
        progress.unlink(missing_ok=True)
    accelerator.wait_for_everyone()


def _start(trainer: AuraTrainer, teacher: AuraTeacher, new: AuraAudioEmbedding, old: AuraAudioEmbedding) -> SwapLosses:
    """The new patch embedding before its first step, made of the first training clips' teacher states and attention."""
    waveforms = (trainer.data_collator.load_waveform(row) for row in trainer.train_dataset)
    with_audio = (waveform for waveform in waveforms if waveform is not None)
    clips = list(islice(with_audio, max(KERNEL_CLIPS, STANDARDIZING_CLIPS)))
    past, future = (
        frames // TEACHER_FRAMES_PER_STEP for frames in (KernelConvBlock.past_frames, KernelConvBlock.future_frames)
    )
    kernels = mean_attention_by_distance(teacher, clips[:KERNEL_CLIPS], past, future)
    new.init_from_teacher(teacher.encoder, kernels)
    with torch.no_grad():
        new.norm.weight.copy_(old.norm.weight)
    statistics = TeacherStatistics(teacher.num_layers, teacher.width)
    for clip in clips[:STANDARDIZING_CLIPS]:
        statistics.update(torch.cat(teacher([clip]).hidden_states))
    return SwapLosses(new, old, trainer.model.config.character_ctc_alphabet, *statistics.mean_and_std())


def _groups(losses: SwapLosses, rate: float) -> list[dict[str, Any]]:
    """What comes from Whisper learns slowly, what starts from nothing fast."""
    groups: dict[float, list[nn.Parameter]] = {rate: [], KERNEL_RATE * rate: [], PROJECTION_RATE * rate: []}
    for name, parameter in losses.named_parameters():
        if not parameter.requires_grad:
            continue
        factor = 1.0
        if name.endswith("kernel.weight"):
            factor = KERNEL_RATE
        elif name.startswith(("characters.", "new.proj.", "new.norm.")):
            factor = PROJECTION_RATE
        groups[factor * rate].append(parameter)
    return [{"params": parameters, "lr": each} for each, parameters in groups.items()]


def _rate(step: int, first: int, steps: int) -> float:
    """Share of the learning rate at a step (0 = the first after a start): a short warm-up, then constant, then down to 0."""
    rise = min(1.0, (step + 1) / WARMUP_STEPS)
    return rise * min(1.0, (steps - first - step) / (DECAY_SHARE * steps))


def _batches(trainer: AuraTrainer, seen: int) -> Iterator[dict[str, Any]]:
    """The trainer's own batches, epoch after epoch, without the first `seen` ones."""
    loader = trainer.get_train_dataloader()
    epochs, rest = divmod(seen, len(loader))
    loader.set_epoch(epochs)
    yield from skip_first_batches(loader, rest)
    loader.set_epoch(epochs + 1)
    while True:
        yield from loader  # counts its epochs itself


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _write(student: Path, new: AuraAudioEmbedding, audio_config: dict[str, Any], out: Path) -> None:
    weights = load_file(student / "model.safetensors")
    first = next(name for name in weights if PREFIX in name)
    prefix = first[: first.index(PREFIX) + len(PREFIX)]
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefix)}
    with new_folder(out) as folder:
        for path in sorted(student.iterdir()):
            if path.name == HEADS_FILE_NAME or (
                path.name != "README.md" and any(path.match(kind) for kind in PUSHED_FILES)
            ):
                shutil.copy(path, folder / path.name)
        own = {prefix + name: tensor.to(weights[first].dtype) for name, tensor in new.state_dict().items()}
        save_file(kept | _contiguous(own), folder / "model.safetensors", metadata={"format": "pt"})
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        content["audio_config"] |= {name: audio_config[name] for name in ("conv_blocks", "conv_block_type")}
        (folder / "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", help="recipe whose teacher, data and augmentation are used")
    parser.add_argument("student", type=Path, help="student, or checkpoint, whose patch embedding is replaced")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=4e-4)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    arguments = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as unused
    ):  # a trainer wants a folder; what is learned here is written by `swap_patch_embedding`
        recipe = load_recipe(
            arguments.recipe, [*arguments.set, f"model.student={arguments.student}", f"training.output_dir={unused}"]
        )
        teacher = AuraTeacher.from_pretrained(recipe.teacher.model, **recipe.teacher.teacher_settings())
        trainer = build_trainer(recipe, training_arguments(recipe))
        swap_patch_embedding(
            trainer,
            teacher,
            arguments.student,
            arguments.out,
            steps=arguments.steps,
            learning_rate=arguments.learning_rate,
        )


if __name__ == "__main__":
    main()
