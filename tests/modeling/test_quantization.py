"""A student on a quantised base: what the stack allows, and a clear error for what it does not."""

import pytest
import torch
from transformers import AutoModel, BitsAndBytesConfig, TorchAoConfig
from transformers.quantizers.quantizers_utils import should_convert_module

from tests.support.tiny_models import save_tiny_language_model, tiny_student, tiny_transcriber
from transformers_aura import AdapterMismatchError, AuraForSpeechQA, AuraModel
from transformers_aura.modeling.adapter import ADAPTER_NAME
from transformers_aura.modeling.base_model import keep_audio_unquantised


def torchao_int8():
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed (extra `quantization`)")
    return TorchAoConfig(torchao.Int8WeightOnlyConfig())


def bitsandbytes_int8():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return BitsAndBytesConfig(load_in_8bit=True)


@pytest.fixture(params=[torchao_int8, bitsandbytes_int8])
def config(request):
    return request.param()


@pytest.fixture
def quantised(tmp_path, config):
    tiny_student(save_tiny_language_model(tmp_path / "base")).save_pretrained(tmp_path / "student")
    return AutoModel.from_pretrained(tmp_path / "student", quantization_config=config, dtype=torch.float32)


@pytest.mark.parametrize("cls", [AuraForSpeechQA, AuraModel])
def test_what_hears_is_not_quantised_by_the_names_that_transformers_compares(tmp_path, cls):
    tiny_transcriber(tmp_path)
    student = cls.from_pretrained(tmp_path / "student")
    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["o_proj"])
    keep_audio_unquantised(config)
    names = {
        name.removesuffix(".base_layer")  # there is no LoRA yet when the base LLM is loaded
        for name, module in student.named_modules()
        if type(module) is torch.nn.Linear and ".lora_" not in name
    }
    converted = {name for name in names if should_convert_module(name, config.llm_int8_skip_modules)}
    parts = {name.rpartition("layers.")[0].rstrip(".").removeprefix("model.") for name in converted}
    assert parts == {"language_model"}
    assert not [name for name in converted if "o_proj" in name]
    assert len(converted) == 3 * 6


def inputs(student):
    ids = torch.randint(5, 60, (1, 14), generator=torch.Generator().manual_seed(0))
    ids[0, 3:9] = student.config.audio_token_id
    return {"input_ids": ids, "input_features": torch.randn(1, 48, 80, generator=torch.Generator().manual_seed(1))}


@torch.no_grad()
def test_the_base_is_quantised_and_what_hears_is_not(quantised, tmp_path):
    full = AutoModel.from_pretrained(tmp_path / "student")
    layer = quantised.model.language_model.layers[0].self_attn.q_proj
    assert type(layer.base_layer.weight) is not torch.nn.Parameter
    for kept in (layer.lora_A[ADAPTER_NAME], quantised.model.embed_audio.proj, quantised.lm_head):
        assert type(kept.weight) is torch.nn.Parameter
    expected, found = full(**inputs(full)).logits, quantised(**inputs(full)).logits
    assert torch.nn.functional.cosine_similarity(expected, found, dim=-1).min() > 0.98
    assert quantised.generate(**inputs(full), max_new_tokens=3, do_sample=False).shape == (1, 17)


@torch.no_grad()
def test_saving_writes_the_same_adapter_and_nothing_quantised(quantised, tmp_path):
    quantised.save_pretrained(tmp_path / "again")
    again, full = (AutoModel.from_pretrained(tmp_path / name) for name in ("again", "student"))
    assert torch.equal(again(**inputs(full)).logits, full(**inputs(full)).logits)


def test_another_base_is_found_out_though_quantised(quantised, tmp_path, config):
    other = save_tiny_language_model(tmp_path / "other", seed=1)
    with pytest.raises(AdapterMismatchError, match="their weights differ"):
        AutoModel.from_pretrained(tmp_path / "student", base_model_name_or_path=other, quantization_config=config)


def test_merging_says_to_merge_before_quantising(quantised):
    with pytest.raises(ValueError, match="merge, then quantise"):
        quantised.merge()
