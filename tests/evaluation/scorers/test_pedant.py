"""PEDANT without qa-metrics: which errors people get, and that the classifier is asked in the right order."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from transformers_aura.evaluation.scorers import pedant
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.pedant import MODEL_FILES, SUPPORTED_VERSIONS, Pedant


class KnownPedant:
    """Takes the order of arguments of qa-metrics 0.2.42, and keeps them."""

    def __init__(self):
        pytest.fail("The package's constructor downloads.")

    def evaluate(self, reference, candidate, question):
        self.asked = [*getattr(self, "asked", []), (reference, candidate, question)]
        return reference in candidate


@pytest.fixture
def installed(monkeypatch):
    """A stand-in for the package and what it needs; its list says what was loaded, and what NLTK was asked for."""
    happened = []
    nltk = SimpleNamespace(download=lambda *arguments, **settings: happened.append(arguments))
    package = ModuleType("qa_metrics")
    package.pedant = SimpleNamespace(PEDANT=KnownPedant)
    joblib = SimpleNamespace(load=lambda path: happened.append(path.name) or path.read_bytes())
    for name, module in {
        "qa_metrics": package,
        "qa_metrics.pedant": package.pedant,
        "joblib": joblib,
        "nltk": nltk,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    versions = {"qa-metrics": SUPPORTED_VERSIONS[-1], "scikit-learn": "1.3.2"}
    monkeypatch.setattr(pedant, "version", versions.__getitem__)
    return SimpleNamespace(happened=happened, versions=versions, nltk=nltk)


@pytest.fixture
def folder(tmp_path):
    for attribute, file in MODEL_FILES.items():
        (tmp_path / file).write_bytes(attribute.encode())
    return tmp_path


def test_the_classifier_gets_accepted_answer_then_answer_then_question(installed, folder):
    scorer = Pedant(folder, trust_pickle=True)
    assert scorer.statistics("It is Paris.\n", Reference(("Rome", "Paris"), question="Which city?")) == (1.0, 1.0)
    assert scorer._classifier.asked == [
        ("Rome", "It is Paris.\n", "Which city?"),
        ("Paris", "It is Paris.\n", "Which city?"),
    ]
    assert scorer.value(np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [0.5, 0.75]


def test_files_become_the_attributes_of_a_classifier_whose_constructor_never_ran(installed, folder):
    classifier = Pedant(folder, trust_pickle=True)._classifier
    assert (classifier.model, classifier.tokenizer) == (b"model", b"tokenizer")
    assert (classifier.rule_model, classifier.type_model) == (b"rule_model", b"type_model")
    assert (classifier.fast_eval, classifier.fast_model) == (True, False)


def test_importing_the_package_downloads_nothing(installed):
    download = installed.nltk.download
    with pedant._no_nltk_downloads():
        assert installed.nltk.download("punkt", quiet=True) is False
    assert installed.happened == []
    assert installed.nltk.download is download


def test_as_many_different_answers_as_needed(installed, folder):
    scorer = Pedant(folder, trust_pickle=True)
    assert scorer.statistics("life", Reference(("life", "liberty"), 2, "Which two?")) == (0.0, 1.0)
    assert scorer.statistics("life", Reference(("life", "life"), 2, "Which two?")) == (0.0, 1.0)
    assert scorer.statistics("life, liberty", Reference(("life", "liberty"), 2, "Which two?")) == (1.0, 1.0)


def test_an_empty_answer_is_wrong_and_nothing_is_asked(installed, folder):
    scorer = Pedant(folder, trust_pickle=True)
    for answer in ("", " \n"):
        assert scorer.statistics(answer, Reference(("Paris",))) == (0.0, 1.0)
    assert not hasattr(scorer._classifier, "asked")


@pytest.mark.parametrize("accepted", ["The", "…", "?!"])
def test_an_accepted_answer_without_a_word_matches_nothing(accepted, installed, folder):
    scorer = Pedant(folder, trust_pickle=True)
    assert scorer.statistics(f"anything {accepted}", Reference((accepted,), question="What?")) == (0.0, 1.0)


def test_an_item_without_a_question_is_an_error(installed, folder):
    with pytest.raises(ValueError, match=r"this item has none: \('Paris',\)"):
        Pedant(folder, trust_pickle=True).statistics("Paris", Reference(("Paris",)))


def test_pickles_are_loaded_only_with_consent(installed, folder):
    with pytest.raises(ValueError, match="trust_pickle=True"):
        Pedant(folder)
    assert installed.happened == []


def test_missing_files_are_named_with_where_to_get_and_put_them(installed, folder):
    (folder / "rule_classifier.pkl").unlink()
    with pytest.raises(FileNotFoundError) as raised:
        Pedant(folder, trust_pickle=True)
    message = str(raised.value)
    assert "zli12321/pedant_models" in message
    assert str(folder) in message
    assert "rule_classifier -> rule_classifier.pkl" in message
    assert "lr_classifier" not in message
    with pytest.raises(FileNotFoundError, match="give it as `model_folder`"):
        Pedant()


def test_another_version_is_refused(installed, folder):
    installed.versions["qa-metrics"] = "0.2.30"
    with pytest.raises(ImportError, match=r"qa-metrics 0\.2\.30 is not supported.*0\.2\.42"):
        Pedant(folder, trust_pickle=True)


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch, folder):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pedant, "version", version)
    with pytest.raises(ImportError, match=r"pip install 'qa-metrics==0\.2\.42' nltk"):
        Pedant(folder, trust_pickle=True)


def test_identity_follows_the_files(installed, folder):
    identity = Pedant(folder, trust_pickle=True).identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["qa-metrics"] == "0.2.42"
    assert set(identity["sha256"]) == set(MODEL_FILES.values())
    (folder / "lr_classifier.pkl").write_bytes(b"another")
    assert Pedant(folder, trust_pickle=True).identity != identity
