import pytest
import torch
from transformers import (
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
    set_seed,
)

from tests.support.tiny import STRING_CHAT_TEMPLATE, tiny_tokenizer, tone
from tests.support.tiny_voxtral import save_tiny_voxtral
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


def test_a_template_of_strings_gets_the_audio_within_the_text(qwen2_audio):
    """As Granite Speech's chat template, which knows no parts."""
    parts = NativeAudioSystem(str(qwen2_audio), dtype="float32")
    strings = NativeAudioSystem(str(qwen2_audio), dtype="float32")
    strings.processor.chat_template = STRING_CHAT_TEMPLATE
    assert parts._takes_parts
    assert not strings._takes_parts
    requests = [Request(tone(0.5), "answer", "Who?"), Request(tone(0.9, 300), "answer", "Who?")]
    inputs = strings._inputs([[{"role": "user", "content": [{"type": "audio", "audio": tone(0.5)}]}]])
    audio_token = strings.processor.tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    assert (inputs["input_ids"] == audio_token).sum() > 1, "as many tokens as the clip is long"
    together = strings.answer(requests)
    assert [answer.text for answer in together] == [strings.answer([request])[0].text for request in requests]


def test_voxtral_hears_files(tmp_path):
    pytest.importorskip("mistral_common")
    system = NativeAudioSystem(str(save_tiny_voxtral(tmp_path / "voxtral")), dtype="float32")
    requests = [Request(tone(0.5), "answer"), Request(tone(0.9, 300), "answer")]
    together = system.answer(requests)
    assert [answer.text for answer in together] == [system.answer([request])[0].text for request in requests]
    assert system.answer([Request(tone(0.5), "answer", "Who?")]) != together[:1]
