"""A student and its base LLM: composed, saved, loaded, mismatched."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType
from safetensors.torch import load as load_content
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import cached_file

from tests.support.fake_hub import FakeHub
from tests.support.published import STUDENT_ID, logits_of, publish_student
from tests.support.tiny_gguf import write_gguf
from tests.support.tiny_models import (
    randomise_adapter,
    save_tiny_language_model,
    tiny_student,
    tiny_transcriber,
)
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AdapterMismatchError, AuraConfig, AuraForSpeechQA, AuraModel, AuraProcessor
from transformers_aura.auto_map import STUB_FILE_NAME
from transformers_aura.decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.text_statistics import TextStatistics
from transformers_aura.repo_files import DamagedFileError


pytestmark = pytest.mark.numerical


@pytest.fixture
def saved(tmp_path):
    """A base LLM's folder and the compact folder of a student on it."""
    base = save_tiny_language_model(tmp_path / "base")
    tiny_student(base).save_pretrained(tmp_path / "student")
    return base, tmp_path / "student"


def inputs(student, tokens=6):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 60, (2, 14), generator=generator)
    ids[0, 3 : 3 + tokens] = student.config.audio_token_id
    return {"input_ids": ids, "input_features": torch.randn(1, tokens * 8, 80, generator=generator)}


@torch.no_grad()
def logits(student):
    return student(**inputs(student)).logits


def edit_weights(folder, edit):
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights), folder / "model.safetensors", metadata={"format": "pt"})


def test_the_saved_repo_is_small_and_loads_back_exactly(saved):
    base, folder = saved
    student = tiny_student(base)
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == {n for n, p in student.named_parameters() if p.requires_grad}
    assert not list(folder.glob("adapter_config.json"))  # it would hijack AutoModel
    loaded = AuraForSpeechQA.from_pretrained(folder)
    assert torch.equal(logits(loaded), logits(student))
    loaded.save_pretrained(folder.parent / "again")
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(folder.parent / "again")), logits(student))
    headless = AuraModel.from_pretrained(folder)
    with torch.no_grad():
        states = headless(**inputs(student)).last_hidden_state
    assert torch.equal(student.lm_head(states), logits(student))
    assert loaded.generation_config.to_dict() == student.generation_config.to_dict()


def test_dtype_and_loading_info(saved):
    _, folder = saved
    loaded, info = AuraForSpeechQA.from_pretrained(folder, dtype=torch.bfloat16, output_loading_info=True)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert not info["missing_keys"]


@pytest.mark.parametrize("compact", [True, False])
def test_without_a_name_the_weights_are_a_state_dict(saved, compact):
    student = tiny_student(saved[0])
    if not compact:
        student = student.merge()
    weights = student.state_dict()
    loaded = AuraForSpeechQA.from_pretrained(None, config=student.config, state_dict=weights)
    assert torch.equal(logits(loaded), logits(student))
    weights.pop("model.embed_audio.norm.weight")
    with pytest.raises(
        AdapterMismatchError, match=r"in `state_dict` do.* not fit `config`:\n  missing: .*embed_audio.norm.weight"
    ):
        AuraForSpeechQA.from_pretrained(None, config=student.config, state_dict=weights)
    with pytest.raises(ValueError, match="`config` and its weights as `state_dict`"):
        AuraForSpeechQA.from_pretrained(None, config=student.config)


def test_a_compact_student_keeps_the_size_of_its_vocabulary(saved):
    student = AuraForSpeechQA.from_pretrained(saved[1])
    size = student.config.text_config.vocab_size
    for new_size in ((size + 8,), (size - 8,), (None, 1000)):
        with pytest.raises(ValueError, match=f"keeps its {size} tokens"):
            student.resize_token_embeddings(*new_size)
    assert student.resize_token_embeddings(size).weight.shape[0] == size
    merged, folder = student.merge(), saved[1].parent / "larger"
    merged.resize_token_embeddings(size + 8)
    merged.save_pretrained(folder)
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(folder)), logits(merged))


def test_who_asks_for_the_report_reads_in_it_what_a_merged_checkpoint_lacks(saved):
    merged, folder = tiny_student(saved[0]).merge(), saved[1].parent / "merged"
    merged.save_pretrained(folder)
    edit_weights(
        folder, lambda w: {k: v for k, v in w.items() if "embed_audio.norm" not in k} | {"extra": torch.zeros(1)}
    )
    with pytest.raises(AdapterMismatchError, match=r"missing: .*embed_audio.norm.weight\n  unexpected: extra"):
        AuraForSpeechQA.from_pretrained(folder)
    _, report = AuraForSpeechQA.from_pretrained(folder, output_loading_info=True)
    assert report["missing_keys"] == {"model.embed_audio.norm.weight"}
    assert report["unexpected_keys"] == {"extra"}


@pytest.mark.parametrize("cls", [AuraForSpeechQA, AuraModel])
def test_weights_that_no_file_has_begin_as_in_a_new_student(cls, saved):
    """Initialised on the meta device, as the stock loader does, every kind of layer has the scale that it has when built."""
    heads = {"character_ctc_alphabet": LATIN_ALPHABET, "subword_ctc_layer": 1, "conv_blocks": 1}
    config = tiny_student(saved[0], **heads).config
    config.base_model, config.lora_rank = None, 0
    loaded, _ = cls.from_pretrained(None, config=config, state_dict={}, output_loading_info=True)
    for name, parameter in cls(config).named_parameters():
        found = loaded.get_parameter(name)
        assert found.mean().item() == pytest.approx(parameter.mean().item(), abs=0.2), name
        assert found.var(correction=0).item() == pytest.approx(parameter.var(correction=0).item(), rel=0.7), name


def test_new_student_starts_with_the_llms_own_scale_and_answers_text_as_it_does(tmp_path):
    base_folder = save_tiny_language_model(tmp_path, "llama")
    student = AuraForSpeechQA.from_language_model_pretrained(base_folder, lora_rank=4)
    embeddings = student.get_input_embeddings().weight
    audio = student.get_audio_features(torch.randn(1, 80, 80)).pooler_output
    assert audio.square().mean().sqrt().item() == pytest.approx(embeddings.square().mean().sqrt().item(), rel=0.1)
    assert student.config.lora_num_layers == 2
    assert student.config.base_model == str(base_folder)
    assert not student.training


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda w: {k: v for k, v in w.items() if "embed_audio.norm" not in k}, "missing: embed_audio.norm.weight"),
        (lambda w: w | {"model.embed_audio.extra": torch.zeros(1)}, "unexpected: embed_audio.extra"),
        (
            lambda w: {k: v.repeat(2, 1) if k.endswith("0.mlp.up_proj.lora_A.aura.weight") else v for k, v in w.items()},
            r"up_proj.lora_A.weight has shape \(8, 32\), the model's is \(4, 32\)",
        ),
    ],
)  # fmt: skip
def test_a_tensor_too_few_too_many_or_of_another_shape(saved, edit, message):
    edit_weights(saved[1], edit)
    with pytest.raises(AdapterMismatchError, match=message):
        AuraForSpeechQA.from_pretrained(saved[1])


def of_first(change):
    """An edit of the weights that changes a single tensor."""
    return lambda weights: weights | {(name := min(weights)): change(weights[name])}


def with_one(value):
    return of_first(lambda tensor: tensor.flatten().index_fill(0, torch.tensor([3]), value).view(tensor.shape))


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (with_one(float("nan")), "NaN, infinite or too large.*: embed_audio.conv1.bias"),
        (with_one(float("-inf")), "NaN, infinite or too large"),
        (of_first(lambda tensor: tensor.to(torch.int8)), "embed_audio.conv1.bias has the type int8"),
        (of_first(lambda tensor: tensor.bool()), "has the type bool"),
        (of_first(lambda tensor: tensor.to(torch.float8_e4m3fn)), "has the type float8_e4m3fn"),
        (of_first(lambda tensor: tensor.to(torch.complex64)), "has the type complex64"),
        (of_first(lambda tensor: tensor.double() + 1e300), "too large for the student's torch.float32"),
        (
            lambda w: w | {k.replace(".aura.", ".default."): v + 1 for k, v in w.items() if ".aura." in k},
            "holds more than one adapter: ",
        ),
    ],
)  # fmt: skip
def test_an_adapter_that_cannot_be_right(saved, edit, message):
    edit_weights(saved[1], edit)
    with pytest.raises(AdapterMismatchError, match=message):
        AuraForSpeechQA.from_pretrained(saved[1])


def test_too_large_for_a_shorter_format_is_an_error(saved):
    edit_weights(saved[1], with_one(1e6))
    AuraForSpeechQA.from_pretrained(saved[1], dtype=torch.bfloat16)
    with pytest.raises(AdapterMismatchError, match=r"too large for the student's torch\.float16"):
        AuraForSpeechQA.from_pretrained(saved[1], dtype=torch.float16)


@pytest.mark.parametrize("name", ["default", "task", None])
def test_the_name_that_peft_gave_the_adapter_does_not_matter(saved, name):
    """Students of earlier versions have `default` in it, PEFT's own files nothing."""
    expected = logits(AuraForSpeechQA.from_pretrained(saved[1]))
    edit_weights(saved[1], lambda w: {k.replace(".aura.", f".{name}." if name else "."): v for k, v in w.items()})
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(saved[1])), expected)


@pytest.mark.fault("loading")
def test_a_merged_checkpoint_that_cannot_be_right(saved, tmp_path):
    AuraForSpeechQA.from_pretrained(saved[1]).merge().save_pretrained(tmp_path / "merged")
    edit_weights(tmp_path / "merged", with_one(float("nan")))
    with pytest.raises(AdapterMismatchError, match=r"merged cannot be right: .* hold NaN"):
        AuraForSpeechQA.from_pretrained(tmp_path / "merged")


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"
HTML_PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


DAMAGES = {
    "cut off": lambda whole: whole[:-100],
    "a pointer": lambda whole: LFS_POINTER,
    "a page": lambda whole: HTML_PAGE,
    "empty": lambda whole: b"",
}


@pytest.fixture(scope="module")
def transcriber(tmp_path_factory):
    """A student with all files that one may have."""
    path = tmp_path_factory.mktemp("transcriber")
    tiny_transcriber(path)
    counted = TextStatistics.count(["a b"], [[1, 2]], CharacterAlphabet(LATIN_ALPHABET), 264, 5)
    counted.save(path / "student" / "text_statistics.safetensors")
    return path / "student"


@pytest.mark.fault("loading")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_student_is_named(transcriber, damage):
    def load():
        AuraForSpeechQA.from_pretrained(transcriber)
        AuraProcessor.from_pretrained(transcriber)

    load()
    for file in sorted(transcriber.iterdir()):
        if file.name == STUB_FILE_NAME:  # read where this package is not imported
            continue
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[damage](whole))
        if file.suffix == ".jinja" and damage == "cut off":  # may be a template still
            file.write_bytes(whole[:100])
        with pytest.raises(ValueError, match=re.escape(file.name)):
            load()
        file.write_bytes(whole)


@pytest.mark.fault("loading")
@pytest.mark.parametrize("damage", ["cut off", "a pointer", "a page"])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "generation_config.json", "tokenizer.json"])
def test_a_damaged_file_of_the_base_is_named(tmp_path, file, damage):
    base = save_tiny_language_model(tmp_path / "base")
    (base / file).write_bytes(DAMAGES[damage]((base / file).read_bytes()))
    with pytest.raises(DamagedFileError, match=file):
        AuraForSpeechQA.from_language_model_pretrained(base)
    if file.startswith(("config", "tokenizer")):
        with pytest.raises(DamagedFileError, match=file):
            AuraProcessor.from_language_model_pretrained(base)


@pytest.mark.fault("loading")
@pytest.mark.parametrize("damage", [lambda whole: whole[:-2000], lambda whole: whole[:100], lambda whole: HTML_PAGE])
def test_a_damaged_gguf_file_is_named(tmp_path, damage):
    folder = save_tiny_language_model(tmp_path / "folder", "llama", tie_word_embeddings=False)
    file = write_gguf(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "base.gguf")
    AuraForSpeechQA.from_language_model_pretrained(file, lora_rank=4).save_pretrained(tmp_path / "student")
    file.write_bytes(damage(file.read_bytes()))
    for load in (
        lambda: AuraForSpeechQA.from_pretrained(tmp_path / "student"),
        lambda: AuraForSpeechQA.from_language_model_pretrained(file),
        lambda: AuraProcessor.from_language_model_pretrained(file),
    ):
        with pytest.raises(DamagedFileError, match=r"base\.gguf"):
            load()


@pytest.mark.fault("loading")
def test_settings_of_which_no_llm_can_be_built_name_their_file(saved, tmp_path):
    folder = shutil.copytree(saved[1], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["pad_token_id"] = 10**12
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedFileError, match=rf"the config\.json of {folder} says cannot be used: .*[Pp]adding_idx"):
        AuraForSpeechQA.from_pretrained(folder)


def test_a_place_that_is_none_says_so(saved, tmp_path):
    with pytest.raises(NotADirectoryError, match=r"config\.json is a file"):
        AuraForSpeechQA.from_pretrained(saved[1] / "config.json")
    for place in (tmp_path / "nowhere", tmp_path / "nowhere.gguf", saved[1] / "config.json"):
        with pytest.raises(FileNotFoundError, match=rf"{place}, which is no folder and no \.gguf file"):
            AuraForSpeechQA.from_pretrained(saved[1], base_model_name_or_path=place)


def in_shards(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    (base / "model.safetensors").unlink()
    model.save_pretrained(base, max_shard_size="40KB")
    return base / "model.safetensors.index.json"


@pytest.mark.fault("loading")
def test_a_base_in_shards_is_read_if_it_is_whole_and_no_pickle(saved):
    base, folder = saved
    expected = logits(AuraForSpeechQA.from_pretrained(folder))
    index = in_shards(base)
    shard = sorted(set(json.loads(index.read_text())["weight_map"].values()))[1]
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(folder)), expected)
    content = (base / shard).read_bytes()
    (base / shard).write_bytes(content[:-10])
    with pytest.raises(DamagedFileError, match=f"{shard} has"):
        AuraForSpeechQA.from_pretrained(folder)
    (base / shard).unlink()
    with pytest.raises(FileNotFoundError, match=shard):
        AuraForSpeechQA.from_pretrained(folder)
    pickled = shard.replace(".safetensors", ".bin")
    torch.save(load_content(content), base / pickled)
    index.write_text(index.read_text().replace(shard, pickled))
    with pytest.raises(DamagedFileError, match=f"names {pickled}, which is no safetensors file"):
        AuraForSpeechQA.from_pretrained(folder)
    index.unlink()
    for path in base.glob("*.safetensors"):
        path.unlink()
    (base / pickled).rename(base / "pytorch_model.bin")
    for load in (
        lambda: AuraForSpeechQA.from_pretrained(folder),
        lambda: AuraForSpeechQA.from_pretrained(folder, use_safetensors=False),
        lambda: AuraForSpeechQA.from_language_model_pretrained(base),
        lambda: AuraForSpeechQA.from_language_model_pretrained(base, use_safetensors=False),
    ):
        with pytest.raises(ValueError, match="pickle"):
            load()


@pytest.mark.fault("loading")
def test_a_merged_checkpoint_of_pickles_is_refused(saved, tmp_path):
    merged = AuraForSpeechQA.from_pretrained(saved[1]).merge()
    merged.save_pretrained(tmp_path / "merged")
    torch.save(merged.state_dict(), tmp_path / "merged" / "pytorch_model.bin")
    AuraForSpeechQA.from_pretrained(tmp_path / "merged")
    (tmp_path / "merged" / "model.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"it has pytorch_model\.bin, a format \(pickle\)"):
        AuraForSpeechQA.from_pretrained(tmp_path / "merged")


@pytest.mark.fault("loading")
def test_a_base_whose_weights_are_nan_is_another_base(saved):
    edit_weights(
        saved[0], lambda w: {k: torch.full_like(v, float("nan")) if "q_proj" in k else v for k, v in w.items()}
    )
    with pytest.raises(AdapterMismatchError, match="their weights differ"):
        AuraForSpeechQA.from_pretrained(saved[1])


def test_an_adapter_is_one_file_and_may_have_a_variant(saved):
    base, folder = saved
    student = tiny_student(base)
    with pytest.raises(ValueError, match=r"`max_shard_size='20KB'` would cut the adapter .* into \d+ files"):
        student.save_pretrained(folder.parent / "shards", max_shard_size="20KB")
    student.save_pretrained(folder.parent / "large", max_shard_size="1MB")
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(folder.parent / "large")), logits(student))
    student.save_pretrained(folder.parent / "variant", variant="fp16")
    loaded = AuraForSpeechQA.from_pretrained(folder.parent / "variant", variant="fp16")
    assert torch.equal(logits(loaded), logits(student))
    with pytest.raises(
        FileNotFoundError, match=r"has no model\.safetensors, but model\.fp16\.safetensors\. Pass the `variant`"
    ):
        AuraForSpeechQA.from_pretrained(folder.parent / "variant")
    loaded.merge().save_pretrained(folder.parent / "merged", variant="fp16")
    AuraForSpeechQA.from_pretrained(folder.parent / "merged", variant="fp16")


@pytest.mark.fault("hub")
def test_a_file_that_is_not_the_hubs_is_refused(fake_hub: FakeHub, tmp_path):
    published = publish_student(fake_hub, tmp_path)

    def load():
        return AuraForSpeechQA.from_pretrained(STUDENT_ID), AuraProcessor.from_pretrained(STUDENT_ID)

    load()
    files = ["config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "processor_config.json"]
    for file in files:
        blob = Path(os.path.realpath(cached_file(STUDENT_ID, file)))
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + b" " + content[-1:] if file.endswith(".json") else content[:-1] + b"x")
        with pytest.raises(DamagedFileError, match=rf"{file} is not the file that was published.*Delete {blob}"):
            load()
        blob.unlink()
    assert torch.equal(logits_of(*load()), logits_of(published.model, published.processor))


def test_another_base_is_an_error(saved, tmp_path):
    base, folder = saved
    other = save_tiny_language_model(tmp_path / "other", seed=1)
    with pytest.raises(AdapterMismatchError, match="not the one that this adapter was trained on"):
        AuraForSpeechQA.from_pretrained(folder, base_model_name_or_path=other)
    elsewhere = shutil.copytree(base, tmp_path / "elsewhere")
    assert torch.equal(
        logits(AuraForSpeechQA.from_pretrained(folder, base_model_name_or_path=elsewhere)), logits(tiny_student(base))
    )
    shutil.rmtree(base)
    with pytest.raises(FileNotFoundError, match="base_model_name_or_path="):
        AuraForSpeechQA.from_pretrained(folder)


def test_a_fine_tune_of_the_base_is_another_base(saved, tmp_path):
    """Every weight moved by about a per cent, as fine-tuning does."""
    base, folder = saved
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.02 * torch.randn_like(parameter))
    shutil.copytree(base, tmp_path / "tuned")
    model.save_pretrained(tmp_path / "tuned")
    with pytest.raises(AdapterMismatchError, match="their weights differ"):
        AuraForSpeechQA.from_pretrained(folder, base_model_name_or_path=tmp_path / "tuned")


def test_the_base_in_another_dtype_is_the_same_base(saved, tmp_path):
    base, folder = saved
    for dtype in (torch.bfloat16, torch.float16):
        copy = shutil.copytree(base, tmp_path / str(dtype))
        AutoModelForCausalLM.from_pretrained(base).to(dtype).save_pretrained(copy)
        AuraForSpeechQA.from_pretrained(folder, base_model_name_or_path=copy)


def test_a_base_of_another_shape_is_an_error(saved, tmp_path):
    wide = save_tiny_language_model(tmp_path / "wide", hidden_size=64)
    with pytest.raises(AdapterMismatchError, match=r"its `hidden_size` is 64, in the student's config\.json it is 32"):
        AuraForSpeechQA.from_pretrained(saved[1], base_model_name_or_path=wide)


def test_unsupported_base_is_an_error_before_anything_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="Supported: qwen2"):
        AuraForSpeechQA.from_language_model_pretrained(tmp_path)


def test_misspelt_setting_of_a_new_student_is_an_error(tmp_path):
    base = save_tiny_language_model(tmp_path)
    with pytest.raises(TypeError, match="lora_ranks"):
        AuraForSpeechQA.from_language_model_pretrained(base, lora_ranks=4)
    with pytest.raises(ValueError, match="not both ways"):
        AuraForSpeechQA.from_language_model_pretrained(base, audio_config={}, tokens_per_block=1)


def test_meta_device_counts_parameters_without_memory(saved):
    config = AuraConfig.from_pretrained(saved[1])
    with torch.device("meta"):
        student = AuraForSpeechQA(config)
    expected = tiny_student(saved[0])
    assert {n: p.shape for n, p in student.named_parameters()} == {n: p.shape for n, p in expected.named_parameters()}
    assert all(parameter.is_meta for parameter in student.parameters())


def test_a_layer_with_lora_that_would_be_offloaded_is_an_error(saved, tmp_path):
    layers = {f"model.language_model.layers.{i}": "cpu" for i in range(3)}
    device_map = {
        "model.language_model.embed_tokens": "cpu", "model.language_model.norm": "cpu",
        "model.language_model.rotary_emb": "cpu", "model.embed_audio": "cpu", "lm_head": "cpu",
    }  # fmt: skip
    device_map |= layers | {"model.language_model.layers.1": "disk"}
    with pytest.raises(AdapterMismatchError, match="first 2 decoder layers on a device"):
        AuraForSpeechQA.from_pretrained(saved[1], device_map=device_map, offload_folder=tmp_path / "offload")


@pytest.mark.parametrize(
    ("special_tokens", "settings", "audio_token", "is_inside"),
    [
        ((), {}, "<|audio|>", False),
        ((), {"vocab_size": 512}, "<|audio|>", True),
        (("<unused0>", "<unused1>"), {}, "<unused1>", True),
        (("<empty_output>",), {}, "<empty_output>", True),
    ],
)
def test_student_and_processor_choose_the_same_audio_token(tmp_path, special_tokens, settings, audio_token, is_inside):
    save_tiny_language_model(tmp_path, special_tokens=special_tokens, **settings)
    student, processor = tiny_student(tmp_path), AuraProcessor.from_language_model_pretrained(tmp_path)
    assert processor.audio_token == audio_token
    assert processor.audio_token_id == student.config.audio_token_id
    assert student.config.audio_token_is_in_vocabulary is is_inside
    student.save_pretrained(tmp_path / "student")
    processor.save_pretrained(tmp_path / "student")
    loaded = AuraForSpeechQA.from_pretrained(tmp_path / "student"), AuraProcessor.from_pretrained(tmp_path / "student")
    assert loaded[0].config.audio_token_id == loaded[1].audio_token_id == processor.audio_token_id
    assert loaded[0].generation_config.suppress_tokens == student.generation_config.suppress_tokens


def test_the_placeholder_is_never_said(tmp_path):
    """A base with spare rows in its embedding: the placeholder's id falls into them, and the head could name it."""
    base = save_tiny_language_model(tmp_path / "base", vocab_size=512)
    student = tiny_student(base)
    assert student.config.audio_token_id < 512
    with torch.no_grad():
        student.lm_head.weight[student.config.audio_token_id] = student.lm_head.weight.abs().max() * 100
    student.save_pretrained(tmp_path / "student")
    tokens = student.generate(**inputs(student), max_new_tokens=10, do_sample=False)[:, 14:]
    assert student.config.audio_token_id not in tokens
    loaded = AuraForSpeechQA.from_pretrained(tmp_path / "student")
    assert loaded.generation_config.suppress_tokens == [student.config.audio_token_id]


def test_base_llm_from_a_gguf_file(tmp_path):
    """The same tiny llama as a folder and as a GGUF file: two students with the same weights."""
    folder = save_tiny_language_model(tmp_path / "folder", "llama", tie_word_embeddings=False)
    base = AutoModelForCausalLM.from_pretrained(folder)
    file = write_gguf(base, tmp_path / "base.gguf")
    student = AuraForSpeechQA.from_language_model_pretrained(file, lora_rank=4, dtype=torch.float32)
    assert AuraProcessor.from_language_model_pretrained(file).audio_token_id == student.config.audio_token_id
    randomise_adapter(student)
    ids = torch.randint(5, 60, (1, 12))
    with torch.no_grad():
        found, expected = student(input_ids=ids).logits, base(input_ids=ids).logits
    assert_equal_but_for_rounding(found, expected, num_terms(base, positions=12))
    student.save_pretrained(tmp_path / "student")
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(tmp_path / "student")), logits(student))


@pytest.fixture
def quantised(tmp_path):
    """A tiny llama: the original, a GGUF file of it in 4 bits, that file dequantised into a folder, a student of the folder."""
    original = save_tiny_language_model(
        tmp_path / "original", "llama", tie_word_embeddings=False, vocab_size=64, intermediate_size=64
    )
    (tmp_path / "gguf").mkdir()
    model = AutoModelForCausalLM.from_pretrained(original)
    file = write_gguf(model, tmp_path / "gguf" / "base.Q4_1.gguf", GGMLQuantizationType.Q4_1)
    dequantised = AuraForSpeechQA.from_language_model_pretrained(file, lora_rank=1, dtype=torch.float32)
    weights = dequantised.model.language_model.state_dict()
    model.model.load_state_dict({name: weights[name.replace("proj.weight", "proj.base_layer.weight")]
                                 if name.replace("proj.weight", "proj.base_layer.weight") in weights else weights[name]
                                 for name in model.model.state_dict()})  # fmt: skip
    model.lm_head.load_state_dict(dequantised.lm_head.state_dict())
    folder = shutil.copytree(original, tmp_path / "dequantised")
    model.save_pretrained(folder)
    student = tiny_student(folder)
    student.save_pretrained(tmp_path / "student")
    return original, file, folder, student


def test_a_gguf_file_and_its_dequantised_copy_are_the_same_base(quantised, tmp_path, fake_hub: FakeHub):
    """A student trained on a converted copy names the GGUF file on the Hub, and takes it from wherever it is."""
    original, file, folder, student = quantised
    commit = fake_hub.add_folder("org/tiny-gguf", file.parent)
    config = AuraConfig.from_pretrained(tmp_path / "student")
    config.base_model, config.base_revision, config.base_gguf_file = "org/tiny-gguf", commit, file.name
    config.save_pretrained(tmp_path / "student")
    for elsewhere in (None, folder, file, file.parent, "org/tiny-gguf"):
        loaded = AuraForSpeechQA.from_pretrained(tmp_path / "student", base_model_name_or_path=elsewhere)
        assert_equal_but_for_rounding(logits(loaded), logits(student), num_terms(student, positions=14))
        assert (loaded.config.base_model, loaded.config.base_gguf_file) == ("org/tiny-gguf", file.name)
    with pytest.raises(
        AdapterMismatchError, match=r"org/tiny-gguf base.Q4_1.gguf .* a quantised LLM .* is another base"
    ):
        AuraForSpeechQA.from_pretrained(tmp_path / "student", base_model_name_or_path=original)


def test_a_base_that_the_hub_does_not_give_says_what_to_pass(saved):
    config = AuraConfig.from_pretrained(saved[1])
    config.base_model = "org/nobody"
    config.save_pretrained(saved[1])
    with pytest.raises(FileNotFoundError, match=r"from org/nobody: .* `base_model_name_or_path=`, or --base-model"):
        AuraForSpeechQA.from_pretrained(saved[1])
