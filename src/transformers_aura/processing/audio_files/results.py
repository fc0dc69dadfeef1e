"""What checks and decoders of audio files hand on to each other."""

import dataclasses
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


_MAX_PARTS = 1_000_000  # three hours in parts of 10 ms

Block: TypeAlias = NDArray[np.float32]
"""Mono samples of shape `(n_samples,)`."""


@dataclasses.dataclass(frozen=True)
class WholeFile:
    """A file that passed the check of its container.

    Args:
        streams: what is decoded one after the other; several where recordings were joined.
        caution: why the file may lack something all the same, if it may; goes on after "The file".
        min_samples: how many (per channel) must come out of it, where the check could count them.
    """

    streams: list[bytes]
    caution: str | None = None
    min_samples: int = 0


@dataclasses.dataclass(frozen=True)
class DecodedFile:
    """Samples of a file, decoded as the blocks are asked for; its rate in hertz; the caution of a [`WholeFile`]."""

    blocks: Iterator[Block]
    sampling_rate: int
    caution: str | None = None


class BrokenFileError(ValueError):
    """A file that is not whole; the message goes on after "The file is"."""


class UnsupportedFileError(ValueError):
    """A decoder does not know the encoding of a file; the message is the decoder's."""


def steps() -> Iterator[None]:
    """As many steps as a walk through a file may take: more parts than that are no recording, but a way to keep a reader busy.

    Raises:
        BrokenFileError: after the last.
    """
    for _ in range(_MAX_PARTS):
        yield
    raise damaged(f"it has more than {_MAX_PARTS} parts")


def truncated(detail: str) -> BrokenFileError:
    return BrokenFileError(f"truncated: {detail}. Copy or download the file again.")


def damaged(detail: str) -> BrokenFileError:
    return BrokenFileError(f"damaged: {detail}. Copy or download the file again.")
