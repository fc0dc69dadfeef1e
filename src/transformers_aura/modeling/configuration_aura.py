"""Configuration of an AuRA student: the base LLM it sits on, its audio patch embedding and its LoRA."""

# No `from __future__ import annotations` here: `@strict` checks field types at run time and needs the real ones.
import os
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import CONFIG_NAME

from ..auto_map import auto_map, loads_by_itself
from ..decoding.alphabet import CharacterAlphabet
from ..decoding.config import DecodingConfig
from ..hub_access import explained
from ..processing.arguments import one_of, real_number, whole_number
from ..repo_files import naming_damaged_files
from .language_models import check_language_model_supported, lora_target_modules_of


_MOST = {
    "num_mel_bins": 1_024,
    "sampling_rate": 1_000_000,
    "hop_length": 1_000_000,
    "n_fft": 1_000_000,
    "frames_per_token": 1_024,
    "frames_per_step": 1_024,
    "conv_width": 65_536,
    "conv_blocks": 1_024,
}
"""The largest values of audio settings: beyond them a config was damaged."""

_MOST_LORA_SCALING = 1_000
"""`lora_alpha` divided by `lora_rank`."""

_SMALLEST_LIMIT_OF_LORA_RANK = 1_024
"""A rank may be as large as the LLM is wide, and this large in any case."""


@strict
class AuraAudioConfig(PreTrainedConfig):
    r"""
    The audio side of an AuRA student: what one audio token sees and which audio tokens see each other.

    Args:
        num_mel_bins (`int`, defaults to 80):
            Mel bins of a log-mel frame (80 or 128, as in the Whisper family).
        sampling_rate (`int`, defaults to 16000):
            Sampling rate in hertz of the waveforms that the features come from.
        hop_length (`int`, defaults to 160):
            Samples between two frames; at 16 kHz this is 10 ms, hence 100 frames a second.
        n_fft (`int`, defaults to 400):
            Samples that a frame sees; at 16 kHz these are 25 ms.
        frames_per_token (`int`, defaults to 8):
            Frames in one audio token; 8 gives 12.5 audio tokens a second, 4 gives 25, 16 gives 6.25.
        patch_embedding (`"conv"` or `"linear"`, defaults to `"conv"`):
            `"conv"`: Whisper's stem layout (two convolutions), then groups of its outputs.
            `"linear"`: one linear layer on the frames of a token.
        conv_width (`int`, defaults to 384):
            Channels of the convolutions. Equal to the teacher's width, the stem can start from the teacher's.
        frames_per_step (`int`, defaults to 2):
            Frames from one output of the stem to the next: 2 is Whisper's (50 steps a second), 4 gives 25 and half of the work
            in all blocks behind it, 8 gives 12.5. It divides `frames_per_token`. `"conv"` only.
        conv_blocks (`int`, defaults to 0):
            Residual convolutions between the stem and the grouping. `"conv"` only.
        conv_block_type (`"causal"` or `"kernel"`, defaults to `"causal"`):
            `"causal"`: depthwise-separable convolutions in ConvNeXt's layout (arXiv 2201.03545), each sees 140 ms of the past.
            `"kernel"`: layers of a Whisper encoder with a fixed kernel over relative time in place of attention; each
            sees 0.48 s of the past and up to 0.32 s ahead (at 100 frames a second), but not past the end of its block of audio.
        tokens_per_block (`int` or `None`, defaults to 8):
            Length of a block of audio tokens. Tokens see each other within a block; blocks see earlier blocks only. 8 tokens are
            0.64 s at 12.5 tokens a second; 1 is causal attention; `None` (in a recipe: `clip`) makes a whole clip one block.
        rms_norm_eps (`float`, defaults to 1e-6):
            Epsilon of the norm that ends the patch embedding.

    Example:
        >>> AuraAudioConfig(frames_per_token=16).tokens_per_second
        6.25
    """

    model_type = "aura_audio"
    base_config_key = "audio_config"

    num_mel_bins: int = 80
    sampling_rate: int = 16000
    hop_length: int = 160
    n_fft: int = 400
    frames_per_token: int = 8
    frames_per_step: int = 2
    patch_embedding: Literal["conv", "linear"] = "conv"
    conv_width: int = 384
    conv_blocks: int = 0
    conv_block_type: Literal["causal", "kernel"] = "causal"
    tokens_per_block: int | None = 8
    rms_norm_eps: float = 1e-6

    def __post_init__(self, **kwargs: Any) -> None:
        for name, at_most in _MOST.items():
            whole_number(name, getattr(self, name), at_least=0 if name == "conv_blocks" else 1, at_most=at_most)
        real_number("rms_norm_eps", self.rms_norm_eps, above=0.0, at_most=1.0)
        if self.conv_blocks and self.patch_embedding != "conv":
            raise ValueError(
                f"`conv_blocks` must be 0 for the linear patch embedding, which has no stem; got {self.conv_blocks}."
            )
        if self.patch_embedding == "conv" and self.frames_per_token % self.frames_per_step:
            raise ValueError(
                f"`frames_per_token` must be a multiple of `frames_per_step` for the convolutional patch embedding (its stem makes one step of so "
                f"many frames), got {self.frames_per_token} and {self.frames_per_step}. Change one of them, or use "
                '`patch_embedding="linear"`.'
            )
        if self.tokens_per_block is not None:  # None = the whole clip
            whole_number("tokens_per_block", self.tokens_per_block)
        super().__post_init__(**kwargs)

    @property
    def frames_per_second(self) -> float:
        """Log-mel frames a second."""
        return self.sampling_rate / self.hop_length

    @property
    def tokens_per_second(self) -> float:
        """Audio tokens a second."""
        return self.frames_per_second / self.frames_per_token


@loads_by_itself
@strict
class AuraConfig(PreTrainedConfig):
    r"""
    Configuration of [`AuraModel`] and [`AuraForSpeechQA`].

    With `base_model` set it describes a *compact* student: the base LLM's weights live in their own repo, this one
    holds only the LoRA, the audio patch embedding and, if there are any, the CTC heads of `transcribe`. Without, it describes a plain checkpoint that holds everything.

    Args:
        text_config (`PreTrainedConfig` or `dict`): configuration of the base LLM, of a supported family.
        audio_config (`AuraAudioConfig` or `dict`): the audio patch embedding.
        audio_token_id (`int`): token id that stands for one audio position; where audio is given it is never looked up in the LLM's embedding.
            By default the first id beyond the vocabulary; a new student has one inside, where there is one to spare
            (see [`~processing.audio_tokens.choose_audio_token`]).
        base_model (`str`, *optional*): hub id or folder of the base LLM.
        base_revision (`str`, *optional*): commit, branch or tag of `base_model`.
        base_gguf_file (`str`, *optional*): name of the GGUF file inside `base_model`, for a base of that format.
        base_fingerprint (`str`, *optional*): samples of the base LLM's weights; loading onto another base is an error.
        lora_rank (`int`, defaults to 64): rank of every LoRA pair; 0 = no LoRA (a merged checkpoint).
        lora_alpha (`float`, *optional*): LoRA scaling numerator, `lora_rank` when not given.
        lora_num_layers (`int`, *optional*): number of decoder layers with LoRA, from the first; two thirds of them, rounded
            up, by default.
        lora_target_modules (`list[str]`, *optional*): names of the adapted linear layers. Default: every attention and MLP
            projection of the family.
        lora_dropout (`float`, defaults to 0.0): dropout on the input of LoRA, in training.
        lora_scope (`"rows"`, `"audio"` or `"always"`, defaults to `"rows"`): where LoRA acts. `"rows"`: on every
            position of a row that has audio, never in a row without. `"audio"`: on audio positions only, so that
            decoding is the bare LLM. `"always"`: everywhere, as in a merged checkpoint.
        subword_ctc_layer (`int`, *optional*): the depth at which a [`SubwordCTCHead`] predicts the transcript's tokens from the audio
            positions: `n` = after the first `n` decoder layers. Default: no such head.
        character_ctc_alphabet (`str`, *optional*): the characters that a [`CharacterCTCHead`] predicts from the audio patch embeddings, a space first, such as
            `" abcdefghijklmnopqrstuvwxyz'"`. Default: no such head. The beam search of `transcribe` needs this head; greedy decoding needs either CTC head.
        answer_from (`"audio"` or `"transcript"`, defaults to `"audio"`): how a pipeline answers by default. `"audio"`: the student answers
            the recording directly. `"transcript"`: the transcript replaces the audio, and the base LLM answers; needs a CTC head.
        decoding_config (`dict`, *optional*): settings of [`~transformers_aura.decoding.config.DecodingConfig`] that differ from its defaults.
        tie_word_embeddings (`bool`): that of `text_config`, whatever is given.

    Example:

    ```python
    >>> config = AuraConfig.from_pretrained("aura-smollm2-135m")
    >>> config.lora_num_layers, config.audio_config.tokens_per_block
    (18, 32)
    ```
    """

    model_type = "aura"
    sub_configs = {"text_config": AutoConfig, "audio_config": AuraAudioConfig}

    # given as a config, a dict or nothing; always a config afterwards
    text_config: Any = None
    audio_config: Any = None
    audio_token_id: int | None = None
    base_model: str | None = None
    base_revision: str | None = None
    base_gguf_file: str | None = None
    base_fingerprint: str | None = None
    lora_rank: int = 64
    # these three are resolved when not given: a config always holds their values
    lora_alpha: Any = None
    lora_num_layers: Any = None
    lora_target_modules: Any = None
    lora_dropout: float | int = 0.0
    lora_scope: Literal["rows", "audio", "always"] = "rows"
    subword_ctc_layer: int | None = None
    character_ctc_alphabet: str | None = None
    answer_from: Literal["audio", "transcript"] = "audio"
    decoding_config: dict[str, Any] | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.text_config is None:
            if self.base_model is not None:
                raise ValueError(f"`text_config` is missing: the settings of the base LLM {self.base_model}.")
            self.text_config = AutoConfig.for_model("qwen2")
        elif isinstance(self.text_config, dict):
            values = dict(self.text_config)
            self.text_config = AutoConfig.for_model(values.pop("model_type", "qwen2"), **values)
        check_language_model_supported(self.text_config)
        _check_numbers("text_config", self.text_config.to_dict())
        if self.audio_config is None:
            self.audio_config = AuraAudioConfig()
        elif isinstance(self.audio_config, dict):
            self.audio_config = AuraAudioConfig(**self.audio_config)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        if self.audio_token_id is None:
            self.audio_token_id = self.text_config.vocab_size
        whole_number("audio_token_id", self.audio_token_id, at_least=0)
        self._resolve_lora_settings()
        self._check_decoding()
        super().__post_init__(**kwargs)
        self.auto_map = auto_map()  # whatever the file said: the one that is saved with it

    def _resolve_lora_settings(self) -> None:
        num_layers = self.text_config.num_hidden_layers
        largest_rank = max(self.text_config.hidden_size, _SMALLEST_LIMIT_OF_LORA_RANK)
        whole_number("lora_rank", self.lora_rank, at_least=0, at_most=largest_rank)  # 0 = no LoRA
        if self.lora_alpha is None:
            self.lora_alpha = self.lora_rank
        if self.lora_rank:
            real_number("lora_alpha", self.lora_alpha, above=0.0, at_most=_MOST_LORA_SCALING * self.lora_rank)
        dropout = real_number("lora_dropout", self.lora_dropout, at_least=0.0)
        if dropout >= 1:
            raise ValueError(f"`lora_dropout` must be below 1, got {dropout}.")
        if self.lora_num_layers is None:
            self.lora_num_layers = -(-2 * num_layers // 3)
        whole_number("lora_num_layers", self.lora_num_layers, at_least=1, at_most=num_layers)
        known = lora_target_modules_of(self.text_config)
        if self.lora_target_modules is None:
            self.lora_target_modules = list(known)
        names = self.lora_target_modules
        unknown = names if not isinstance(names, list) else [name for name in names if name not in known]
        if unknown or not names or len(set(names)) < len(names):
            raise ValueError(
                f"`lora_target_modules` must be a list of linear layers of {self.text_config.model_type}, each once; got {names}. "
                f"It has {', '.join(known)}."
            )

    def _check_decoding(self) -> None:
        num_layers = self.text_config.num_hidden_layers
        if self.subword_ctc_layer is not None and not 0 <= self.subword_ctc_layer <= num_layers:
            raise ValueError(
                f"`subword_ctc_layer` must lie between 0 and the LLM's {num_layers} layers, got {self.subword_ctc_layer}."
            )
        if self.character_ctc_alphabet is not None:
            CharacterAlphabet(self.character_ctc_alphabet)  # raises where it is none
        if self.answer_from == "transcript" and not self.can_transcribe:
            raise ValueError(
                '`answer_from="transcript"` needs a CTC head: `subword_ctc_layer` and `character_ctc_alphabet` are None.'
            )
        DecodingConfig.from_dict(self.decoding_config)  # raises where a setting is none

    @property
    def can_transcribe(self) -> bool:
        """Whether the student has a CTC head, which `transcribe` reads."""
        return self.subword_ctc_layer is not None or self.character_ctc_alphabet is not None

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in [`PreTrainedConfig`].

        Raises:
            HubAccessError: the Hub refused, or cannot be reached.
            ValueError: what is there is no student, or its config.json is damaged.
        """
        name = pretrained_model_name_or_path
        place = {key: kwargs[key] for key in ("cache_dir", "revision", "subfolder") if key in kwargs}
        with explained(name, kwargs), naming_damaged_files(name, (CONFIG_NAME,), **place):
            found, unused = super().get_config_dict(name, **kwargs)
            kind = found.get("model_type")
        if kind != cls.model_type:
            holds = "no config.json" if kind is None else f"a model of type '{kind}'"
            raise ValueError(
                f"{name} holds {holds}, so it is no AuRA student (those have the model type '{cls.model_type}')."
            )
        return found, unused

    @classmethod
    def from_text_audio_configs(
        cls, text_config: PreTrainedConfig, audio_config: AuraAudioConfig, **kwargs: Any
    ) -> "AuraConfig":
        """Configuration of a student out of its two parts.

        Args:
            text_config: of the LLM.
            audio_config: of the patch embedding.
            kwargs: further fields of this class.

        Returns:
            the configuration.
        """
        return cls(text_config=text_config.to_dict(), audio_config=audio_config.to_dict(), **kwargs)

    @property
    def audio_token_is_in_vocabulary(self) -> bool:
        """Whether the LLM has a token with the id of the audio token."""
        return self.audio_token_id < self.text_config.vocab_size

    @property
    def is_compact(self) -> bool:
        """Whether the base LLM's weights live in their own repo and only the adapter is saved here."""
        return self.base_model is not None


_POSITIVE = ("rms_norm_eps", "rope_theta")
_SWITCHES = (".output_hidden_states", ".output_attentions", ".use_cache")


def _check_numbers(name: str, value: Any) -> None:
    """Raises `ValueError` for a number in a config, at any depth, that is NaN or infinite, or not positive where it must be, and for a switch that
    is none."""
    if isinstance(value, dict | list | tuple):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(f"{name}.{key}", entry)
    elif name.endswith(_POSITIVE):
        real_number(name, value, above=0.0)
    elif name.endswith(_SWITCHES):
        one_of(name, value, (True, False, None))
    elif isinstance(value, float):
        real_number(name, value)


__all__ = ["AuraAudioConfig", "AuraConfig"]
