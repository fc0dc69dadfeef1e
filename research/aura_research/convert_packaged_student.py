"""Converts the packaged student, as an earlier version saved it, to today's names; its weights stay what they are, bit for bit.

python -m aura_research.convert_packaged_student hub_cards/aura-smollm2-135m
"""

import argparse
import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer

from transformers_aura import AuraConfig
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.processing.audio_tokens import AUDIO_TOKEN, choose_audio_token


RENAMED_TENSORS = {"token_head.": "subword_ctc_head.", "letter_head.": "character_ctc_head."}


def convert_weights(file: Path) -> None:
    """Renames the tensors of the heads."""
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for old, new in RENAMED_TENSORS.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, file, metadata=metadata)


DELETED_FIELDS = (
    "letter_ctc_weight",
    "transcript_ctc_weight",
    "question_lm_weight",
    "transcript_piece_seconds",
    "transcription_prompt",
    "spoken_question_prompt",
    "questions_by_ear",
)
"""What `generate` knew of prompts and of weights: `transcribe` has a `decoding_config` of its own."""


def convert_config(file: Path) -> None:
    """Renames the fields of the heads, and says in a word what questions are answered from."""
    config = json.loads(file.read_text(encoding="utf-8"))
    if "token_head_layer" in config:
        config["subword_ctc_layer"] = config.pop("token_head_layer")
    if config.pop("letter_head", False):
        config["character_ctc_alphabet"] = LATIN_ALPHABET
    if config.pop("answers_from_transcript", False):
        config["answer_from"] = "transcript"
    for field in DELETED_FIELDS:
        config.pop(field, None)
    file.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n", encoding="utf-8")


def convert_processor_config(file: Path) -> None:
    """Turns on the level control, with the settings that the packaged student was measured with."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config["feature_extractor"] |= {"max_gain_db": 30.0, "target_level_db": -25.0}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def convert_audio_token(folder: Path) -> None:
    """Gives a student whose audio token lies beyond its LLM's vocabulary one inside, as a new student has it. No weight belongs to that token."""
    if AuraConfig.from_pretrained(folder).audio_token_is_in_vocabulary:
        return
    tokenizer_file = folder / "tokenizer.json"
    tokenizer = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["content"] != AUDIO_TOKEN]
    tokenizer_file.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False), encoding="utf-8")
    of_the_llm = AutoTokenizer.from_pretrained(folder)
    audio_token = choose_audio_token(of_the_llm, AuraConfig.from_pretrained(folder).text_config)
    for name, value in {
        "config.json": {"audio_token_id": of_the_llm.convert_tokens_to_ids(audio_token)},
        "processor_config.json": {"audio_token": audio_token},
    }.items():
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(settings | value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    convert_config(folder / "config.json")
    convert_processor_config(folder / "processor_config.json")
    convert_weights(folder / "model.safetensors")
    convert_audio_token(folder)
