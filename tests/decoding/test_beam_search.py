"""A beam that drops nothing finds what an enumeration of all texts finds; a narrow one still finds something."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.decoding.support import labelling_log_probabilities, random_emissions
from transformers_aura.decoding.alphabet import GAP, LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.beam_search import BeamSearch, WordForms
from transformers_aura.decoding.config import DecodingConfig
from transformers_aura.decoding.lexicon import LexiconTrie
from transformers_aura.decoding.ngram import TokenTrigram
from transformers_aura.decoding.scorers import NGramScorer, SubwordCTCScorer


AB = CharacterAlphabet(" ab")
END, SIZE, STOP = 127, 128, ord(".")
EVERYTHING = DecodingConfig(
    beam_size=100_000,
    beam_threshold=1e6,
    symbol_threshold=1e6,
    unknown_word_penalty=2.0,
    unknown_character_penalty=0.7,
    character_weight=0.9,
    subword_weight=0.4,
    ngram_weight=0.6,
    other_forms=0,
)
TEXTS = ["A ab", "ab a", "a AB a.", "ab"]


def tokenize(texts):
    """One token a character."""
    return [[ord(character) for character in text] for text in texts]


def tokens_of(text):
    return tuple(tokenize([text])[0])


def search_for(config, alphabet=AB, texts=TEXTS, subwords=None, closing=(STOP,)):
    """A search, its words and its scorers."""
    forms = WordForms(LexiconTrie.count(texts, alphabet), alphabet, tokenize)
    scorers = [(NGramScorer(TokenTrigram.count(tokenize(texts), SIZE, END), END), config.ngram_weight)]
    if subwords is not None:
        scorers.append((SubwordCTCScorer(subwords), config.subword_weight))
    return BeamSearch(forms, scorers, closing, config), forms, scorers


def sure(path, alphabet, probability=1 - 1e-12):
    """Emissions of a path of characters, a frame each: `_` is the blank."""
    symbols = [0 if character == "_" else alphabet.symbol(character) for character in path]
    table = np.full((len(path), len(alphabet)), (1 - probability) / (len(alphabet) - 1))
    table[np.arange(len(path)), symbols] = probability
    return np.log(table)


# --------------------------------------------------------------------------------------- one text after the other


def add(scorers, states, tokens):
    """Scores of tokens, weighed, one after the other; and the states behind them."""
    added, states = 0.0, list(states)
    for token in tokens:
        for number, (scorer, weight) in enumerate(scorers):
            (score,), (states[number],) = scorer.extend([states[number]], np.array([token]))
            added += weight * float(score)
    return added, states


def by_enumeration(emissions, forms, scorers, config):
    """Score of every text: each labelling, each word in its best form, with and without a closing token."""
    found = {}
    for labelling, likelihood in labelling_log_probabilities(emissions).items():
        if labelling[:1] == (GAP,) or any(pair == (GAP, GAP) for pair in itertools.pairwise(labelling)):
            continue
        tokens, states, score = (), [scorer.start() for scorer, _ in scorers], 0.0
        for is_gap, symbols in itertools.groupby(labelling, key=lambda symbol: symbol == GAP):
            word = tuple(symbols)
            if is_gap:
                continue
            spelled = "".join(AB.characters[symbol - 1] for symbol in word)
            ways = list(forms.lexicon.forms.get(word, [spelled, spelled.capitalize()]))
            if not tokens:
                ways = [way[0].upper() + way[1:] for way in ways] + ways
            best = max(
                ((*add(scorers, states, tokens_of(way if not tokens else " " + way)), way) for way in ways),
                key=lambda option: option[0],
            )
            score += best[0] + config.word_bonus
            if word not in forms.lexicon.forms:
                score -= config.unknown_word_penalty + config.unknown_character_penalty * len(word)
            tokens, states = (*tokens, *tokens_of(best[2] if not tokens else " " + best[2])), best[1]
        for closing in ((), (STOP,)) if tokens else ((),):
            added, closed = add(scorers, states, closing)
            added += sum(
                weight * float(scorer.finish([state])[0])
                for (scorer, weight), state in zip(scorers, closed, strict=True)
            )
            total = config.character_weight * likelihood + score + added
            found[tokens + closing] = max(found.get((*tokens, *closing), -np.inf), total)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_subwords", [False, True])
def test_a_beam_that_drops_nothing_is_an_enumeration(seed, with_subwords):
    emissions = random_emissions(5, 3, seed)
    subwords = random_emissions(8, SIZE, seed + 100) if with_subwords else None
    search, forms, scorers = search_for(EVERYTHING, subwords=subwords)
    found = search.search(emissions)
    expected = by_enumeration(emissions, forms, scorers, EVERYTHING)
    assert {hypothesis.tokens for hypothesis in found} == expected.keys()
    assert len(found) > 50
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.tokens], abs=1e-4), bytes(hypothesis.tokens)
    assert [hypothesis.score for hypothesis in found] == sorted(expected.values(), reverse=True) or np.allclose(
        [hypothesis.score for hypothesis in found], sorted(expected.values(), reverse=True), atol=1e-4
    )


@pytest.mark.parametrize("seed", range(4))
def test_hypotheses_are_told_apart_by_their_characters(seed):
    emissions = random_emissions(5, 3, seed)
    search, _, _ = search_for(EVERYTHING)
    likelihoods = labelling_log_probabilities(emissions)
    for hypothesis in search.search(emissions):
        whole = [likelihoods.get(hypothesis.labelling + end, -np.inf) for end in ((), (GAP,))]
        assert min(abs(hypothesis.ctc_log_probability - one) for one in whole) < 1e-6
        words = [
            tuple(symbols)
            for is_gap, symbols in itertools.groupby(hypothesis.labelling, lambda symbol: symbol == GAP)
            if not is_gap
        ]
        assert len(words) == len(hypothesis.words)
        for word, form in zip(words, hypothesis.words, strict=True):
            assert tuple(AB.encode(form)) == word


@pytest.mark.parametrize("seed", range(4))
def test_a_narrow_beam_finds_no_better_scores_and_never_nothing(seed):
    emissions = random_emissions(12, 3, seed)
    search, _, _ = search_for(replace(EVERYTHING, beam_size=2000))
    wide = {hypothesis.tokens: hypothesis.score for hypothesis in search.search(emissions)}
    for changes in (
        {"beam_size": 1},
        {"beam_size": 6},
        {"beam_threshold": 0.0},
        {"symbol_threshold": 0.0},
        {"beam_threshold": 5.0, "symbol_threshold": 3.0},
    ):
        (search, _, _) = search_for(replace(EVERYTHING, **changes))
        found = search.search(emissions)
        assert found
        assert found[0].score <= max(wide.values()) + 1e-6
    search, _, _ = search_for(replace(EVERYTHING, beam_size=12), subwords=random_emissions(2, SIZE))  # no text fits in
    assert search.search(emissions)
    assert all(np.isfinite(hypothesis.score) and hypothesis.score > -1e6 for hypothesis in search.search(emissions))


# ------------------------------------------------------------------------------------------------- by example

LATIN = CharacterAlphabet(LATIN_ALPHABET)
SPOKEN = ["the cat sat", "The cat is at the UN", "a cat"]


def text_of(hypothesis):
    return "".join(map(chr, hypothesis.tokens))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("_tthhe__  _caatt_", "The cat"),
        ("thecat", "Thecat"),  # no gap, no two words
        ("the_ _xyqz_ sat", "The xyqz sat"),  # unknown: spelled
        ("the un", "The UN"),  # as the text wrote it
        ("bo_ok_ke_eper", "Bookkeeper"),  # the same character again needs a blank between
        ("__  the   ", "The"),
        ("____", ""),
        ("_ _ _", ""),
        ("", ""),
    ],
)
def test_sure_emissions_are_read_as_they_are(path, text):
    config = DecodingConfig(beam_size=30)
    search, _, _ = search_for(config, LATIN, SPOKEN, closing=())
    best = search.search(sure(path, LATIN))[0]
    assert text_of(best).lower() == text.lower()
    assert text_of(best)[1:] == text[1:]
    assert " ".join(best.words) == text_of(best)


def test_a_known_word_is_preferred_where_the_sound_leaves_it_open():
    emissions = sure("the cat", LATIN)
    unsure = np.log(0.5 * np.exp(emissions[-1]) + 0.5 * np.exp(sure("b", LATIN)[0]))
    search, _, _ = search_for(DecodingConfig(beam_size=30), LATIN, SPOKEN, closing=())
    assert text_of(search.search(np.concatenate([emissions[:-1], unsure[None]]))[0]) == "the cat"
    against = np.log(0.01 * np.exp(emissions[-1]) + 0.99 * np.exp(sure("b", LATIN)[0]))
    free = DecodingConfig(beam_size=30, unknown_word_penalty=0.0, unknown_character_penalty=0.0, ngram_weight=0.0)
    search, _, _ = search_for(free, LATIN, SPOKEN, closing=())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search.search(np.concatenate([emissions[:-1], against[None]]))
    assert text_of(found[0]) == "The cab"


def test_without_a_lexicon_every_word_is_spelled():
    forms = WordForms(LexiconTrie.count([], LATIN), LATIN, tokenize)
    found = BeamSearch(forms, [], [], DecodingConfig(beam_size=8)).search(sure("the cat", LATIN))
    assert text_of(found[0]).lower() == "the cat"


def test_closing_punctuation_is_a_choice():
    texts = ["the cat.", "the cat.", "the cat sat."]
    with_stop, _, _ = search_for(DecodingConfig(beam_size=20), LATIN, texts)
    found = with_stop.search(sure("the cat", LATIN))
    assert text_of(found[0]) in ("the cat.", "The cat.")
    assert {text_of(hypothesis).rstrip(".").lower() for hypothesis in found} >= {"the cat"}
    assert any(not text_of(hypothesis).endswith(".") for hypothesis in found)


@pytest.mark.parametrize(
    ("alphabet", "texts", "path", "text"),
    [
        (" abcdefghijklmnopqrstuvwxyzäöüß", ["große Füße", "der Bär"], "der große bär", "Der große Bär"),
        (" абвгдеёжзийклмнопрстуфхцчшщъыьэюя", ["ещё один день"], "ещё день", "Ещё день"),
    ],
)
def test_any_script(alphabet, texts, path, text):
    alphabet = CharacterAlphabet(alphabet)
    forms = WordForms(LexiconTrie.count(texts, alphabet), alphabet, tokenize)
    found = BeamSearch(forms, [], [], DecodingConfig(beam_size=20)).search(sure(path, alphabet))
    assert text_of(found[0]) == text


def test_forms_are_tokenised_once():
    asked = []

    def counting(texts):
        asked.extend(texts)
        return tokenize(texts)

    forms = WordForms(LexiconTrie.count(SPOKEN, LATIN), LATIN, counting)
    un = tuple(LATIN.encode("un"))
    word = tuple(LATIN.encode("xyz"))
    first, later = forms.look_up([(un, True), (word, False)])
    assert first == [("UN", list(tokens_of("UN")))]
    assert later == [("xyz", list(tokens_of(" xyz"))), ("Xyz", list(tokens_of(" Xyz")))]
    assert forms.look_up([(word, False), (un, True)]) == [later, first]
    assert asked == ["UN", " xyz", " Xyz"]


def test_the_best_hypothesis_is_also_written_in_other_forms():
    alphabet = CharacterAlphabet(" abcdefghijklmnopqrstuvwxyz")
    texts = ["the civil war", "the civil war", "the Civil War", "a war"]
    emissions = sure("the civil war", alphabet)
    plain, _, _ = search_for(DecodingConfig(other_forms=0), alphabet, texts, closing=())
    search, _, _ = search_for(DecodingConfig(), alphabet, texts, closing=())
    best, *others = search.search(emissions)
    assert plain.search(emissions)[0] == best
    written = {" ".join(hypothesis.words): hypothesis for hypothesis in others}
    assert {"the Civil war", "the civil War", "the Civil War"} <= written.keys()
    for hypothesis in others:
        assert hypothesis.labelling == best.labelling
        assert hypothesis.score <= best.score
    assert bytes(written["the Civil War"].tokens) == b"the Civil War"
    both = best.score - written["the Civil War"].score
    one, other = (best.score - written[text].score for text in ("the Civil war", "the civil War"))
    assert both == pytest.approx(one + other)


def test_a_script_without_blanks_has_no_unknown_words():
    alphabet = CharacterAlphabet(" いくさだ")
    search = BeamSearch(WordForms(LexiconTrie.of_counts({}), alphabet, tokenize), [], (), DecodingConfig())
    best, *_ = search.search(sure("く_だ_さ_い", alphabet, probability=0.6))
    assert best.words == ("ください",)
