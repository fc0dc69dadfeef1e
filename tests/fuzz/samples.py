"""Samples in memory: arrays, tensors, lists and dicts of every type, shape and rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.chats import mostly
from transformers_aura import load_audio


DTYPES = ("float32", "float64", "float16", ">f4", "int16", ">i2", "<i4", "int8", "uint8", "uint16", "int64", "bool", "complex64", "object", "U3")  # fmt: skip
SHAPES = ((800,), (0,), (1,), (2, 800), (800, 2), (9, 800), (2, 2), (1, 800), (800, 1), (2, 2, 400), ())
VALUES = ("sine", "sine", "sine", "zeros", "nan", "infinite", "huge", "full scale")
FORMS = ("array", "array", "tensor", "list", "tuple", "nested list", "dict", "dict raw", "pair", "pair turned", "masked", "matrix", "memoryview")  # fmt: skip
GOOD_RATES = (
    16_000,
    16_000,
    8_000,
    44_100,
    48_000,
    16_000.0,
    np.int64(16_000),
    np.array(16_000),
    torch.tensor(16_000),
)
BAD_RATES = (None, 0, -1, 1, 999, 10**9, math.nan, math.inf, "16000", True, 16_000.5, b"16000", [16_000])  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Samples as somebody holds them."""

    dtype: str
    shape: tuple[int, ...]
    values: str
    form: str
    rate: Any

    def array(self) -> np.ndarray:
        count = int(np.prod(self.shape))
        wave = np.sin(np.arange(count) / 9) * 0.3
        if self.values == "zeros":
            wave[:] = 0
        elif self.values == "full scale":
            wave = np.sign(wave)
        elif self.values != "sine" and count:
            wave[count // 2] = {"nan": math.nan, "infinite": math.inf, "huge": 3e4}[self.values]
        dtype = np.dtype(self.dtype)
        with np.errstate(all="ignore"):
            if dtype.kind in "iu":
                limits = np.iinfo(dtype)
                middle = 0 if dtype.kind == "i" else (limits.max + 1) // 2
                wave = np.nan_to_num(wave) * (float(limits.max) - middle) + middle
                wave = np.clip(wave, limits.min, limits.max)
            return wave.astype(dtype).reshape(self.shape)

    def source(self) -> tuple[Any, Any]:
        """What is handed over, and the rate beside it."""
        array = self.array()
        match self.form:
            case "tensor":  # there are none of objects or text
                native = (
                    array.astype(array.dtype.newbyteorder("="))
                    if array.dtype.kind in "fiubc"
                    else array.astype("float32")
                )
                return torch.from_numpy(native), self.rate
            case "list":
                return array.reshape(-1).tolist(), self.rate
            case "tuple":
                return tuple(array.reshape(-1).tolist()), self.rate
            case "nested list":
                return array.tolist(), self.rate
            case "dict":
                return {"array": array, "sampling_rate": self.rate}, None
            case "dict raw":
                return {"raw": array, "sampling_rate": self.rate}, None
            case "pair":
                return (self.rate, array), None
            case "pair turned":
                return (array, self.rate), None
            case "masked":
                return np.ma.masked_array(array, mask=np.ones(array.shape, bool)), self.rate
            case "matrix":
                return np.asmatrix(array) if array.ndim <= 2 and array.ndim else array, self.rate
            case "memoryview":
                return memoryview(array.tobytes()), self.rate
        return array, self.rate


def strategy() -> st.SearchStrategy[Samples]:
    return st.builds(
        Samples,
        mostly(st.sampled_from(DTYPES[:9]), st.sampled_from(DTYPES[9:])),
        mostly(st.sampled_from(SHAPES), st.just((9, 800)), times=4),
        mostly(st.sampled_from(VALUES[:4]), st.sampled_from(VALUES[4:]), times=4),
        st.sampled_from(FORMS),
        mostly(st.sampled_from(GOOD_RATES), st.sampled_from(BAD_RATES)),
    )


def ask(samples: Samples) -> None:
    source, rate = samples.source()
    waveform = load_audio(source, rate)
    if samples.form in ("masked", "memoryview"):
        raise Silent(f"{samples.form} was read as samples")
    if waveform.dtype != np.float32 or waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise Silent(f"a waveform of {waveform.dtype}, shape {waveform.shape}")
    if samples.values in ("nan", "infinite", "huge") and np.dtype(samples.dtype).kind == "f":
        raise Silent(f"{samples.values} samples were read")
    as_numbers = (
        samples.form in ("list", "tuple", "nested list") and samples.dtype == "object"
    )  # of Python's own types
    as_floats = samples.form == "tensor" and samples.dtype in ("object", "U3")
    if (np.dtype(samples.dtype).kind not in "fiu" and not as_numbers and not as_floats) or not 1_000 <= float(
        samples.rate
    ) <= 768_000:
        raise Silent(f"{samples.dtype} at {samples.rate} Hz was read")
    expected = max(samples.shape, default=1) * 16_000 / float(samples.rate)
    flat = samples.form in ("list", "tuple")
    if not flat and abs(len(waveform) - expected) > 2:
        raise Silent(f"{len(waveform)} samples in place of {expected:.0f}")
    if (
        samples.values == "sine"
        and not flat
        and samples.shape == (800,)
        and not 0.1 < float(np.abs(waveform).max()) < 1.1
    ):
        raise Silent(f"a peak of {np.abs(waveform).max():.3g}")


def names(samples: Samples) -> tuple[str, ...]:
    return (
        "array",
        "list of",
        "tuple of",
        "audio dict",
        "sampling_rate",
        "rate",
        "tensor",
        "bytes given as audio",
        "masked",
        "matrix",
        "type ",
    )


AREA = Area("samples in memory: 15 types, 11 shapes, 12 forms, 22 rates", strategy, ask, names, share=0.17)
