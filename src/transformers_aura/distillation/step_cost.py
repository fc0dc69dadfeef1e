"""What one training step costs, from shapes alone: operations as torch counts them on the meta device, and the activations that wait for backward."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ..modeling.adapter import LoraGate, lora_gate
from ..modeling.modeling_aura import AuraForSpeechQA


@dataclass(frozen=True)
class StepRows:
    """
    The rows of one micro-batch of one process.

    Attributes:
        count: rows.
        seconds: of audio in each.
        prompt_tokens: tokens of text before the answer, in each.
        answer_tokens: tokens to be predicted, in each.
    """

    count: int
    seconds: float = 10.0
    prompt_tokens: int = 30
    answer_tokens: int = 40


@dataclass(frozen=True)
class StepCost:
    """
    Of one micro-batch in one process.

    Attributes:
        operations (`dict[str, int]`): floating-point operations (a multiplication and its addition are two) by part, forward and backward, what
            activation checkpointing computes again included. Products of matrices and convolutions count, nothing else.
        activation_bytes (`int`): what is kept for backward at its peak.
    """

    operations: dict[str, int]
    activation_bytes: int


def count_step(
    student: AuraForSpeechQA,
    heads: nn.Module | None,
    encoder: nn.Module | None,
    rows: StepRows,
    is_checkpointed: bool,
) -> StepCost:
    """
    Count a step with cross-entropy, and distillation where there is a teacher; other terms of the loss cost what they cost on top.

    Args:
        student, heads, encoder: on the meta device; heads and encoder are those of the teacher, `None` = there is none. They are left in training mode.
        rows: of the micro-batch.
        is_checkpointed: whether the decoder layers forget their activations and compute them again.
    """
    config = student.config
    frames = round(rows.seconds * config.audio_config.frames_per_second)
    audio_tokens = math.ceil(frames / config.audio_config.frames_per_token)
    length = audio_tokens + rows.prompt_tokens + rows.answer_tokens
    width, dtype = config.text_config.hidden_size, student.dtype
    student.train()
    student.model.language_model.set_attn_implementation(
        "eager"
    )  # its products of matrices are what the counter knows

    def embed_audio() -> None:
        features = torch.empty(rows.count, frames, config.audio_config.num_mel_bins, device="meta", dtype=dtype)
        mask = torch.ones(rows.count, frames, device="meta", dtype=torch.bool)
        student.model.embed_audio(features, mask)[0].sum().backward()

    def run_layer(gate: LoraGate) -> torch.Tensor:
        embeddings = torch.empty(rows.count, length, width, device="meta", dtype=dtype, requires_grad=True)
        mask = torch.empty(rows.count, 1, length, length, device="meta", dtype=dtype)
        with lora_gate(gate):
            layer = student.model.first_layers(1)
            return layer(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).last_hidden_state

    def predict() -> None:
        states = torch.empty(rows.count * rows.answer_tokens, width, device="meta", dtype=dtype, requires_grad=True)
        student.lm_head(states).sum().backward()

    def compare() -> None:
        assert heads is not None
        states = [
            torch.empty(rows.count * audio_tokens, width, device="meta", requires_grad=True) for _ in heads.pairs
        ]
        torch.stack([prediction.sum() for prediction in heads(states)]).sum().backward()

    layer_bytes = _saved_bytes(lambda: run_layer("on"))
    num_layers = config.text_config.num_hidden_layers
    activations = num_layers * layer_bytes
    if is_checkpointed:
        activations = num_layers * rows.count * length * width * dtype.itemsize + layer_bytes
    # Logits in the model's dtype, in float32, their log-softmax and its gradient.
    activations += rows.count * rows.answer_tokens * config.text_config.vocab_size * (dtype.itemsize + 3 * 4)

    def of_layer(gate: LoraGate) -> int:
        forward_and_backward = _operations_of(lambda: run_layer(gate).sum().backward())
        return forward_and_backward + (_operations_of(lambda: run_layer(gate)) if is_checkpointed else 0)

    without = of_layer("off")
    operations = {
        "base LLM": num_layers * without + _operations_of(predict),
        "LoRA": config.lora_num_layers * (of_layer("on") - without),
        "patch embedding": _operations_of(embed_audio),
    }
    if heads is not None and encoder is not None:
        operations["distillation heads"] = _operations_of(compare)
        operations["teacher"] = _operations_of(lambda: _listen(encoder, rows.count))
    return StepCost(operations, activations)


@torch.no_grad()
def _listen(encoder: nn.Module, count: int) -> None:
    frames = 2 * encoder.config.max_source_positions
    encoder.set_attn_implementation("eager")
    encoder(torch.empty(count, encoder.config.num_mel_bins, frames, device="meta", dtype=encoder.dtype))


def _operations_of(run: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _saved_bytes(run: Callable[[], object]) -> int:
    """Bytes of all tensors that autograd keeps for backward of what `run` computes, weights aside, each once."""
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        whole = tensor if tensor._base is None else tensor._base
        if not isinstance(whole, nn.Parameter):
            kept[id(whole)] = whole
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(tensor.numel() * tensor.element_size() for tensor in kept.values())
