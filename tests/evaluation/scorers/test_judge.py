import pytest

from transformers_aura.evaluation.scorers import JudgeScorer, Reference


REFERENCE = Reference(("Paris", "City of Paris"), question="What is the capital of France?")


def test_the_judge_reads_question_truth_and_answer():
    asked = []
    scorer = JudgeScorer(lambda prompt: asked.append(prompt) or "Yes.", "org/judge")
    assert scorer.statistics("It is {Paris}", REFERENCE) == (1.0, 1.0)
    assert "What is the capital of France?" in asked[0]
    assert "Paris / City of Paris" in asked[0]
    assert "It is {Paris}" in asked[0]
    assert JudgeScorer(lambda prompt: "**No**, it is not", "org/judge").statistics("Rome", REFERENCE) == (0.0, 1.0)


def test_an_empty_answer_is_wrong_unasked():
    scorer = JudgeScorer(lambda prompt: pytest.fail("nothing to judge"), "org/judge")
    assert scorer.statistics(" \n", REFERENCE) == (0.0, 1.0)


def test_a_prompt_may_hold_other_braces_but_needs_places():
    asked = []
    scorer = JudgeScorer(
        lambda prompt: asked.append(prompt) or "(yes)", "j", prompt='{"a": "{answer}", "b": "{accepted}"}'
    )
    assert scorer.statistics("Rome {answer}", REFERENCE) == (1.0, 1.0)
    assert asked[0].startswith('{"a": "Rome ')
    with pytest.raises(ValueError, match=r"no place for \{answer\}"):
        JudgeScorer(lambda prompt: "yes", "j", prompt="{accepted}?")


def test_neither_yes_nor_no_is_an_error():
    with pytest.raises(ValueError, match="org/judge should say yes or no, but said 'Perhaps'"):
        JudgeScorer(lambda prompt: "Perhaps", "org/judge").statistics("Rome", REFERENCE)


def test_identity_follows_judge_and_prompt():
    def first(prompt: str) -> str:
        return "yes"

    identity = JudgeScorer(first, "org/judge").identity
    assert identity != JudgeScorer(first, "org/other").identity
    assert identity != JudgeScorer(first, "org/judge", prompt="{question} {accepted} {answer}?").identity
    assert "prompt" in identity
