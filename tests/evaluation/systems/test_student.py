import pytest

from tests.support.tiny import tone
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.evaluation.systems import MAX_NEW_TOKENS, AuraSystem, Request
from transformers_aura.evaluation.systems.identity import identity_hash


pytestmark = pytest.mark.numerical


@pytest.mark.parametrize(
    ("task", "question", "context"),
    [
        ("answer", None, None),
        ("transcript", "Transcribe the audio.", None),
        ("answer", "Who is it?", "It is Ada."),
    ],
)
def test_answers_in_a_batch_as_alone(student_folder, base, task, question, context):
    system = AuraSystem(str(student_folder), base_model=str(base), dtype="float32")
    requests = [
        Request(tone(seconds, hertz), task, question, context)
        for seconds, hertz in ((0.6, 440), (0.4, 300), (0.5, 900))
    ]
    together = system.answer(requests)
    alone = [system.answer([request])[0] for request in requests]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    confidences = ([answer.confidence for answer in answers] for answers in (together, alone))
    assert_equal_but_for_rounding(*confidences, num_terms(system.student, positions=100) * MAX_NEW_TOKENS[task])
    assert all(0 < answer.confidence < 1 for answer in alone)


def test_the_context_is_heard(student_folder, base):
    system = AuraSystem(str(student_folder), base_model=str(base), dtype="float32")
    alone = system.answer([Request(tone(0.5), "answer")])
    assert system.answer([Request(tone(0.5), "answer", context="the the the")]) != alone


def test_a_batch_that_asks_different_things_is_refused(student_folder, base):
    system = AuraSystem(str(student_folder), base_model=str(base))
    with pytest.raises(ValueError, match="ask one thing, got 2"):
        system.answer([Request(tone(0.5), "answer"), Request(tone(0.5), "answer", "Who?")])


def test_identity_follows_weights_and_dtype(student_folder, base):
    first = AuraSystem(str(student_folder), base_model=str(base), dtype="float32")
    again = AuraSystem(str(student_folder), "another name", base_model=str(base), dtype="float32")
    half = AuraSystem(str(student_folder), base_model=str(base), dtype="bfloat16")
    assert identity_hash(first.identity) == identity_hash(again.identity) != identity_hash(half.identity)


def test_it_answers_as_its_pipeline(student_folder, base):
    from transformers import pipeline

    system = AuraSystem(str(student_folder), base_model=str(base), dtype="float32")
    answerer = pipeline("audio-question-answering", model=system.student, processor=system.processor)
    (expected,) = answerer(
        {"array": tone(0.5), "sampling_rate": 16000}, max_new_tokens=MAX_NEW_TOKENS["answer"], do_sample=False
    )
    assert system.answer([Request(tone(0.5), "answer")])[0].text == expected["answer"]
