"""Operations, bytes of weights and bytes of keys and values, counted from shapes: the student at hand, and the paper's on Qwen2.5-7B.

An operation is a multiplication with its addition. They are counted by torch on the meta device, where nothing is computed and no weights are needed; so the
numbers are the same on every machine. The LLM's are those of its layers on the audio's tokens, the prompt's text aside.
"""

import argparse
import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from benchmarks.peers import LAYOUTS, Layout, projector_of
from benchmarks.results import Result, Table
from benchmarks.shapes import Shapes, of_student, qwen_7b
from transformers_aura import AuraForSpeechQA
from transformers_aura.processing.audio_tokens import num_audio_tokens


LANGUAGE_MODEL = "LLM alone, the audio's tokens"
PATCH_EMBEDDING = "patch embedding"
LORA = "LoRA beside the weights"
STUDENT = "student, LoRA beside the weights"
MERGED = "student, merged"
CASCADE = "Whisper + LLM"
BYTES_PER_VALUE = 2
FRAMES_PER_WINDOW = 3000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lengths", type=float, nargs="+", default=[3, 10, 30, 60], help="seconds of audio")


def measure(arguments: argparse.Namespace) -> Result:
    tables: list[Table] = []
    for shapes in (of_student(arguments.student), qwen_7b(arguments.student)):
        tables += tables_of(shapes, arguments.lengths)
    notes = [
        "Whisper's encoder: its operations for windows of 30 s, filled up with silence; Ultravox's layout: as many frames as there are.",
        "The counter knows products of matrices and convolutions; norms, softmax and activations are not counted.",
        f"Bytes: {BYTES_PER_VALUE} a value (bfloat16). Weights of a merged student are those of its LLM and its patch embedding.",
        "The paper reports 0.37 to 0.40 s and 10.6 GB for AuRA, 0.42 to 0.96 s and 13.9 to 27.6 GB for others, on Qwen2.5-7B; its machine and number format are not known.",
    ]
    return Result("operations", is_counted=True, tables=tables, notes=notes)


def tables_of(shapes: Shapes, lengths: list[float]) -> list[Table]:
    """Operations, weights, and keys and values."""
    operations = Table(f"Operations, {shapes.name}", "operations", "seconds of audio", LANGUAGE_MODEL)
    memory = Table(f"Weights, {shapes.name}", "bytes", "weights", LANGUAGE_MODEL)
    cache = Table(f"Keys and values of the audio, {shapes.name}", "bytes", "seconds of audio", MERGED)
    parts = Parts(shapes)
    for seconds in lengths:
        operations.add(seconds, {name: [count] for name, count in parts.operations(seconds).items()})
        cache.add(seconds, {name: [count] for name, count in parts.cache_bytes(seconds).items()})
    memory.add("in bfloat16", {name: [count] for name, count in parts.weight_bytes().items()})
    return [operations, memory, cache]


class Parts:
    """The models of some [`Shapes`], without weights."""

    def __init__(self, shapes: Shapes):
        self.config = shapes.student
        with torch.device("meta"):
            self.student = AuraForSpeechQA(shapes.student).eval()
            eager = {"attn_implementation": "eager"}  # its products of matrices are what the counter knows
            self.language_model = AutoModel.from_config(shapes.student.text_config, **eager).eval()
            self.whisper = AutoModel.from_config(shapes.whisper, **eager).eval()
            hidden_size = shapes.student.text_config.hidden_size
            self.projectors = {layout: projector_of(layout, shapes.whisper.d_model, hidden_size) for layout in LAYOUTS}

    def operations(self, seconds: float) -> dict[str, int]:
        """Of each part, for so much audio."""
        frames, tokens = self._frames(seconds), self._tokens(seconds)
        features = torch.empty(1, frames, self.config.audio_config.num_mel_bins, device="meta")
        mask = torch.ones(1, frames, dtype=torch.bool, device="meta")
        language_model = self._through_language_model(tokens)
        patch_embedding = operations_of(lambda: self.student.model.embed_audio(features, mask))
        lora = tokens * sum(parameter.numel() for parameter in self._lora())
        counts = {
            LANGUAGE_MODEL: language_model,
            PATCH_EMBEDDING: patch_embedding,
            LORA: lora,
            MERGED: language_model + patch_embedding,
            STUDENT: language_model + patch_embedding + lora,
        }
        for layout, projector in self.projectors.items():
            of_encoder = self._through_encoder(layout, seconds)
            of_layout = self._layout_tokens(layout, seconds)
            states = torch.empty(of_layout, next(projector.parameters()).shape[-1], device="meta")
            counts[f"{layout.name}: encoder and projector"] = of_encoder + operations_of(
                lambda projector=projector, states=states: projector(states)
            )
            counts[layout.name] = counts[f"{layout.name}: encoder and projector"] + self._through_language_model(
                of_layout
            )
        return counts

    def weight_bytes(self) -> dict[str, int]:
        """Of each system: all weights, the embedding and output layer included."""
        base = sum(_values(module) for name, module in self.student.named_children() if name == "lm_head")
        tied = self.config.text_config.tie_word_embeddings
        language_model = _values(self.language_model) + (0 if tied else base)
        embed_audio = _values(self.student.model.embed_audio)
        encoder = _values(self.whisper.encoder)
        counts = {
            LANGUAGE_MODEL: language_model,
            PATCH_EMBEDDING: embed_audio,
            LORA: sum(parameter.numel() for parameter in self._lora()),
            MERGED: language_model + embed_audio,
            CASCADE: language_model + _values(self.whisper),
        }
        counts[STUDENT] = counts[MERGED] + counts[LORA]
        for layout, projector in self.projectors.items():
            counts[layout.name] = language_model + encoder + _values(projector)
        return {name: BYTES_PER_VALUE * count for name, count in counts.items()}

    def cache_bytes(self, seconds: float) -> dict[str, int]:
        """Of the audio's tokens in the LLM's cache."""
        config = self.config.text_config
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        of_token = 2 * config.num_hidden_layers * config.num_key_value_heads * head_size * BYTES_PER_VALUE
        tokens = {MERGED: self._tokens(seconds)} | {
            layout.name: self._layout_tokens(layout, seconds) for layout in LAYOUTS
        }
        return {name: of_token * count for name, count in tokens.items()}

    def _frames(self, seconds: float) -> int:
        return round(seconds * self.config.audio_config.frames_per_second)

    def _tokens(self, seconds: float) -> int:
        return num_audio_tokens(self._frames(seconds), self.config.audio_config.frames_per_token)

    def _layout_tokens(self, layout: Layout, seconds: float) -> int:
        return -(-round(seconds * 50) // layout.stack)

    def _lora(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.student.named_parameters() if ".lora_" in name]

    def _through_language_model(self, tokens: int) -> int:
        embeddings = torch.empty(1, tokens, self.config.text_config.hidden_size, device="meta")
        mask = torch.empty(1, 1, tokens, tokens, device="meta")  # four dimensions: nothing is computed from its values
        return operations_of(
            lambda: self.language_model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False)
        )

    def _through_encoder(self, layout: Layout, seconds: float) -> int:
        window = self._window
        windows, rest = divmod(round(100 * seconds), FRAMES_PER_WINDOW)
        if not rest:
            return windows * window
        if layout.is_padded:
            return (windows + 1) * window
        with torch.device("meta"):
            short = copy.deepcopy(self.whisper.config)
            short.max_source_positions = -(-rest // 2)
            encoder = AutoModel.from_config(short, attn_implementation="eager").encoder
        features = torch.empty(1, short.num_mel_bins, 2 * short.max_source_positions, device="meta")
        return windows * window + operations_of(lambda: encoder(features))

    @cached_property
    def _window(self) -> int:
        """Of Whisper's encoder for 30 s."""
        features = torch.empty(1, self.whisper.config.num_mel_bins, FRAMES_PER_WINDOW, device="meta")
        return operations_of(lambda: self.whisper.encoder(features))


@torch.no_grad()
def operations_of(run: Callable[[], Any]) -> int:
    """Multiplications, each with its addition, of what `run` computes."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def _values(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
