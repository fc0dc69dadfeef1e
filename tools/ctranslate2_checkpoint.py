"""Reads a CTranslate2 `model.bin` and renames the tensors of a Whisper model to those of transformers.

Layout of `model.bin`, all little-endian (source: `ctranslate2/specs/model_spec.py`, `ModelSpec._serialize`):

    uint32 binary version (6 here) | string spec name | uint32 spec revision
    uint32 number of tensors, then for each: string name | uint8 rank | uint32 dimensions[rank] | uint8 dtype | uint32 bytes | data
    uint32 number of aliases, then for each: string alias | string name of the tensor it stands for

A string is a uint16 length (the closing zero byte counted) and that many bytes.
"""

import re
import struct
from typing import BinaryIO

import numpy as np


SUPPORTED_BINARY_VERSION = 6
# Index = CTranslate2's own number of the type (`ctranslate2/specs/model_spec.py`); 5, bfloat16, does not occur in these models.
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)

LAYER_PARTS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
# CTranslate2 stacks the projections that read the same input, in this order.
FUSED_LAYER_PARTS = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
TOP_LEVEL_TENSORS = {
    "encoder/conv1/weight": "model.encoder.conv1.weight",
    "encoder/conv1/bias": "model.encoder.conv1.bias",
    "encoder/conv2/weight": "model.encoder.conv2.weight",
    "encoder/conv2/bias": "model.encoder.conv2.bias",
    "encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
    "encoder/layer_norm/gamma": "model.encoder.layer_norm.weight",
    "encoder/layer_norm/beta": "model.encoder.layer_norm.bias",
    "decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
    "decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
    "decoder/layer_norm/gamma": "model.decoder.layer_norm.weight",
    "decoder/layer_norm/beta": "model.decoder.layer_norm.bias",
}
# Facts about the architecture that transformers keeps in its config or in its code.
SETTINGS = {
    "encoder/num_heads",
    "decoder/num_heads",
    "decoder/activation",
    "decoder/alibi",
    "decoder/alibi_use_positive_positions",
    "decoder/alignment_heads",
    "decoder/alignment_layer",
    "decoder/pre_norm",
    "decoder/scale_alibi",
    "decoder/scale_embeddings",
    "decoder/start_from_zero_embedding",
}
PARAMETER_NAMES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


class CTranslate2FormatError(ValueError):
    """The file is not the CTranslate2 Whisper checkpoint that this module knows how to read."""


def read_ctranslate2_tensors(file: BinaryIO, expected_spec: str = "WhisperSpec") -> dict[str, np.ndarray]:
    """The named tensors of a `model.bin`, aliases included (they share memory with the tensor they stand for).

    Raises [`CTranslate2FormatError`] for another version or spec, an unknown type, and a file that is too short or too long.
    """
    version = _read_integer(file, "<I")
    if version != SUPPORTED_BINARY_VERSION:
        raise CTranslate2FormatError(f"binary version {version}, expected {SUPPORTED_BINARY_VERSION}")
    spec = _read_string(file)
    if spec != expected_spec:
        raise CTranslate2FormatError(f"a checkpoint of {spec!r}, expected {expected_spec!r}")
    _read_integer(file, "<I")  # the spec's revision: layouts of Whisper are the same in all of them

    tensors: dict[str, np.ndarray] = {}
    for _ in range(_read_integer(file, "<I")):
        name = _read_string(file)
        shape = tuple(_read_integer(file, "<I") for _ in range(_read_integer(file, "<B")))
        dtype_number = _read_integer(file, "<B")
        if dtype_number >= len(DTYPES):
            raise CTranslate2FormatError(f"tensor {name!r} has type {dtype_number}, known are 0 to {len(DTYPES) - 1}")
        dtype = np.dtype(DTYPES[dtype_number])
        num_bytes = _read_integer(file, "<I")
        if num_bytes != dtype.itemsize * int(np.prod(shape)):
            raise CTranslate2FormatError(
                f"tensor {name!r} of shape {shape} and type {dtype} says it has {num_bytes} bytes"
            )
        tensors[name] = np.frombuffer(_read_bytes(file, num_bytes), dtype=dtype.newbyteorder("<")).reshape(shape)
    for _ in range(_read_integer(file, "<I")):
        alias = _read_string(file)
        tensors[alias] = tensors[_read_string(file)]
    if file.read(1):
        raise CTranslate2FormatError("bytes are left over after the last alias")
    return tensors


def whisper_state_dict(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict of `WhisperForConditionalGeneration` from the tensors of [`read_ctranslate2_tensors`], in float32.

    float16 to float32 is exact, so nothing is lost. Every tensor is used or known to be a setting; any other name raises.
    The key projections have no bias in Whisper: CTranslate2's must be zero, and are dropped.
    """
    state_dict: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if name in SETTINGS or name == "decoder/projection/weight":  # the projection is tied to the embeddings
            continue
        if name in TOP_LEVEL_TENSORS:
            state_dict[TOP_LEVEL_TENSORS[name]] = tensor.astype(np.float32)
            continue
        match = re.fullmatch(r"(encoder|decoder)/layer_(\d+)/(\w+/\w+)/(weight|bias|gamma|beta)", name)
        if match is None:
            raise CTranslate2FormatError(f"tensor {name!r} has no place in Whisper")
        stack, layer, part, parameter = match.groups()
        prefix, parameter = f"model.{stack}.layers.{layer}.", PARAMETER_NAMES[parameter]
        if part in LAYER_PARTS:
            state_dict[f"{prefix}{LAYER_PARTS[part]}.{parameter}"] = tensor.astype(np.float32)
        elif part in FUSED_LAYER_PARTS:
            projections = FUSED_LAYER_PARTS[part]
            for projection, piece in zip(projections, np.split(tensor, len(projections)), strict=True):
                if projection.endswith("k_proj") and parameter == "bias":
                    if np.any(piece):
                        raise CTranslate2FormatError(f"tensor {name!r} holds a key bias; Whisper has none")
                    continue
                state_dict[f"{prefix}{projection}.{parameter}"] = piece.astype(np.float32)
        else:
            raise CTranslate2FormatError(f"tensor {name!r} has no place in Whisper")
    return state_dict


def whisper_sizes(tensors: dict[str, np.ndarray]) -> dict[str, int]:
    """The sizes of the model as arguments of `WhisperConfig`, read off the tensors."""

    def count_layers(stack: str) -> int:
        return len(
            {name.split("/")[1] for name in tensors if name.startswith(f"{stack}/layer_") and name.count("/") > 2}
        )

    vocab_size, width = tensors["decoder/embeddings/weight"].shape
    feed_forward = tensors["encoder/layer_0/ffn/linear_0/weight"].shape[0]
    return {
        "vocab_size": vocab_size,
        "d_model": width,
        "num_mel_bins": tensors["encoder/conv1/weight"].shape[1],
        "encoder_layers": count_layers("encoder"),
        "decoder_layers": count_layers("decoder"),
        "encoder_attention_heads": int(tensors["encoder/num_heads"]),
        "decoder_attention_heads": int(tensors["decoder/num_heads"]),
        "encoder_ffn_dim": feed_forward,
        "decoder_ffn_dim": feed_forward,
        "max_source_positions": tensors["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": tensors["decoder/position_encodings/encodings"].shape[0],
    }


def _read_bytes(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise CTranslate2FormatError(f"the file ends early: {count} bytes wanted, {len(data)} left")
    return data


def _read_integer(file: BinaryIO, layout: str) -> int:
    return struct.unpack(layout, _read_bytes(file, struct.calcsize(layout)))[0]


def _read_string(file: BinaryIO) -> str:
    return _read_bytes(file, _read_integer(file, "<H")).rstrip(b"\0").decode()
