import numpy as np

from aura_research.speech_shaping import change_tract, normalize_level, surround_with_pauses
from tools.voices import trim_silence


def test_silence_around_speech_is_trimmed():
    samples = np.zeros(48000, np.float32)
    samples[16000:32000] = 0.1 * np.sin(np.arange(16000))
    assert abs(len(trim_silence(samples, 0.0)) - 16000) < 800
    assert abs(len(trim_silence(samples, margin_seconds=0.25)) - 24000) < 800
    assert len(trim_silence(np.zeros(1000, np.float32))) == 1000


def test_tract_moves_pitch_and_length_together():
    time = np.arange(24000) / 24000
    samples = change_tract(np.sin(2 * np.pi * 400 * time).astype(np.float32), 24000, 1.25)
    assert len(samples) == 12800
    assert abs(np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples) - 500) < 2


def test_pauses_keep_the_speech_and_the_level_is_set():
    speech = 0.3 * np.sin(np.arange(16000)).astype(np.float32)
    generator = np.random.default_rng(0)
    for _ in range(20):
        padded = surround_with_pauses(speech, generator)
        assert 16000 < len(padded) < 16000 + 4 * 16000
        assert np.count_nonzero(padded) == np.count_nonzero(speech)
    level = normalize_level(speech, -24.0)
    assert abs(20 * np.log10(level.std()) + 24.0) < 0.1
    assert np.abs(normalize_level(np.eye(1, 16000)[0].astype(np.float32))).max() <= 0.99
