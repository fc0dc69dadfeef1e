"""CTC's opinion of a transcript is the sum over all its alignments, and is weighed as it says."""

import itertools

import numpy as np
import pytest
import torch

from transformers_aura.modeling.joint_decoding import INAUDIBLE, CTCPrefixScorer, JointCTCLogitsProcessor


NUM_STEPS, VOCABULARY = 5, 3


@pytest.fixture
def log_probabilities() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(NUM_STEPS, 1 + VOCABULARY).mul(2).log_softmax(-1)


def probabilities_of_transcripts(log_probabilities: torch.Tensor) -> dict[tuple[int, ...], float]:
    """By going through every alignment."""
    found: dict[tuple[int, ...], float] = {}
    probabilities = log_probabilities.exp().numpy()
    for path in itertools.product(range(1 + VOCABULARY), repeat=NUM_STEPS):
        said = tuple(symbol - 1 for symbol, _ in itertools.groupby(path) if symbol)
        found[said] = found.get(said, 0.0) + float(np.prod(probabilities[range(NUM_STEPS), path]))
    return found


def test_prefix_probabilities_are_the_sums_over_all_alignments(log_probabilities):
    transcripts = probabilities_of_transcripts(log_probabilities)
    scorer = CTCPrefixScorer(log_probabilities)
    assert scorer.tokens.tolist() == [0, 1, 2]
    for length in range(4):
        for prefix in itertools.product(range(VOCABULARY), repeat=length):
            begins = sum(p for said, p in transcripts.items() if said[:length] == prefix)
            following, end = scorer.next_token(prefix)
            assert np.exp(end) == pytest.approx(transcripts.get(prefix, 0.0) / begins, rel=1e-4, abs=1e-9)
            for token in range(VOCABULARY):
                longer = (*prefix, token)
                goes_on = sum(p for said, p in transcripts.items() if said[: length + 1] == longer)
                assert np.exp(following[token]) == pytest.approx(goes_on / begins, rel=1e-4, abs=1e-9)
            assert np.exp(following).sum() + np.exp(end) == pytest.approx(1.0, rel=1e-4)


def test_a_token_that_no_audio_token_stands_for_is_inaudible_and_writing_goes_on():
    steps = torch.full((4, 1 + 200), -9.0)
    steps[:, 0], steps[1, 1 + 150] = 3.0, 6.0
    scorer = CTCPrefixScorer(steps.log_softmax(-1))
    assert 150 in scorer.tokens
    missing = next(token for token in range(200) if token not in scorer.tokens)
    following, end = scorer.next_token([missing])
    assert np.isfinite(following).all()
    assert np.isfinite(end)


def test_the_weight_decides_between_the_llm_and_what_was_heard(log_probabilities):
    torch.manual_seed(1)
    scores = torch.randn(4, 6)  # two beams of two prompts; token 5 ends
    written = torch.tensor([[9, 9, 1], [9, 9, 0], [9, 9, 2], [9, 9, 5]])
    scorer = CTCPrefixScorer(log_probabilities)

    def joint(weight: float) -> torch.Tensor:
        return JointCTCLogitsProcessor([scorer, None], 2, weight, [5])(written, scores)

    assert torch.equal(joint(0.7)[2:], scores[2:])  # no transcript is asked for
    torch.testing.assert_close(joint(0.0)[:2], scores[:2].log_softmax(-1))
    following, end = scorer.next_token([1])
    heard = joint(1.0)[0]
    torch.testing.assert_close(heard[:3], torch.tensor(following, dtype=torch.float32))
    assert heard[3] == heard[4] == INAUDIBLE
    assert heard[5].item() == pytest.approx(end, rel=1e-5)
    between = 0.7 * heard + 0.3 * scores[0].log_softmax(-1)
    torch.testing.assert_close(joint(0.7)[0], between)
    scores[0, 1] = -torch.inf
    assert joint(1.0)[0, 1] == -torch.inf, "a forbidden token stays forbidden, whatever was heard"
    assert not joint(1.0).isnan().any()
    finished = JointCTCLogitsProcessor([scorer] * 4, 2, 0.7, [5])(written, scores)
    assert torch.equal(finished[3], scores[3])  # what has ended stays as it is
