"""Chunks at a browser's rate."""

import itertools

import numpy as np
import pytest

from transformers_aura import load_audio
from transformers_aura.serving.web.chunk_resampler import ChunkResampler


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_all_chunks_together_are_the_whole_recording(rate: int, dtype: type) -> None:
    generator = np.random.default_rng(0)
    recording = generator.uniform(-0.5, 0.5, (rate + 7, 2)).astype(np.float32)
    if dtype is np.int16:
        recording = (recording * 32767).astype(np.int16)
    resampler = ChunkResampler(16_000)
    for _ in range(2):  # it can be used again
        cuts = [0, 9, rate // 3, rate // 3, rate // 2, len(recording)]
        parts = [resampler.push(recording[start:end], rate) for start, end in itertools.pairwise(cuts)]
        result = np.concatenate([*parts, resampler.finish()])
        np.testing.assert_allclose(result, load_audio(recording, rate), atol=1e-6)


def test_a_rate_that_changes_is_an_error_and_the_next_recording_may_have_it() -> None:
    resampler = ChunkResampler(16_000)
    resampler.push(np.zeros(100, np.float32), 48_000)
    with pytest.raises(ValueError, match="from 48000 to 44100 Hz"):
        resampler.push(np.zeros(100, np.float32), 44_100)
    resampler.finish()
    resampler.push(np.zeros(100, np.float32), 44_100)
