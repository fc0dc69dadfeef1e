"""Sizes of models without their weights: those of the student at hand, and those of the paper's, on Qwen2.5-7B beside Whisper-large-v3."""

from dataclasses import dataclass

from transformers import AutoConfig, Qwen2Config, WhisperConfig

from transformers_aura.modeling.configuration_aura import AuraConfig
from transformers_aura.package_data import resolve_student


WHISPER_TINY_EN = {
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "vocab_size": 51864,
}
WHISPER_LARGE_V3 = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "vocab_size": 51866,
}
QWEN_2_5_7B = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class Shapes:
    """
    A student and the Whisper that it is compared with.

    Attributes:
        name: for tables.
        student: its config.
        whisper: its config.
    """

    name: str
    student: AuraConfig
    whisper: WhisperConfig


def whisper_config(sizes: dict[str, int]) -> WhisperConfig:
    """Whisper of these sizes; its decoder is as large as its encoder."""
    decoder = {f"decoder_{name[8:]}": size for name, size in sizes.items() if name.startswith("encoder_")}
    return WhisperConfig(**sizes, **decoder)


def of_student(student: str) -> Shapes:
    """A packaged student, folder or Hub id, beside Whisper tiny.en."""
    config = AutoConfig.from_pretrained(resolve_student(student))
    return Shapes(student, config, whisper_config(WHISPER_TINY_EN))


def qwen_7b(student: str) -> Shapes:
    """The paper's LLM beside Whisper-large-v3: the patch embedding laid out as that of a student, as wide as that Whisper; LoRA as large in proportion."""
    config = AutoConfig.from_pretrained(resolve_student(student))
    text_config = Qwen2Config(**QWEN_2_5_7B)
    audio = {
        **config.audio_config.to_dict(),
        "conv_width": WHISPER_LARGE_V3["d_model"],
        "num_mel_bins": WHISPER_LARGE_V3["num_mel_bins"],
    }
    share = text_config.num_hidden_layers / config.text_config.num_hidden_layers
    large = AuraConfig(
        text_config=text_config,
        audio_config=audio,
        lora_rank=round(config.lora_rank * text_config.hidden_size / config.text_config.hidden_size),
        lora_num_layers=round(config.lora_num_layers * share),
    )
    return Shapes("Qwen2.5-7B", large, whisper_config(WHISPER_LARGE_V3))
