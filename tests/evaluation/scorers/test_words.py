import jiwer
import numpy as np
import pytest

from transformers_aura.evaluation.scorers import Normalizer, Reference, WordErrorRate


SAID = [
    "he was not an ill disposed young man",
    "ten of clubs",
    "How many amendments are there?",
    "It's Mr. Smith's colour.",
]
HEARD = ["he was an old disposed young man man", "", "how many a men does are there", "It is mister Smith's color"]


def total(scorer):
    return sum(np.array(scorer.statistics(heard, Reference((said,)))) for said, heard in zip(SAID, HEARD, strict=True))


def test_equals_jiwer_on_the_texts_as_they_are():
    scorer = WordErrorRate(normalizer=None)
    assert scorer.value(total(scorer)) == pytest.approx(jiwer.wer(SAID, HEARD))
    by_character = WordErrorRate(normalizer=None, by_character=True)
    assert by_character.value(total(by_character)) == pytest.approx(jiwer.cer(SAID, HEARD))


def test_equals_jiwer_after_whispers_normalisation():
    normalize = Normalizer(spellings={"colour": "color"})
    scorer = WordErrorRate(normalize)
    expected = jiwer.wer([normalize(text) for text in SAID], [normalize(text) for text in HEARD])
    assert scorer.value(total(scorer)) == pytest.approx(expected)
    assert scorer.statistics("it is mister Smith's color", Reference((SAID[3],))) == (0.0, 6.0)


def test_the_nearest_of_several_transcripts_counts():
    assert WordErrorRate().statistics("two cats", Reference(("three dogs ran", "two cats"))) == (0.0, 2.0)


def test_what_was_said_may_be_nothing():
    scorer = WordErrorRate()
    assert scorer.statistics("uh a cat", Reference(("uh",))) == (2.0, 0.0), "Whisper's rules drop fillers"
    assert scorer.value(np.array([2.0, 0.0])) == 1.0
    assert scorer.value(np.array([0.0, 0.0])) == 0.0


def test_other_languages_keep_their_letters():
    scorer = WordErrorRate(Normalizer("de"))
    assert scorer.statistics("Grüße, aus Köln!", Reference(("grüße aus köln",))) == (0.0, 3.0)


def test_a_line_break_is_a_blank():
    assert WordErrorRate(None).statistics("ten\nof  clubs", Reference(("ten of clubs",))) == (0.0, 3.0)


def test_identity_names_rules_and_releases():
    identity = WordErrorRate().identity
    assert identity["jiwer"] == jiwer.__version__ if hasattr(jiwer, "__version__") else identity["jiwer"]
    assert identity["normalizer"] == "Whisper English"
    one, other = (
        WordErrorRate(Normalizer(spellings=spelled)).identity for spelled in ({"colour": "color"}, {"grey": "gray"})
    )
    assert one != other
    assert Normalizer("en-US").is_english
    assert identity != WordErrorRate(Normalizer("de")).identity != WordErrorRate(None).identity
