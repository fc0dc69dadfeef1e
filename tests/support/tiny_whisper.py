"""A random Whisper that writes letters, as an ordinary folder with processor and tokenizer."""

import json
from pathlib import Path

from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
    set_seed,
)


def save_writing_whisper(folder: Path) -> Path:
    """Takes windows of one second; English only."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", *"abcdefghijklmnop"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<|endoftext|>")
    set_seed(0)
    config = WhisperConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=1, bos_token_id=0,
        eos_token_id=0, pad_token_id=0, max_target_positions=256,
        max_source_positions=50,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    ends = {"eos_token_id": 0, "pad_token_id": 0, "bos_token_id": 0, "decoder_start_token_id": 1}
    model.generation_config = GenerationConfig(**ends, is_multilingual=False, no_timestamps_token_id=2, max_length=256)
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(chunk_length=1), tokenizer).save_pretrained(folder)
    return folder
