import numpy as np
import pytest

from tests.decoding.support import labelling_log_probabilities, random_emissions
from transformers_aura.decoding.ngram import TokenTrigram
from transformers_aura.decoding.scorers import LEAST_SCORE, NGramScorer, SubwordCTCScorer


END = 9


def total(scorer, tokens):
    """What all tokens and the end add up to."""
    state, added = scorer.start(), 0.0
    for token in tokens:
        (score,), (state,) = scorer.extend([state], np.array([token]))
        added += float(score)
    return added + float(scorer.finish([state])[0])


def test_an_ngram_scores_each_token_behind_the_last_two():
    ngram = TokenTrigram.count([[1, 2, 3], [1, 2, 4], [1, 2, 3]], 10, END)
    scorer = NGramScorer(ngram, END)
    places = [(END, END, 1), (END, 1, 2), (1, 2, 3), (2, 3, END)]
    expected = ngram.log_probabilities(*np.array(places).T)
    assert total(scorer, [1, 2, 3]) == pytest.approx(expected.sum(), abs=1e-5)
    states = [scorer.start(), (1, 2), (3, 3)]
    scores, after = scorer.extend(states, np.array([1, 3, 5]))
    assert after == [(END, 1), (2, 3), (3, 5)]
    assert scores.tolist() == [
        float(scorer.extend([state], np.array([token]))[0][0]) for state, token in zip(states, (1, 3, 5), strict=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_subword_scores_add_up_to_the_probability_of_the_whole_text(seed):
    emissions = random_emissions(5, 2, seed)
    scorer = SubwordCTCScorer(emissions)
    likeliest = emissions.max(axis=1).sum()
    for labelling, log_probability in labelling_log_probabilities(emissions).items():
        tokens = [symbol - 1 for symbol in labelling]
        assert total(scorer, tokens) == pytest.approx(log_probability - likeliest), labelling


def test_more_tokens_than_frames_are_bad_but_not_infinitely():
    scorer = SubwordCTCScorer(random_emissions(2, 2))
    assert total(scorer, [0, 1, 0]) == LEAST_SCORE
    assert total(scorer, [0, 1, 0, 1, 0, 1]) == LEAST_SCORE
    assert total(scorer, [0, 1]) > LEAST_SCORE
