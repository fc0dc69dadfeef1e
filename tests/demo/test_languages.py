"""The domains of `demo/languages`: what is kept aside stays so, and the alphabet of each spells all of it."""

import random

import pytest

from demo.languages.corpus import LANGUAGES, Domain, plan
from transformers_aura.decoding.alphabet import CharacterAlphabet, alphabet_of


@pytest.mark.parametrize("language", LANGUAGES)
def test_test_clips_are_kept_aside(language: str) -> None:
    domain = Domain(language)
    splits = plan(domain, 300, 100)
    assert splits == plan(domain, 300, 100), "the same every time"
    texts = {split: {clip.transcript for clip in clips} for split, clips in splits.items()}
    assert not texts["train"] & texts["test"]
    assert {clip.voice for clip in splits["train"]} == set(domain.voices)
    assert domain.test_voice not in domain.voices
    assert sum(clip.voice == domain.test_voice for clip in splits["test"]) == 50
    alphabet = CharacterAlphabet(alphabet_of(texts["train"]))
    assert all(alphabet.encode(text) for text in texts["test"]), "test clips hold no character that training lacks"


def test_german_has_its_umlauts() -> None:
    domain, generator = Domain("de"), random.Random(0)
    assert set("äöüß") < set(alphabet_of(domain.sentence(generator) for _ in range(200)))
