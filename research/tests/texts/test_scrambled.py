"""Scrambled texts are new each time, of known words, and follow from their seed."""

import random

from aura_research import corpus
from aura_research.corpus import plan_spoken, texts_to_scramble
from aura_research.reserved import reserved_texts
from aura_research.texts.scrambled import scramble


def test_scrambled_texts_are_new_and_made_of_training_texts():
    texts = texts_to_scramble(validation=False)
    found = [scramble(random.Random(seed), texts) for seed in range(300)]
    assert found == [scramble(random.Random(seed), texts) for seed in range(300)]
    assert len(set(found)) > 295
    sources = {text for part in texts.values() for text in part}
    assert len(sources & set(found)) < 5  # hardly any is a text of old
    known = {word.strip("'.,!?").lower() for text in sources for word in text.replace("-", " ").split()}
    for text in found:
        assert 4 <= len(text.split()) <= 14
        assert text[0].isupper()
        assert text.endswith((".", "?"))
        assert not reserved_texts().holds(text)
        assert {word.strip("'.?").lower() for word in text.split()} <= known
    openings = [" ".join(text.split()[:2]) for text in found if text.endswith("?")]
    assert openings.count("What is") > 10


def test_validation_texts_are_made_of_validation_texts():
    words = {word for text in texts_to_scramble(validation=True)["law"] for word in text.split()}
    assert words
    train, validation = (
        {clip.transcript for clip in plan_spoken("scrambled", "flite", range(50), 0, validation=kept)}
        for kept in (False, True)
    )
    assert not train & validation
    assert not set(texts_to_scramble(True)["sentences"]) & set(texts_to_scramble(False)["sentences"])


def test_a_text_that_is_kept_aside_is_drawn_again(monkeypatch):
    validation = texts_to_scramble(validation=True)["everyday"][0]
    drawn = iter(["What is the supreme law of the land?", validation, "Of new this is."])
    monkeypatch.setattr(corpus, "scramble", lambda *_: next(drawn))
    assert [clip.transcript for clip in plan_spoken("scrambled", "pico", range(1), 0)] == ["Of new this is."]
