import pytest

from transformers_aura.evaluation.scorers import Reference, SquadExactMatch, SquadF1


# What `evaluate-v1.1.py` gives: prediction, accepted answers, exact match, F1.
RECORDED = [
    ("Denver Broncos", ("Denver Broncos",), 1.0, 1.0),
    ("the Denver Broncos.", ("Denver Broncos", "Broncos"), 1.0, 1.0),
    ("Denver", ("Denver Broncos",), 0.0, 2 / 3),
    ("The team was the Denver Broncos", ("Denver Broncos",), 0.0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
    ("", ("Denver Broncos",), 0.0, 0.0),
    ("the", ("a",), 1.0, 0.0),  # both empty once articles are gone: equal strings, but no common token
    ("Carolina Carolina", ("Carolina Panthers",), 0.0, 0.5),
    ("It's 24–10", ("24–10",), 0.0, 2 / 3),
    ("U.S.A.", ("USA",), 1.0, 1.0),
    ("an  apple\npie", ("apple pie",), 1.0, 1.0),
    ("theater", ("ater",), 0.0, 0.0),
]


@pytest.mark.parametrize(("answer", "accepted", "exact", "f1"), RECORDED)
def test_recorded_answers_score_as_in_the_official_script(answer, accepted, exact, f1):
    reference = Reference(accepted)
    assert SquadExactMatch().statistics(answer, reference) == (exact, 1.0)
    assert SquadF1().statistics(answer, reference) == (pytest.approx(f1), 1.0)
