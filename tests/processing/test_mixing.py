"""Speech and noise at a given ratio."""

import numpy as np
import pytest

from tests.support.tiny import tone
from transformers_aura.processing.mixing import active_power, mix


def speech_with_pauses() -> np.ndarray:
    silence = np.zeros(8000, np.float32)
    return np.concatenate([silence, tone(0.5), silence])


def test_mix_has_the_ratio_where_somebody_speaks():
    speech = speech_with_pauses()
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    for snr_db in (0.0, 6.0, 24.0):
        added = mix(speech, noise, snr_db) - speech
        ratio = 10 * np.log10(np.mean(speech[8000:-8000] ** 2) / np.mean(added**2))
        assert ratio == pytest.approx(snr_db, abs=0.1)
    # Longer pauses do not make the noise weaker.
    assert active_power(speech) == pytest.approx(active_power(np.pad(speech, 40000)), rel=1e-3)
    np.testing.assert_array_equal(mix(speech, np.zeros_like(speech), 6.0), speech)
    with pytest.raises(ValueError, match="24000 and 3 samples"):
        mix(speech, noise[:3], 6.0)
