"""What prompts ask for, and how their clips are put into words, on token ids by hand."""

from types import SimpleNamespace

import pytest
import torch

from transformers_aura.modeling.prompts import PromptBatch, PromptReader, replace_last


AUDIO, TRANSCRIBE, ANSWER = 9, [5, 6], [4]


def reader(answers_from_transcript=True, questions_by_ear=None):
    return PromptReader(
        SimpleNamespace(
            audio_token_id=AUDIO,
            transcription_prompt=TRANSCRIBE,
            spoken_question_prompt=ANSWER,
            answers_from_transcript=answers_from_transcript,
            questions_by_ear=questions_by_ear,
        )
    )


def row(*tokens):
    return torch.tensor(tokens)


SPOKEN = row(1, AUDIO, AUDIO, *ANSWER)
TWO_CLIPS = row(1, AUDIO, AUDIO, 2, AUDIO, *ANSWER)
WRITTEN = row(1, AUDIO, AUDIO, 3, 3)
TRANSCRIPT = row(1, AUDIO, AUDIO, *TRANSCRIBE)
NO_CLIP = row(1, 2, *ANSWER)


def test_only_the_transcription_prompt_behind_the_last_clip_asks_for_a_transcript():
    assert [reader().asks_for_transcript(each) for each in (TRANSCRIPT, SPOKEN, WRITTEN, NO_CLIP)] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [True, False, False, False, False]),
        ({"answers_from_transcript": False}, [False] * 5),
        ({"questions_by_ear": []}, [True, True, True, False, False]),
        ({"questions_by_ear": [[3, 3]]}, [True, True, False, False, False]),
    ],
)
def test_what_is_written_down_before_it_is_answered(settings, expected):
    prompts = (SPOKEN, TWO_CLIPS, WRITTEN, TRANSCRIPT, NO_CLIP)
    assert [reader(**settings).is_written_down(each) for each in prompts] == expected


def test_a_clip_is_put_into_words_where_it_stands():
    given = reader()
    assert given.first_clip_is_question(SPOKEN, 2)
    assert not given.first_clip_is_question(TWO_CLIPS, 2)
    assert given.before_audio(TWO_CLIPS) == [1]
    assert given.first_clip_as_transcription(TWO_CLIPS, 2).tolist() == [1, AUDIO, AUDIO, *TRANSCRIBE]
    once = given.with_words(TWO_CLIPS, 2, row(7, 7, 7))
    assert once.tolist() == [1, 7, 7, 7, 2, AUDIO, *ANSWER]
    assert given.with_words(once, 1, row(8)).tolist() == [1, 7, 7, 7, 2, 8, *ANSWER]


def test_a_batch_is_padded_on_the_left_and_selected_from():
    features = [torch.ones(1, 4, 2), torch.ones(0, 4, 2)]
    masks = [torch.ones(1, 4, dtype=torch.bool), torch.ones(0, 4, dtype=torch.bool)]
    batch = PromptBatch([SPOKEN, row(1)], features, masks)
    inputs = batch.inputs(pad_token_id=0)
    assert inputs["input_ids"].tolist() == [[1, AUDIO, AUDIO, *ANSWER], [0, 0, 0, 1]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    assert inputs["input_features"].shape == (1, 4, 2)
    assert set(batch.select([1]).inputs(pad_token_id=0)) == {"input_ids", "attention_mask"}


def test_clips_of_unlike_lengths_are_padded_on_the_right():
    features = [torch.ones(1, 4, 2), torch.ones(2, 6, 2), torch.ones(0, 9, 2)]
    masks = [torch.ones(each.shape[:2], dtype=torch.bool) for each in features]
    one, others = (
        PromptBatch([SPOKEN], features[:1], masks[:1]),
        PromptBatch([TWO_CLIPS, NO_CLIP], features[1:], masks[1:]),
    )
    inputs = PromptBatch.together([one, others]).inputs(pad_token_id=0)
    assert inputs["input_ids"].shape == (3, 6)
    assert inputs["input_features"].sum((1, 2)).tolist() == [8, 12, 12]
    assert inputs["input_features_mask"].tolist() == [[True] * 4 + [False] * 2, [True] * 6, [True] * 6]


def test_the_last_clip_is_exchanged():
    given = reader()
    assert given.last_clip(TWO_CLIPS).tolist() == [4]
    assert given.last_clip(SPOKEN).tolist() == [1, 2]
    assert given.last_clip_as(TWO_CLIPS, 3).tolist() == [1, AUDIO, AUDIO, 2, AUDIO, AUDIO, AUDIO, *ANSWER]
    assert given.last_clip_as(SPOKEN, 1).tolist() == [1, AUDIO, *ANSWER]
    clips = torch.arange(6).view(2, 3)
    assert replace_last(clips, torch.tensor([[9, 9]])).tolist() == [[0, 1, 2], [9, 9, 0]]
    assert replace_last(clips[1:], torch.tensor([[9, 9]])).tolist() == [[9, 9]]
    assert replace_last(torch.ones(2, 3, 4), torch.ones(1, 2, 4)).sum((1, 2)).tolist() == [12, 8]
