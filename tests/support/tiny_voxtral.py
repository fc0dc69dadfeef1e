"""A random Voxtral of a few thousand parameters, with a Mistral tokenizer of 256 bytes, as an ordinary folder."""

import base64
import json
from pathlib import Path

import torch
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, WhisperFeatureExtractor, set_seed


# In the order in which Mistral's tokenizers number them; the gaps hold what no test needs.
_SPECIAL_TOKENS = {
    0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 5: "[AVAILABLE_TOOLS]", 6: "[/AVAILABLE_TOOLS]", 7: "[TOOL_RESULTS]",
    8: "[/TOOL_RESULTS]", 9: "[TOOL_CALLS]", 10: "[IMG]", 11: "<pad>", 12: "[IMG_BREAK]", 13: "[IMG_END]", 14: "[PREFIX]",
    15: "[MIDDLE]", 16: "[SUFFIX]", 17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]", 19: "[TOOL_CONTENT]", 20: "[ARGS]",
    21: "[CALL_ID]", 24: "[AUDIO]", 25: "[BEGIN_AUDIO]", 31: "[TRANSCRIBE]",
}  # fmt: skip
_NUM_SPECIAL_TOKENS = 32
_AUDIO = {
    "sampling_rate": 16000,
    "frame_rate": 12.5,
    "chunk_length_s": 30.0,
    "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
}


def save_tiny_voxtral(folder: Path) -> Path:
    """Writes model, tokenizer and feature extractor into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [_SPECIAL_TOKENS.get(rank, f"[UNUSED_{rank}]") for rank in range(_NUM_SPECIAL_TOKENS)]
    tokenizer = {
        "config": {
            "pattern": r"\s+|\S+",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + _NUM_SPECIAL_TOKENS,
            "default_num_special_tokens": _NUM_SPECIAL_TOKENS,
            "version": "v11",
        },
        "vocab": [
            {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
            for byte in range(256)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(names)
        ],
        "audio": _AUDIO,
    }  # fmt: skip
    (folder / "tekken.json").write_text(json.dumps(tokenizer))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "VoxtralProcessor"}))
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    shared = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    text = {
        "model_type": "llama", "intermediate_size": 16, "num_key_value_heads": 2, "vocab_size": 256 + _NUM_SPECIAL_TOKENS,
        "pad_token_id": 11, "eos_token_id": 2, "bos_token_id": 1, **shared,
    }  # fmt: skip
    set_seed(0)
    model = VoxtralForConditionalGeneration(
        VoxtralConfig(
            audio_config={"intermediate_size": 64, "num_mel_bins": 128, **shared}, text_config=text, audio_token_id=24
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return folder
