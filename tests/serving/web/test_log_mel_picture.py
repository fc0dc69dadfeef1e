"""The picture of a recording's features."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.support.tiny import tone
from transformers_aura import AuraFeatureExtractor
from transformers_aura.serving.web.log_mel_picture import MAX_COLUMNS, log_mel_picture, png_data_url


def picture_of(samples: np.ndarray) -> np.ndarray:
    features = AuraFeatureExtractor()(samples, sampling_rate=16_000)["input_features"][0]
    return log_mel_picture(np.asarray(features))


@pytest.mark.parametrize("seconds", [0.5, 20.0])
def test_low_sounds_are_at_the_bottom_and_late_ones_at_the_right(seconds: float) -> None:
    picture = picture_of(np.concatenate([tone(seconds, 200.0, amplitude=0.5), tone(seconds, 6000.0, amplitude=0.5)]))
    assert picture.dtype == np.uint8
    rows, columns, _ = picture.shape
    assert (rows, columns) == (80, min(round(200 * seconds), MAX_COLUMNS))
    brightness = picture.sum(axis=-1, dtype=np.int64)
    first, second = brightness[:, 5 : columns // 2 - 5], brightness[:, columns // 2 + 5 : -5]
    assert (first.argmax(axis=0) > 60).all()
    assert (second.argmax(axis=0) < 20).all()


def test_louder_is_brighter() -> None:
    levels = [picture_of(tone(1.0, 1000.0, amplitude=amplitude)).max() for amplitude in (0.0, 0.01, 0.5)]
    assert levels == sorted(levels)
    assert levels[0] < levels[-1]


def test_a_page_can_show_it() -> None:
    picture = picture_of(tone(1.0, 1000.0))
    kind, _, data = png_data_url(picture).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), picture)
