"""Questions: their sources, the LLM's answers, and what is kept for training."""

import random

import pytest

from aura_research.reserved import ReservedTexts, normalise
from aura_research.texts.questions import (
    MAX_ANSWER_WORDS,
    Question,
    arithmetic_questions,
    contains_answer,
    expand,
    fact_questions,
    first_sentence,
    full_state_names,
    has_ended,
    is_speakable,
    read_questions,
    spell_number,
    spoken_name,
    training_questions,
    with_article,
    write_questions,
)


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("Algiers", ["Algiers"]),
        ("Cal{if{ornia}}|CA", ["California", "Calif", "Cal", "CA"]),
        ("[St.|Saint] John's", ["St. John's", "Saint John's"]),
        ("{I }[drive|force]", ["I drive", "I force", "drive", "force"]),
        (r"to be{\:}", ["to be:", "to be"]),
    ],
)
def test_quiz_patterns_stand_for_several_texts(pattern, texts):
    assert expand(pattern) == texts


def test_an_unbalanced_pattern_is_an_error():
    with pytest.raises(ValueError, match="Unbalanced"):
        expand("a]b")


def test_the_fullest_name_is_spoken():
    assert spoken_name(expand("Cal{if{ornia}}|CA")) == "California"
    assert spoken_name(expand("{J{ames} }{K{nox} }Polk")) == "James Knox Polk"
    assert spoken_name(expand("Kentucky|Ky")) == "Kentucky"


def test_states_are_known_by_their_full_names():
    assert full_state_names(expand("northern central new york|NY")) == ["new york"]
    assert full_state_names(["chicago, illinois", "IL", "eastern washington state"]) == ["illinois", "washington"]
    assert full_state_names(["West Virginia", "WV"]) == ["West Virginia"]


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("Netherlands", "the Netherlands"),
        ("The Bahamas", "the Bahamas"),
        ("Czech Republic", "the Czech Republic"),
        ("France", "France"),
    ],
)
def test_some_countries_have_an_article(name, spoken):
    assert with_article(name) == spoken


@pytest.mark.parametrize(
    ("answer", "accepted", "contained"),
    [
        ("The capital of France is Paris.", ["paris"], True),
        ("Seven plus five is 12.", ["12", "twelve"], True),
        ("Seven plus five is 112.", ["12", "twelve"], False),
        ("He was an explorer.", ["explor"], True),
        ("Nothing is known.", ["no"], False),
        ("No, it is not.", ["no"], True),
        ("The symbol is A.", ["A"], False),
        ("It is in Great Britain", ["The Great Britain"], True),
        ("", ["Paris"], False),
    ],
)
def test_an_answer_is_right_if_it_contains_an_accepted_one(answer, accepted, contained):
    assert contains_answer(answer, accepted) is contained


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ("Paris is a city. It is large.", "Paris is a city."),
        ("It weighs 3.5 grams! Really.", "It weighs 3.5 grams!"),
        ("It was Dr. J. Smith who did. Yes", "It was Dr. J. Smith who did."),
        ("First line\nsecond line", "First line"),
        ("  no end", "no end"),
        ("", ""),
        ("word " * 50, " ".join(["word"] * MAX_ANSWER_WORDS)),
    ],
)
def test_the_first_sentence_of_a_reply(reply, sentence):
    assert first_sentence(reply) == sentence


def test_a_replyhas_ended_when_more_tokens_change_nothing():
    assert has_ended("It is. And")
    assert has_ended("It is\nand")
    assert not has_ended("It weighs 3.")
    assert not has_ended("\nIt")


def test_numbers_in_words():
    assert [spell_number(number) for number in (0, 13, 20, 45, 100, 144)] == [
        "zero",
        "thirteen",
        "twenty",
        "forty five",
        "one hundred",
        "one hundred and forty four",
    ]


def test_arithmetic_is_right_and_speakable():
    numbers = {spell_number(number): number for number in range(150)}
    operations = {
        "plus": lambda first, second: first + second,
        "minus": lambda first, second: first - second,
        "times": lambda first, second: first * second,
        "divided by": lambda first, second: first / second,
    }
    for question in arithmetic_questions(random.Random(0), 200):
        assert is_speakable(question.question)
        words = question.question.strip("?.").removeprefix("What is ").removeprefix("How much is ")
        words = words.removeprefix("Tell me what ").removesuffix(" is").removeprefix("What do you get from ")
        name = next(name for name in operations if f" {name} " in words)
        first, second = words.split(f" {name} ")
        result = operations[name](numbers[first], numbers[second])
        assert question.accepted == (str(int(result)), spell_number(int(result)))


def test_facts_are_speakable_questions():
    questions = list(fact_questions(random.Random(0)))
    assert len(questions) > 1000
    assert [question.question for question in questions if not is_speakable(question.question)] == []
    assert all("{" not in question.question for question in questions)


def test_questions_survive_a_file(tmp_path):
    questions = [
        Question("Who?", ("A", "B"), "facts", "A did.", True),
        Question("Why?", (), "facts", "Because.", None),
        Question("Where?", ("here",), "facts", "There.", False),
    ]
    write_questions(questions, tmp_path / "questions.jsonl")
    assert read_questions(tmp_path / "questions.jsonl") == questions
    assert training_questions(tmp_path / "questions.jsonl") == questions[:2]


def test_the_stored_questions_hold_what_they_promise():
    questions = read_questions()
    assert len({normalise(question.question) for question in questions}) == len(questions) >= 3000
    reserved = ReservedTexts.from_repository()
    for question in questions:
        assert is_speakable(question.question)
        assert not reserved.holds(question.question)
        assert question.answer == first_sentence(question.answer)
        assert len(question.answer.split()) <= MAX_ANSWER_WORDS
        asked = bool(question.answer and question.accepted)
        assert question.known is (contains_answer(question.answer, question.accepted) if asked else None), question


def test_enough_questions_are_left_for_training():
    if not all(question.answer for question in read_questions()):
        pytest.skip("the LLM has not answered all questions yet: python -m aura_research.texts.questions")
    training = training_questions()
    assert len(training) >= 1500
    assert sum(question.known is True for question in training) >= len(training) / 3
