"""Gives a student a lighter patch embedding, and teaches it by the student itself: no transcript is needed, and any speech will do.

    python -m aura_research.lighten_patch_embedding STUDENT OUT CORPUS --frames-per-step 4 --blocks 0 3 --minutes 20
    python -m aura_research.lighten_patch_embedding STUDENT OUT2 CORPUS --start OUT --layers 6 --minutes 30

The lighter one has longer steps (`frames_per_step`) and some of the convolution blocks, and starts from the student's own weights. It hears each clip as the student does
(noise, rooms and microphones of `WaveformAugmentation` included) and learns to say to the LLM what the student's own says: squared error of the embeddings relative to their
energy, and the KL divergence of the character CTC head. With `--layers`, LoRA of the LLM's first layers learns too: both students read the clip in a chat, and the states behind
every second of these layers are compared; where these are all that the subword CTC head needs, so is what it tells. On a processor that multiplies bfloat16, training does. CORPUS is what `python -m aura_research.corpus` makes, and clips of `acted_speech` where they are.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aura_research.acted_speech import LONGEST_SECONDS, SHORTEST_SECONDS, acted_folder
from aura_research.recordings import SAMPLING_RATE, read_speech
from transformers_aura import AuraAudioConfig, AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.distillation.augmentation import WaveformAugmentation
from transformers_aura.hub import TrainingSummary
from transformers_aura.modeling.audio_embedding import AuraAudioEmbedding, kernel_over_means, mean_of_strides
from transformers_aura.modeling.ctc_heads import STEPS_PER_TOKEN, audio_states
from transformers_aura.modeling.dtypes import cpu_multiplies
from transformers_aura.package_data import resolve_student


BATCH_SECONDS = 48.0
"""Audio of a step, padding included."""

POOL_CLIPS = 96
"""So many clips are drawn at once and cut into batches of similar lengths."""

REPEATS = {"real_orders": 2}
"""Parts of the corpus that are heard more often than once a pass."""

CHARACTER_WEIGHT = 0.5
SUBWORD_WEIGHT = 0.25
SUBWORDS_A_POSITION, OTHER_SUBWORDS = 8, 1024
"""Tokens that the subword CTC head's distributions are compared on: the likeliest of each position, and others at random."""

WARMUP_SHARE, LAST_RATE = 0.03, 0.02
KERNEL_RATE = 2.0
"""Learning rate of the convolution blocks' kernels, as a multiple of the others'."""


class Clips:
    """The speech of a corpus: FLAC bytes of its shards, and files of acted speech."""

    def __init__(self, corpus: Path, split: str) -> None:
        self.sources: list[tuple[Path, int | None]] = []
        self._bytes: dict[Path, list[bytes]] = {}
        for shard in sorted(corpus.glob(f"*/{split}-*.parquet")):
            content = pyarrow.parquet.read_table(shard, columns=["audio"]).column("audio").to_pylist()
            self._bytes[shard] = [audio["bytes"] for audio in content]
            of_shard = [(shard, number) for number in range(len(content))]
            self.sources += of_shard * REPEATS.get(shard.parent.name, 1)
        if split == "train":
            for path in sorted(acted_folder().glob("*/*")):
                if path.suffix in (".mp3", ".wav"):
                    self.sources.append((path, None))

    def read(self, source: tuple[Path, int | None]) -> np.ndarray:
        """Samples of a clip, `(samples,)`, 16 kHz; none where it is longer or shorter than what is taught."""
        path, number = source
        samples = (
            read_speech(path)
            if number is None
            else soundfile.read(io.BytesIO(self._bytes[path][number]), dtype="float32")[0]
        )
        seconds = len(samples) / SAMPLING_RATE
        return samples if SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS else samples[:0]

    def batches(self, augmentation: WaveformAugmentation, seed: int) -> Iterator[list[np.ndarray]]:
        """Batches of clips with what the augmentation does to them, without end."""
        order, generator = random.Random(seed), np.random.default_rng(seed)
        while True:
            shuffled = order.sample(self.sources, len(self.sources))
            for start in range(0, len(shuffled), POOL_CLIPS):
                clips = [clip for clip in map(self.read, shuffled[start : start + POOL_CLIPS]) if len(clip)]
                clips = [augmentation(clip, clips, generator) for clip in clips]
                clips = [clip * np.float32(10 ** (generator.uniform(-20, 6) / 20)) for clip in clips]
                clips = [np.clip(clip, -1, 1) for clip in sorted(clips, key=len)]
                cut = list(_batches_of(clips, BATCH_SECONDS))
                order.shuffle(cut)
                yield from cut


def _batches_of(clips: Sequence[np.ndarray], seconds: float) -> Iterator[list[np.ndarray]]:
    batch: list[np.ndarray] = []
    for clip in clips:
        if batch and (len(batch) + 1) * len(clip) > seconds * SAMPLING_RATE:
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def lighter(
    old: AuraAudioEmbedding, config: AuraAudioConfig, frames_per_step: int, blocks: Sequence[int]
) -> tuple[AuraAudioEmbedding, AuraAudioConfig]:
    """A patch embedding of longer steps with these blocks of another, that begins as the mean of what the other does, and its config."""
    count = frames_per_step // old.frames_per_step
    own = AuraAudioConfig(**{**config.to_dict(), "frames_per_step": frames_per_step, "conv_blocks": len(blocks)})
    new = AuraAudioEmbedding(own, old.proj.out_features)
    state = {
        name: tensor.detach().clone() for name, tensor in old.state_dict().items() if not name.startswith("blocks.")
    }
    state["conv2.weight"] = mean_of_strides(state["conv2.weight"], old.frames_per_step, count)
    width = old.conv2.out_channels
    state["proj.weight"] = state["proj.weight"].unflatten(1, (-1, count, width)).sum(2).flatten(1)
    for place, number in enumerate(blocks):
        block = old.blocks[number]
        of_block = {name: tensor.detach().clone() for name, tensor in block.state_dict().items()}
        of_block["kernel.weight"] = kernel_over_means(of_block["kernel.weight"], block.past_steps, count)
        state |= {f"blocks.{place}.{name}": tensor for name, tensor in of_block.items()}
    if not blocks:
        state = {name: tensor for name, tensor in state.items() if name in new.state_dict()}
    new.load_state_dict(state)
    return new, own


class Comparison:
    """A student with a lighter patch embedding beside the student that teaches it, up to one of the LLM's first layers; 0 = the patch embedding alone."""

    def __init__(
        self, teacher: AuraForSpeechQA, student: AuraForSpeechQA, processor: AuraProcessor, layers: int
    ) -> None:
        self.teacher, self.student, self.processor, self.layers = teacher, student, processor, layers

    def losses(self, clips: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """What the student is taught by, each a mean over the batch."""
        if self.layers:
            chats = [build_conversation({"array": clip, "sampling_rate": SAMPLING_RATE}) for clip in clips]
            inputs = self.processor.apply_chat_template(
                chats, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True, padding=True
            )
        else:
            inputs = self.processor.feature_extractor(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        features = inputs["input_features"], inputs["input_features_mask"]
        with torch.no_grad():
            wanted, mask = self.teacher.model.embed_audio(*features)
        found, _ = self.student.model.embed_audio(*features)
        losses = {"embedding": _relative_error(found[mask], wanted[mask])}
        head = self.teacher.model.character_ctc_head
        if head is not None:
            losses["characters"] = _divergence(head(found), head(wanted), mask.repeat_interleave(STEPS_PER_TOKEN, 1))
        if self.layers:
            losses |= self._losses_of_layers(inputs, wanted, found, mask)
        return losses

    def _losses_of_layers(
        self, inputs: Any, wanted: torch.Tensor, found: torch.Tensor, mask: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        real = inputs["attention_mask"].bool()
        read = {name: inputs[name] for name in ("input_ids", "attention_mask")} | {"audio_embeds_mask": mask}
        settings = {"num_hidden_layers": self.layers, "output_hidden_states": True, "use_cache": False}
        with torch.no_grad():
            theirs = self.teacher.model(**read, audio_embeds=wanted, **settings).hidden_states
        ours = self.student.model(**read, audio_embeds=found, **settings).hidden_states
        compared = range(self.layers, 0, -2)
        errors = [_relative_error(ours[layer][real], theirs[layer][real], by_position=True) for layer in compared]
        losses = {"states": torch.stack(errors).mean()}
        layer = self.teacher.config.subword_ctc_layer
        if layer is not None and layer <= self.layers:
            is_audio = inputs["input_ids"] == self.teacher.config.audio_token_id
            of_audio = [audio_states(states[layer], is_audio)[mask] for states in (ours, theirs)]
            losses["subwords"] = self._divergence_of_subwords(*of_audio)
        return losses

    def _divergence_of_subwords(self, ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        """Mean KL divergence of what the subword CTC heads tell of states, `(audio tokens, width)` each: blank, likely tokens, and others at random."""
        embeddings = self.teacher.get_input_embeddings().weight
        with torch.no_grad():
            wanted = _subword_logits(self.teacher, theirs, embeddings)
            likely = wanted[:, 1:].topk(SUBWORDS_A_POSITION).indices.flatten()
            others = torch.randint(len(embeddings), (OTHER_SUBWORDS,))
            chosen = torch.cat([likely, others]).unique()
            wanted = torch.cat([wanted[:, :1], wanted[:, 1:][:, chosen]], 1)
        found = _subword_logits(self.student, ours, embeddings[chosen])
        everywhere = torch.ones(len(found), dtype=torch.bool)
        return _divergence(found, wanted, everywhere)

    def loss(self, clips: Sequence[np.ndarray]) -> tuple[torch.Tensor, dict[str, float]]:
        """The weighted sum, and its parts."""
        losses = self.losses(clips)
        weights = {"characters": CHARACTER_WEIGHT, "subwords": SUBWORD_WEIGHT}
        total = torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        return total, {name: loss.item() for name, loss in losses.items()}

    def trained(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        self.student.requires_grad_(False)
        chosen = {}
        for name, parameter in self.student.named_parameters():
            if "embed_audio." in name or (
                ".lora_" in name and int(name.split(".layers.")[1].split(".")[0]) < self.layers
            ):
                chosen[name] = parameter.requires_grad_(True)
        return chosen

    def to_bfloat16(self) -> None:
        """What does not learn, in bfloat16; what learns is multiplied in it, under autocast, and stays in float32."""
        self.teacher.to(torch.bfloat16)
        for parameter in self.student.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)


def _subword_logits(student: AuraForSpeechQA, states: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """`(audio tokens, 1 + tokens)`, blank first, of states `(audio tokens, width)`."""
    head = student.model.subword_ctc_head
    assert head is not None
    states = head.norm(states.to(head.norm.weight.dtype))
    of_tokens = head.projection(states) @ embeddings.to(states.dtype).T
    return torch.cat([head.blank(states).to(of_tokens.dtype), of_tokens], dim=-1)


def _relative_error(found: torch.Tensor, wanted: torch.Tensor, by_position: bool = False) -> torch.Tensor:
    """Squared error to the wanted vectors' energy, `(positions, width)` each; by position it is a mean of ratios, so that a few large states do not count for all."""
    wanted = wanted.float()
    error, energy = (found.float() - wanted).square().sum(-1), wanted.square().sum(-1)
    return (error / energy.clamp_min(1e-6)).mean() if by_position else error.sum() / energy.sum()


def _divergence(found: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean KL divergence of distributions over the last axis, in nats, `(batch, steps, symbols)`."""
    own, theirs = found[mask].float().log_softmax(-1), wanted[mask].float().log_softmax(-1)
    return nn.functional.kl_div(own, theirs, reduction="batchmean", log_target=True)


def teach(
    comparison: Comparison,
    clips: Clips,
    validation: Clips,
    augmentation: WaveformAugmentation,
    *,
    minutes: float,
    steps: int | None,
    rate: float,
    seed: int,
    progress: Path,
) -> dict[str, float]:
    """Trains for so many minutes, or steps; the rate rises, then falls as a cosine. What was learned is saved every few minutes in `progress`.

    Returns:
        the losses on validation clips at the end.
    """
    parameters = comparison.trained()
    in_bfloat16 = cpu_multiplies(torch.bfloat16)
    if in_bfloat16:
        comparison.to_bfloat16()
    precision = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=in_bfloat16)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(KERNEL_RATE if name.endswith("kernel.weight") else 1.0, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": group, "factor": factor} for factor, group in groups.items()], betas=(0.9, 0.98), weight_decay=0.0
    )
    kept = _validation_batches(validation, augmentation)
    began = time.monotonic()
    shown = saved = began
    sums: dict[str, float] = {}
    count, audio_seconds = 0, 0.0
    for step, batch in enumerate(clips.batches(augmentation, seed), start=1):
        share = (time.monotonic() - began) / (60 * minutes) if steps is None else (step - 1) / steps
        if share >= 1:
            break
        falling = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"] * falling * min(1.0, share / WARMUP_SHARE + 1e-3)
        with precision():
            loss, parts = comparison.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
        count += 1
        audio_seconds += sum(map(len, batch)) / SAMPLING_RATE
        now = time.monotonic()
        if now - shown > 60:
            means = {name: round(value / count, 4) for name, value in sums.items()}
            print(
                f"step {step}, {(now - began) / 60:.1f} min, {audio_seconds / 3600:.2f} h of speech: {means}",
                flush=True,
            )
            sums, count, shown = {}, 0, now
        if now - saved > 300:
            save_file({name: tensor.detach().contiguous() for name, tensor in parameters.items()}, str(progress))
            print(f"validation: {validate(comparison, kept, precision)}", flush=True)
            saved = time.monotonic()
    last = validate(comparison, kept, precision)
    print(f"validation, {step - 1} steps, {audio_seconds / 3600:.2f} h of speech: {last}", flush=True)
    return last


@torch.no_grad()
def validate(
    comparison: Comparison,
    batches: Sequence[list[np.ndarray]],
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> dict[str, float]:
    """Means of the losses over batches that are always the same."""
    with precision():
        parts = [comparison.loss(batch)[1] for batch in batches]
    return {name: round(sum(part[name] for part in parts) / len(parts), 4) for name in parts[0]}


def _validation_batches(clips: Clips, augmentation: WaveformAugmentation) -> list[list[np.ndarray]]:
    batches = clips.batches(augmentation, seed=1)
    return [next(batches) for _ in range(8)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("student", help="packaged student or folder, which teaches")
    parser.add_argument("out", type=Path, help="folder of the student with the lighter patch embedding")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--frames-per-step", type=int, default=4)
    parser.add_argument("--blocks", type=int, nargs="*", default=[0, 3], help="numbers of the blocks that are kept")
    parser.add_argument(
        "--start", type=Path, help="a student of an earlier run to go on from, in place of the two above"
    )
    parser.add_argument(
        "--layers", type=int, default=0, help="of the LLM, whose states are compared and whose LoRA learns too"
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--steps", type=int, help="in place of minutes: what is compared is then taught as much")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--resume", action="store_true", help="begin from what an interrupted run of the same settings saved"
    )
    arguments = parser.parse_args(argv)

    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    folder = resolve_student(arguments.student)
    processor = AuraProcessor.from_pretrained(folder)
    # Of bfloat16 on a CPU, "sdpa" takes several times as long backward.
    load = partial(AuraForSpeechQA.from_pretrained, dtype="float32", attn_implementation="eager")
    teacher = load(folder).eval().requires_grad_(False)
    if arguments.start is not None:
        student = load(arguments.start).eval()
    else:
        student = load(folder).eval()
        student.model.embed_audio, student.config.audio_config = lighter(
            teacher.model.embed_audio, teacher.config.audio_config, arguments.frames_per_step, arguments.blocks
        )
    comparison = Comparison(teacher, student, processor, arguments.layers)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    progress = arguments.out.with_name(arguments.out.name + "-progress.safetensors")
    if arguments.resume and progress.is_file():
        student.load_state_dict(load_file(progress), strict=False)
    augmentation = WaveformAugmentation(
        noise_files=[str(arguments.corpus / "noise" / "kitchen.flac")], noise_probability=0.5, snr_db=(3, 30), room_probability=0.2,
        equalizer_db=3.0, telephone_probability=0.05,
    )  # fmt: skip
    train, validation = Clips(arguments.corpus, "train"), Clips(arguments.corpus, "validation")
    print(
        json.dumps(
            {"clips": len(train.sources), "parameters": sum(p.numel() for p in student.model.embed_audio.parameters())}
        ),
        flush=True,
    )
    began = time.monotonic()
    last = teach(
        comparison, train, validation, augmentation, minutes=arguments.minutes, steps=arguments.steps, rate=arguments.learning_rate,
        seed=arguments.seed, progress=progress,
    )  # fmt: skip
    student.to(torch.bfloat16).save_pretrained(arguments.out)
    processor.save_pretrained(arguments.out)
    TrainingSummary(
        teacher=f"{Path(arguments.student).name}, the same student with its own patch embedding",
        data=(
            "speech without its transcripts: that of the teacher's corpus, and actors in three games; half of it in noise",
        ),
        losses=last,
        duration_seconds=time.monotonic() - began,
    ).save(arguments.out)
    progress.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
