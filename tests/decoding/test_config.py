import math

import numpy as np
import pytest

from transformers_aura.decoding.config import DecodingConfig


def test_a_dict_changes_defaults_and_a_call_changes_both():
    assert DecodingConfig.from_dict(None) == DecodingConfig()
    config = DecodingConfig.from_dict({"beam_size": 5, "word_bonus": 1.0}, beam_size=7, num_rescored=None)
    assert (config.beam_size, config.word_bonus, config.num_rescored) == (7, 1.0, DecodingConfig().num_rescored)
    assert config.to_dict() == {"beam_size": 7, "word_bonus": 1.0}
    assert DecodingConfig.from_dict(config.to_dict()) == config
    assert DecodingConfig().to_dict() == {}


def test_an_unknown_setting_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no setting 'beams', 'width'; it has beam_size, .*chunks_at_once"):
        DecodingConfig.from_dict({"beams": 3}, width=2)


@pytest.mark.fault("requests")
@pytest.mark.parametrize(
    ("name", "least", "kind"),
    [
        *((name, 1, "a whole number") for name in ("beam_size", "num_rescored", "chunks_at_once")),
        ("other_forms", 0, "a whole number"),
        *((name, 0, "a number") for name in ("beam_threshold", "symbol_threshold", "language_model_weight")),
        ("chunk_seconds", 1, "a number"),
        *((name, None, "a number") for name in ("character_weight", "word_bonus", "unknown_word_penalty")),
    ],
)
def test_settings_that_cannot_be_are_an_error(name, least, kind):
    if least is not None:
        DecodingConfig(**{name: least})
        with pytest.raises(ValueError, match=f"`{name}` must be {least} or more, got {least - 1}"):
            DecodingConfig(**{name: least - 1})
    if kind == "a number":
        assert type(getattr(DecodingConfig(**{name: np.float32(2)}), name)) is float
        for value in (math.nan, -math.inf, math.inf):
            with pytest.raises(ValueError, match=f"`{name}` must be .* or (more|less), got"):
                DecodingConfig(**{name: value})
    else:
        assert type(getattr(DecodingConfig(**{name: np.int64(2)}), name)) is int
    with pytest.raises(ValueError, match=f"`{name}` must be .* or less, got 1000000000000"):
        DecodingConfig(**{name: 10**12})
    for value in (True, "3", None, [3]):
        with pytest.raises(TypeError, match=f"`{name}` must be {kind}, got"):
            DecodingConfig(**{name: value})


@pytest.mark.fault("requests")
def test_a_switch_is_no_number():
    with pytest.raises(TypeError, match="`rescore_chunks` must be True or False, got 1"):
        DecodingConfig(rescore_chunks=1)
