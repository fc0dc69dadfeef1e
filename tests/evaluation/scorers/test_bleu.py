import numpy as np
import pytest

from transformers_aura.evaluation.scorers import Bleu, Reference


sacrebleu = pytest.importorskip("sacrebleu")

TRUE = [
    "Der Hund läuft über die grüne Wiese.",
    "Es regnet heute den ganzen Tag.",
    "Guten Morgen!",
    "Wo ist der Bahnhof?",
]
GIVEN = ["Der Hund rennt über die grüne Wiese.", "Heute regnet es.", "", "Wo ist der Bahnhof?"]


def sums(given, true):
    scorer = Bleu()
    return np.array([scorer.statistics(g, Reference((t,))) for g, t in zip(given, true, strict=True)])


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3], [0], [1], [2], [3], [0, 1], [1, 2], [0, 0, 3]])
def test_the_figure_of_a_set_is_sacrebleus(chosen):
    given, true = [GIVEN[i] for i in chosen], [TRUE[i] for i in chosen]
    expected = sacrebleu.corpus_bleu(given, [true]).score
    assert Bleu().value(sums(given, true).sum(axis=0)) == pytest.approx(expected)


def test_many_sets_at_once():
    rows = sums(GIVEN, TRUE)
    drawn = np.stack([rows.sum(axis=0), rows[:2].sum(axis=0)])
    assert Bleu().value(drawn) == pytest.approx(np.array([Bleu().value(drawn[0]), Bleu().value(drawn[1])]))


def test_the_signature_is_kept():
    assert "tok:13a" in Bleu().identity["signature"]
    assert "tok:char" in Bleu(tokenize="char").identity["signature"]
