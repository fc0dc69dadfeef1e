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


@pytest.mark.parametrize("name", ["beam_size", "num_rescored", "chunks_at_once", "chunk_seconds"])
def test_at_least_one(name):
    DecodingConfig(**{name: 1})
    for value in (0, -3, float("nan")):
        with pytest.raises(ValueError, match=f"`{name}` must be 1 or more, got"):
            DecodingConfig(**{name: value})


@pytest.mark.parametrize("name", ["beam_threshold", "symbol_threshold", "language_model_weight"])
def test_not_negative(name):
    DecodingConfig(**{name: 0})
    with pytest.raises(ValueError, match=f"`{name}` must be 0 or more, got -1"):
        DecodingConfig(**{name: -1})
