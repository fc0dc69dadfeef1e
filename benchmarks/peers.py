"""Other speech LLMs' layouts in the size of the student: encoders with a projector on its own LLM, and Voxtral Realtime's for speech that arrives in chunks.

The encoders before the student's LLM are Whisper's, with its real weights; projectors, and all of the realtime layout, have random ones, which makes them no slower.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from transformers import VoxtralRealtimeConfig, VoxtralRealtimeForConditionalGeneration

from benchmarks.systems import WINDOW_SECONDS, Systems
from benchmarks.without_speech import SAMPLING_RATE
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT


@dataclass(frozen=True)
class Layout:
    """How a speech LLM puts an encoder before its LLM.

    Attributes:
        name: of the system.
        is_padded: the encoder gets windows of 30 s, filled up with silence, as Whisper was trained; else as many frames as there are.
        stack: steps of the encoder, 50 a second, that make one audio token.
        joined_by: steps of a token are put side by side (`concatenation`) or averaged (`mean`).
        projector: `linear`: one layer; `mlp`: Linear -> GELU -> Linear; `swiglu`: RMSNorm -> Linear -> SwiGLU -> RMSNorm -> Linear.
    """

    name: str
    is_padded: bool
    stack: int
    joined_by: Literal["concatenation", "mean"]
    projector: Literal["linear", "mlp", "swiglu"]


ENCODER = Layout("Whisper encoder, projector, LLM", True, 4, "concatenation", "mlp")
"""Voxtral's encoder and projector, but only as many audio tokens as the clip has (Voxtral's LLM reads those of all 30 s): as many as the student's at 12.5 a second."""
QWEN2_AUDIO = Layout("Qwen2-Audio's layout", True, 2, "mean", "linear")
ULTRAVOX = Layout("Ultravox's layout", False, 8, "concatenation", "swiglu")
LAYOUTS = (ENCODER, QWEN2_AUDIO, ULTRAVOX)


class _SwiGLU(nn.Module):
    """`(..., 2 n)` to `(..., n)`."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        states, gate = states.chunk(2, dim=-1)
        return states * nn.functional.silu(gate)


def projector_of(layout: Layout, encoder_width: int, hidden_size: int) -> nn.Module:
    """`(..., encoder_width * stack)` (or `encoder_width`, averaged) to `(..., hidden_size)`, random weights; inner widths in proportion as in the original."""
    width = encoder_width * (layout.stack if layout.joined_by == "concatenation" else 1)
    if layout.projector == "linear":
        return nn.Linear(width, hidden_size)
    if layout.projector == "mlp":
        return nn.Sequential(
            nn.Linear(width, hidden_size, bias=False), nn.GELU(), nn.Linear(hidden_size, hidden_size, bias=False)
        )
    return nn.Sequential(
        nn.RMSNorm(width),
        nn.Linear(width, hidden_size, bias=False),
        _SwiGLU(),
        nn.RMSNorm(hidden_size // 2),
        nn.Linear(hidden_size // 2, hidden_size, bias=False),
    )


class EncoderSystem:
    """Whisper's encoder and a projector before the LLM of some [`Systems`]."""

    def __init__(self, systems: Systems, layout: Layout):
        self.systems = systems
        self.layout = layout
        self.encoder = systems.speech_recognizer.get_encoder()
        hidden_size = systems.language_model.config.hidden_size
        projector = projector_of(layout, self.encoder.config.d_model, hidden_size)
        self.projector = projector.to(self.encoder.device, self.encoder.dtype).eval()

    @torch.no_grad()
    def audio_embeddings(self, waveform: np.ndarray) -> torch.Tensor:
        """`(1, audio_tokens, hidden)`; audio of more than 30 s goes through the encoder window by window."""
        samples = WINDOW_SECONDS * SAMPLING_RATE
        windows = [waveform[start : start + samples] for start in range(0, len(waveform), samples)]
        return torch.cat([self._window(window) for window in windows], dim=1)

    def first_token(self, waveform: np.ndarray, num_text_tokens: int) -> int:
        """The first token of the answer; so many tokens of text stand around the audio."""
        audio = self.audio_embeddings(waveform)
        text = self.systems.embeddings(num_text_tokens).to(audio.dtype)
        return int(self.systems.answers_of_embeddings(torch.cat([text, audio], dim=1))[0, -1])

    def _window(self, waveform: np.ndarray) -> torch.Tensor:
        features = self.systems.speech_features([waveform], padded=self.layout.is_padded)
        if self.layout.is_padded:
            states = self.encoder(features).last_hidden_state
        else:
            states = self._unpadded(features)
        stack = self.layout.stack
        frames = -(-len(waveform) // self.systems.speech_processor.feature_extractor.hop_length)
        tokens = max(1, -(-frames // (2 * stack)))
        states = nn.functional.pad(states, (0, 0, 0, max(0, tokens * stack - states.shape[1])))[:, : tokens * stack]
        grouped = states.unflatten(1, (tokens, stack))
        joined = grouped.mean(2) if self.layout.joined_by == "mean" else grouped.flatten(2)
        return self.projector(joined)

    def _unpadded(self, features: torch.Tensor) -> torch.Tensor:
        """What the encoder makes of as many frames as there are, `(1, frames / 2, width)`; transformers' own asks for 3000."""
        encoder = self.encoder
        states = nn.functional.gelu(encoder.conv1(features))
        states = nn.functional.gelu(encoder.conv2(states)).permute(0, 2, 1)
        states = states + encoder.embed_positions.weight[: states.shape[1]]
        for layer in encoder.layers:
            states = layer(states, None)
            states = states[0] if isinstance(states, tuple) else states
        return encoder.layer_norm(states)


class RealtimeSystem:
    """Voxtral Realtime's layout: a causal encoder as large as Whisper's and an LLM as large as the student's, which takes one step for every 80 ms.

    It writes down what is said, some steps late. After the end of speech it has to take as many steps more; then the student's LLM answers what was said.
    """

    frames_per_step = 8
    delay_steps = 6
    """As its config has it: 480 ms."""
    _steps_before = 32
    """Steps of silence before the audio, as its processor has them, beside those of the delay."""

    def __init__(self, systems: Systems):
        self.systems = systems
        encoder, text = systems.speech_recognizer.config, systems.language_model.config
        same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        sizes = {name: getattr(text, name) for name in (*same, "num_key_value_heads", "tie_word_embeddings")}
        config = VoxtralRealtimeConfig(
            text_config={
                "model_type": "voxtral_realtime_text",
                "head_dim": getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
                **sizes,
            },
            audio_config={
                "model_type": "voxtral_realtime_encoder",
                "hidden_size": encoder.d_model,
                "intermediate_size": encoder.encoder_ffn_dim,
                "num_hidden_layers": encoder.encoder_layers,
                "num_attention_heads": encoder.encoder_attention_heads,
                "head_dim": encoder.d_model // encoder.encoder_attention_heads,
                "num_mel_bins": encoder.num_mel_bins,
            },
            tie_word_embeddings=text.tie_word_embeddings,
        )
        model = VoxtralRealtimeForConditionalGeneration(config).eval()
        self.model = model.to(systems.device, getattr(torch, systems.float_dtype))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Before the first sound: the prompt, and silence."""
        self._state: dict[str, object] = {}
        self._token = torch.zeros(1, self._steps_before + self.delay_steps, dtype=torch.long, device=self.model.device)
        self._step(self._token.shape[1])

    @torch.no_grad()
    def listen(self, seconds: float) -> None:
        """Takes one step after the other for so much audio; what is said in it does not change how long that takes."""
        for _ in range(round(100 * seconds / self.frames_per_step)):
            self._step(1)

    def finish(self) -> None:
        """The steps after the end of speech, until its last word is written down."""
        self.listen((self.delay_steps + 1) * self.frames_per_step / 100)

    def _step(self, steps: int) -> None:
        mels = self.model.config.audio_config.num_mel_bins
        features = torch.zeros(1, mels, steps * self.frames_per_step, device=self.model.device, dtype=self.model.dtype)
        output = self.model(
            input_ids=self._token,
            input_features=features,
            use_cache=True,
            num_delay_tokens=self.delay_steps,
            logits_to_keep=1,
            **self._state,
        )
        self._state = {name: output[name] for name in (CACHE_ARGUMENT, "encoder_cache", "padding_cache")}
        self._token = output.logits[:, -1:].argmax(-1)
