"""The bridge: a frozen Whisper encoder, a small adapter, a frozen LLM (as in BLSP, arXiv 2309.00916, and many since).

It is a student whose patch embedding is replaced: what `AuraTrainer`, processor, pipeline and evaluation do with a student, they do with it. The
encoder runs at every question, which AuRA does without; that is the comparison. Trained to write answers and transcripts it is BLSP's kind;
trained towards what the LLM answers to, and holds for, the text (`answer_kl_weight`, and `text_state_weight` at `subword_ctc_layer: 0`), it is distilled at its input as
DiVA is (arXiv 2410.02678).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import SAFE_WEIGHTS_NAME

from ...modeling.adapter_weights import load_adapter_weights
from ...modeling.configuration_aura import AuraConfig
from ...modeling.modeling_aura import AuraForSpeechQA
from ...processing.audio_tokens import num_audio_tokens
from ...processing.processing_aura import AuraProcessor
from ...repo_files import refuse_pickles


BRIDGE_FILE = "bridge.json"

FRAMES_PER_STATE = 2
PADDING_FRAMES = 500
"""Windows are padded to a multiple of this (5 s): Whisper's 30 s would cost many times as much on short clips."""

_WHISPERS_RANGE = 2.0  # Whisper's features lie within 8 decades of the clip's loudest, which its scale divides by 4


class BridgeAudioEmbedding(nn.Module):
    """Log-mel frames -> frozen Whisper encoder -> the states of an audio token side by side -> Linear, GELU, Linear, RMSNorm.

    The features are those of every student. Whisper's are the same up to a floor that follows the loudest frame of the clip (set here) and 2.5 ms of
    time. Clips longer than the encoder's window are encoded in windows one after the other.

    The encoder is no submodule: it is neither trained nor saved.

    Args:
        encoder: of a Whisper-family model; it is frozen and put into evaluation mode.
        hidden_size: width of the LLM.
        frames_per_token: frames of an audio token, a multiple of 2.
        eps: epsilon of the norm.
    """

    def __init__(
        self, encoder: WhisperEncoder, hidden_size: int, frames_per_token: int = 8, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self._held = [encoder.eval().requires_grad_(False)]
        self.frames_per_token = frames_per_token
        self.num_mel_bins = encoder.config.num_mel_bins
        self.frames_per_window = FRAMES_PER_STATE * encoder.config.max_source_positions
        width = encoder.config.d_model * frames_per_token // FRAMES_PER_STATE
        self.proj = nn.Linear(width, 2 * hidden_size)
        self.output = nn.Linear(2 * hidden_size, hidden_size)
        self.norm = nn.RMSNorm(hidden_size, eps=eps)

    @property
    def encoder(self) -> WhisperEncoder:
        """The frozen encoder, where the adapter is."""
        encoder = self._held[0]
        weight = self.proj.weight
        if encoder.device != weight.device:
            encoder.to(weight.device)
        return encoder

    def forward(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As in [`~transformers_aura.modeling.audio_embedding.AuraAudioEmbedding`]."""
        num_audios, num_frames, num_mel_bins = input_features.shape
        if num_mel_bins != self.num_mel_bins:
            raise ValueError(
                f"`input_features` must have shape (num_audios, num_frames, {self.num_mel_bins}); got {tuple(input_features.shape)}."
            )
        num_tokens = num_audio_tokens(num_frames, self.frames_per_token)
        states = self._encode(input_features, input_features_mask, num_tokens * self.frames_per_token)
        grouped = states.reshape(num_audios, num_tokens, -1).to(self.proj.weight.dtype)
        embeddings = self.norm(self.output(nn.functional.gelu(self.proj(grouped))))
        clip_tokens = num_audio_tokens(input_features_mask.sum(-1), self.frames_per_token)
        token_mask = torch.arange(num_tokens, device=embeddings.device) < clip_tokens.unsqueeze(-1)
        return embeddings, token_mask

    @torch.no_grad()
    def _encode(self, features: torch.Tensor, mask: torch.Tensor, num_frames: int) -> torch.Tensor:
        """Encoder states of `num_frames` frames, `(num_audios, num_frames / 2, width)`."""
        encoder = self.encoder
        real = mask.unsqueeze(-1)
        loudest = features.masked_fill(~real, -torch.inf).amax(dim=(1, 2), keepdim=True)
        floor = loudest - _WHISPERS_RANGE
        padded = torch.where(real, torch.maximum(features, floor), floor)
        missing = -(-num_frames // PADDING_FRAMES) * PADDING_FRAMES - padded.shape[1]
        padded = torch.cat([padded, floor.expand(-1, missing, padded.shape[2])], dim=1) if missing > 0 else padded
        found = [self._window(encoder, window) for window in padded.split(self.frames_per_window, dim=1)]
        return torch.cat(found, dim=1)[:, : num_frames // FRAMES_PER_STATE]

    @staticmethod
    def _window(encoder: WhisperEncoder, frames: torch.Tensor) -> torch.Tensor:
        """`WhisperEncoder.forward` in evaluation mode, for windows of any length up to its own."""
        hidden = nn.functional.gelu(encoder.conv1(frames.transpose(1, 2).to(encoder.dtype)))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        return encoder.layer_norm(hidden)


def new_bridge(
    base_model: str | os.PathLike, whisper: str | os.PathLike, **kwargs: Any
) -> tuple[AuraForSpeechQA, AuraProcessor]:
    """An untrained bridge and its processor.

    Args:
        base_model: Hub id or folder of the LLM.
        whisper: Hub id or folder of a Whisper-family model.
        kwargs: CTC heads (`character_ctc_alphabet`, `subword_ctc_layer`), and what the stock loader takes (`dtype`, `attn_implementation`, ...).
    """
    encoder = _encoder(whisper)
    model = AuraForSpeechQA.from_language_model_pretrained(
        base_model, lora_rank=0, num_mel_bins=encoder.config.num_mel_bins, tokens_per_block=1, **kwargs
    )
    _build_in(model, encoder)
    processor = AuraProcessor.from_language_model_pretrained(base_model, num_mel_bins=encoder.config.num_mel_bins)
    return model, processor


def write_bridge_file(folder: str | os.PathLike, whisper: str | os.PathLike) -> None:
    """Says in `folder`, beside the weights that `save_pretrained` or the trainer wrote, which encoder they belong to."""
    (Path(folder) / BRIDGE_FILE).write_text(json.dumps({"whisper": os.fspath(whisper)}) + "\n", encoding="utf-8")


def load_bridge(
    folder: str | os.PathLike,
    base_model_name_or_path: str | os.PathLike | None = None,
    whisper: str | os.PathLike | None = None,
    **kwargs: Any,
) -> AuraForSpeechQA:
    """A trained bridge.

    Args:
        folder: holds its adapter.
        base_model_name_or_path: where the LLM lies, if not where the config says.
        whisper: where the encoder lies, if not where `bridge.json` says.
        kwargs: for the stock loader.

    Raises:
        FileNotFoundError: `folder` holds no bridge, and no encoder was named.
        AdapterMismatchError: the adapter is that of another encoder or LLM.
    """
    path = Path(folder) / BRIDGE_FILE
    if whisper is None:
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no {BRIDGE_FILE}: name the encoder, `whisper=`.")
        try:
            whisper = os.fspath(json.loads(path.read_text("utf-8"))["whisper"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): name the encoder, `whisper=`.") from error
    config = AuraConfig.from_pretrained(folder)
    base = base_model_name_or_path or config.base_model
    model, _ = new_bridge(
        str(base),
        whisper,
        character_ctc_alphabet=config.character_ctc_alphabet,
        subword_ctc_layer=config.subword_ctc_layer,
        **kwargs,
    )
    model.config.audio_token_id = config.audio_token_id
    load_adapter_weights(model, Path(folder) / SAFE_WEIGHTS_NAME)
    return model.eval()


def is_bridge(folder: str | os.PathLike) -> bool:
    """Whether `folder` holds a bridge."""
    return (Path(folder) / BRIDGE_FILE).is_file()


def _encoder(whisper: str | os.PathLike) -> WhisperEncoder:
    refuse_pickles(whisper)
    return WhisperModel.from_pretrained(whisper, dtype=torch.float32).get_encoder()


def _build_in(model: AuraForSpeechQA, encoder: WhisperEncoder) -> None:
    config = model.config
    embedding = BridgeAudioEmbedding(
        encoder,
        config.text_config.hidden_size,
        config.audio_config.frames_per_token,
        config.audio_config.rms_norm_eps,
    )
    embedding.norm.load_state_dict(model.model.embed_audio.norm.state_dict())  # as loud as the LLM's own embeddings
    model.model.language_model.requires_grad_(False)  # LoRA, which would see to that, there is none
    model.lm_head.requires_grad_(False)
    reference = model.model.embed_audio.proj.weight
    model.model.embed_audio = embedding.to(reference.device, reference.dtype)
