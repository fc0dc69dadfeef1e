"""Counts from shapes, against counts by hand."""

from benchmarks.operations import (
    BYTES_PER_VALUE,
    CASCADE,
    LANGUAGE_MODEL,
    LORA,
    MERGED,
    PATCH_EMBEDDING,
    Parts,
    tables_of,
)
from benchmarks.peers import ENCODER, ULTRAVOX
from benchmarks.shapes import WHISPER_TINY_EN, Shapes, qwen_7b, whisper_config
from transformers_aura import AuraConfig
from transformers_aura.modeling.configuration_aura import AuraAudioConfig


def tiny_shapes() -> Shapes:
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = AuraConfig(
        text_config={**text, "model_type": "qwen2", "num_key_value_heads": 2, "vocab_size": 100},
        audio_config=AuraAudioConfig(conv_width=24),
        lora_rank=4,
        lora_num_layers=2,
    )
    return Shapes(
        "tiny", config, whisper_config({**WHISPER_TINY_EN, "d_model": 24, "encoder_ffn_dim": 48, "encoder_layers": 1})
    )


def test_operations_and_bytes_are_those_counted_by_hand():
    parts = Parts(tiny_shapes())
    counts, tokens = parts.operations(2.0), 25
    projections = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 48
    assert counts[LANGUAGE_MODEL] == 3 * (tokens * projections + 2 * tokens**2 * 32)
    convolutions = 200 * 3 * 80 * 24 + 100 * 3 * 24 * 24
    assert counts[PATCH_EMBEDDING] == convolutions + tokens * (4 * 24) * 32
    lora_of_layer = 2 * 4 * (32 + 32) + 2 * 4 * (32 + 16) + 3 * 4 * (32 + 48)
    assert counts[LORA] == tokens * 2 * lora_of_layer
    assert counts[MERGED] == counts[LANGUAGE_MODEL] + counts[PATCH_EMBEDDING]
    parts_of = [f"{layout.name}: encoder and projector" for layout in (ENCODER, ULTRAVOX)]
    assert counts[ENCODER.name] == counts[LANGUAGE_MODEL] + counts[parts_of[0]]
    assert counts[parts_of[0]] > 10 * counts[parts_of[1]]  # 30 s of encoder for 2 s of audio
    assert parts.cache_bytes(2.0)[MERGED] == 2 * 3 * 2 * 8 * BYTES_PER_VALUE * tokens
    weights = parts.weight_bytes()
    assert weights[CASCADE] > weights[ENCODER.name] > weights[MERGED] > weights[LANGUAGE_MODEL]


def test_a_padded_encoder_costs_the_same_up_to_a_whole_window():
    parts = Parts(tiny_shapes())
    counts = {seconds: parts._through_encoder(ENCODER, seconds) for seconds in (1.0, 30.0, 31.0)}
    assert counts[1.0] == counts[30.0] == counts[31.0] / 2


def test_tables_name_the_shapes(tmp_path):
    titles = [table.title for table in tables_of(tiny_shapes(), [3])]
    assert titles == ["Operations, tiny", "Weights, tiny", "Keys and values of the audio, tiny"]


def test_the_papers_llm_takes_the_layout_of_a_student(tmp_path):
    tiny_shapes().student.save_pretrained(tmp_path)
    shapes = qwen_7b(str(tmp_path))
    assert shapes.student.audio_config.conv_width == 1280
    assert shapes.student.lora_num_layers == round(28 * 2 / 3)
    assert shapes.student.text_config.hidden_size == 3584
