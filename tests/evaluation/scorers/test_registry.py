import json

import numpy as np
import pytest

from transformers_aura.evaluation.scorers import SCORERS, Reference, scorer


ACCEPTED = {"slots": '{"size": "large"}', "slots_strict": '{"size": "large"}'}


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_keeps_its_word(name):
    found = scorer(name)
    assert found.name == name
    assert json.loads(json.dumps(found.identity)) == found.identity
    assert {"scorer", "version"} <= found.identity.keys()
    right = ACCEPTED.get(name, "a large cup of hot tea")
    reference = Reference((right,), question="What?")
    best, worst = (np.array(found.statistics(answer, reference)) for answer in (right, ""))
    assert len(best) == len(worst)
    values = found.value(np.stack([best, worst, best + worst]))
    assert values.shape == (3,)
    ordered = values[0] > values[2] > values[1] if found.higher_is_better else values[0] < values[2] < values[1]
    assert ordered or name == "bleu"
    assert values[0] == pytest.approx({"wer": 0.0, "cer": 0.0, "bleu": 100.0}.get(name, 1.0))
    assert found.statistics("ünïcode\nline 🎉 {", reference)


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match=r"There is no scorer 'squad_f2'\. Did you mean 'squad_f1'"):
        scorer("squad_f2")
