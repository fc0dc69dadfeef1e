import pytest
import torch
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
    set_seed,
)

from tests.support.tiny import tiny_tokenizer, tone
from transformers_aura.evaluation.systems import NativeAudioSystem, Request


TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message['role'] }}\n"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_bos|><|AUDIO|><|audio_eos|>\n{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)


@pytest.fixture(scope="module")
def qwen2_audio(tmp_path_factory):
    """A random Qwen2-Audio, as an ordinary folder."""
    folder = tmp_path_factory.mktemp("qwen2-audio")
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]})
    processor = Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer, chat_template=TEMPLATE)
    processor.save_pretrained(folder)
    set_seed(0)
    audio = {
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "num_mel_bins": 80,
    }
    text = {
        "model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "intermediate_size": 16, "vocab_size": len(tokenizer),
    }  # fmt: skip
    config = Qwen2AudioConfig(
        audio_config=audio, text_config=text, audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    )
    model = Qwen2AudioForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.3)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return folder


def test_an_audio_llm_of_transformers_answers_in_a_batch_as_alone(qwen2_audio):
    system = NativeAudioSystem(str(qwen2_audio), dtype="float32")
    assert system.name == qwen2_audio.name
    requests = [Request(tone(0.5, 300), "answer"), Request(tone(0.9, 500), "answer")]
    together = system.answer(requests)
    alone = [system.answer([request])[0] for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(answer.confidence is not None for answer in together)
    assert system.identity["kind"] == "native"


def test_a_written_question_is_read(qwen2_audio):
    system = NativeAudioSystem(str(qwen2_audio), "native", dtype="float32")
    asked = system.answer([Request(tone(0.5), "answer", "Who is it?")])
    assert system.name == "native"
    assert asked != system.answer([Request(tone(0.5), "answer")])
