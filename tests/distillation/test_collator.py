import logging

import numpy as np
import pytest
import torch

from tests.distillation.support import audio, tiny_rows
from tests.support.tiny import tiny_processor, tiny_tokenizer
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.distillation.collator import AuraDataCollator
from transformers_aura.distillation.examples import AUGMENTATION_SEED_KEY
from transformers_aura.distillation.objectives.answer_kl import gold_prompts
from transformers_aura.distillation.objectives.character_ctc import TranscriptSymbols
from transformers_aura.distillation.objectives.columns import teacher_waveforms, transcript_tokens
from transformers_aura.processing.conversation import PLAIN_CHAT_TEMPLATE, build_conversation
from transformers_aura.processing.feature_extraction_aura import AuraFeatureExtractor
from transformers_aura.processing.processing_aura import AuraProcessor


TRANSCRIPTION = {"audio": audio(0.5), "transcript": "good morning", "question": None, "answer": None}
SPOKEN = {"audio": audio(0.9), "transcript": "who is it", "question": None, "answer": "me"}
WITH_QUESTION = {"audio": audio(0.4), "transcript": "ten", "question": "And twice?", "answer": "twenty"}
TEXT = {"audio": None, "transcript": None, "question": "Who?", "answer": "I."}


@pytest.fixture(scope="module")
def processor():
    return tiny_processor()


def labelled(batch, processor, row):
    labels = batch["labels"][row]
    return processor.tokenizer.decode(labels[labels != -100])


def prompt_ids(batch, row):
    end = int((batch["labels"][row] != -100).nonzero()[0])
    return batch["input_ids"][row, :end].tolist()


def test_the_prompt_is_that_of_inference_token_for_token(processor):
    batch = AuraDataCollator(processor)([TRANSCRIPTION, SPOKEN, WITH_QUESTION])
    questions = ["Transcribe the audio.", None, "And twice?"]
    for row, (example, question) in enumerate(zip([TRANSCRIPTION, SPOKEN, WITH_QUESTION], questions, strict=True)):
        inference = processor.apply_chat_template(
            build_conversation(example["audio"], question),
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        assert prompt_ids(batch, row) == inference["input_ids"][0].tolist()
        frames = int(batch["input_features_mask"][row].sum())
        assert torch.equal(batch["input_features"][row, :frames], inference["input_features"][0])


def test_labels_are_the_answer_and_the_end_of_turn_only(processor):
    batch = AuraDataCollator(processor)([TRANSCRIPTION, SPOKEN, WITH_QUESTION])
    assert [labelled(batch, processor, row) for row in range(3)] == [
        "good morning<|im_end|>",
        "me<|im_end|>",
        "twenty<|im_end|>",
    ]
    is_labelled = batch["labels"] != -100
    assert torch.equal(batch["labels"][is_labelled], batch["input_ids"][is_labelled])
    assert not (is_labelled & (batch["input_ids"] == processor.audio_token_id)).any()
    assert not (is_labelled & (batch["attention_mask"] == 0)).any()
    # The answer is the end of the row: nothing but padding behind it.
    last = batch["attention_mask"].sum(dim=1) - 1
    assert is_labelled[torch.arange(3), last].all()
    assert (batch["attention_mask"].diff(dim=1) <= 0).all(), "right padded"


def test_waveforms_are_those_of_the_features(processor):
    batch = AuraDataCollator(processor, random_gain_db=20, columns=[teacher_waveforms])([TRANSCRIPTION, SPOKEN])
    for waveform, row in zip(batch["waveforms"], [TRANSCRIPTION, SPOKEN], strict=True):
        assert np.array_equal(waveform, row["audio"]["array"]), "the teacher gets the clip as it is"
    assert "waveforms" not in AuraDataCollator(processor)([SPOKEN])


@pytest.mark.parametrize("peak", [0.2, 0.9, 1.0, 3.0])
def test_a_random_gain_is_no_louder_than_full_scale(processor, peak):
    array = SPOKEN["audio"]["array"]
    clip = {**SPOKEN, "audio": {"array": array * np.float32(peak / np.abs(array).max()), "sampling_rate": 16000}}
    collator = AuraDataCollator(processor, random_gain_db=30)
    plain = AuraDataCollator(processor)([clip])["input_features"]
    loud = plain >= plain.flatten().quantile(0.99)
    shifts = [
        float((collator([{**clip, AUGMENTATION_SEED_KEY: seed}])["input_features"] - plain)[loud].mean())
        for seed in range(20)
    ]
    # A gain of `g` decibels moves log10 power / 4 by `2 * g / 20 / 4`.
    gains_db = [shift * 40 for shift in shifts]
    assert max(gains_db) <= min(30, -20 * np.log10(peak)) + 0.5, "louder than full scale"
    assert min(gains_db) < -5, "softer, as before"


def test_gold_prompt_holds_the_transcript_in_place_of_the_audio(processor):
    collator = AuraDataCollator(processor, columns=[gold_prompts])
    batch = collator([SPOKEN, TRANSCRIPTION, WITH_QUESTION])
    texts = processor.tokenizer.batch_decode(batch["gold_input_ids"])
    assert len(texts) == 2, "a transcription row has no other answer to learn from"
    assert texts[0].startswith("<|im_start|>user\nwho is it<|im_end|>\n<|im_start|>assistant\nme<|im_end|>")
    assert texts[1].startswith("<|im_start|>user\nten\nAnd twice?<|im_end|>\n<|im_start|>assistant\ntwenty<|im_end|>")
    # The same tokens in the same order on both sides.
    gold_labels = batch["gold_labels"][batch["gold_labels"] != -100]
    labels = batch["labels"][batch["has_gold_prompt"]]
    assert torch.equal(labels[labels != -100], gold_labels)
    assert batch["has_gold_prompt"].tolist() == [True, False, True]


def test_a_row_can_stay_out_of_the_answer_kl(processor):
    collator = AuraDataCollator(processor, columns=[gold_prompts])
    batch = collator([SPOKEN, {**WITH_QUESTION, "answer_kl": False}])
    assert batch["has_gold_prompt"].tolist() == [True, False]
    assert len(batch["gold_input_ids"]) == 1
    assert batch["labels"].ne(-100).any(dim=1).all(), "the cross-entropy still acts"


def test_text_only_rows(processor, caplog):
    collator = AuraDataCollator(processor)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("transformers").propagate = True
        batch = collator([TEXT, SPOKEN, TEXT])
        collator([TEXT, SPOKEN])
    assert batch["input_ids"].shape[0] == 1
    assert sum("lora_scope='always'" in record.message for record in caplog.records) == 1
    columns = [teacher_waveforms, gold_prompts, transcript_tokens, TranscriptSymbols(LATIN_ALPHABET)]
    kept = AuraDataCollator(processor, keep_text_only_rows=True, columns=columns)([TEXT, SPOKEN])
    assert kept["transcript_token_lengths"].tolist()[0] == kept["transcript_lengths"].tolist()[0] == 0
    assert labelled(kept, processor, 0) == "I.<|im_end|>"
    assert kept["input_features"].shape[0] == 1
    assert len(kept["waveforms"]) == 1
    only_text = AuraDataCollator(processor, keep_text_only_rows=True, columns=[teacher_waveforms])([TEXT])
    assert set(only_text) == {"input_ids", "attention_mask", "labels"}
    # A batch in which nothing is left is empty, not an error.
    assert collator([TEXT])["input_ids"].shape == (0, 0)
    empty = AuraDataCollator(processor, columns=columns)([TEXT])
    assert empty["transcript_symbols"].shape == empty["gold_labels"].shape == (0, 0)


def test_speech_alone_is_for_distillation(processor):
    speech = {"audio": audio(0.5)}
    batch = AuraDataCollator(processor, labels_required=False, columns=[teacher_waveforms])([speech, SPOKEN])
    assert (batch["labels"][0] == -100).all()
    assert len(batch["waveforms"]) == 2
    with pytest.raises(ValueError, match='supervision="distillation"'):
        AuraDataCollator(processor)([speech])


def test_random_gain_is_fixed_by_the_seed_of_the_row(processor):
    collator = AuraDataCollator(processor, random_gain_db=12)

    def features(seed):
        return collator([{**SPOKEN, AUGMENTATION_SEED_KEY: seed}])["input_features"]

    assert torch.equal(features(3), features(3))
    assert not torch.equal(features(3), features(4))
    plain = AuraDataCollator(processor)([SPOKEN])["input_features"]
    # A gain is a shift of the log-mel (log10 power / 4) by at most 2 * 12 / 20 / 4, where neither floor nor level control interferes.
    shift = (features(3) - plain)[plain > 0.5]
    assert float(shift.std()) < 1e-3
    assert 0 < abs(float(shift.mean())) <= 0.3
    assert torch.equal(AuraDataCollator(processor)([{**SPOKEN, AUGMENTATION_SEED_KEY: 3}])["input_features"], plain)


def test_context_moves_the_audio(processor):
    collator = AuraDataCollator(
        processor, context_texts=["one two three four", "five six"], context_probability=1.0, context_max_words=9
    )
    starts = set()
    for seed in range(12):
        batch = collator([{**SPOKEN, AUGMENTATION_SEED_KEY: seed}])
        text = processor.tokenizer.decode(batch["input_ids"][0])
        assert text.startswith("<|im_start|>user\nContext: ")
        words = text.split("Context: ")[1].split("\n")[0].split()
        assert 1 <= len(words) <= 9
        starts.add(int((batch["input_ids"][0] == processor.audio_token_id).nonzero()[0]))
        assert labelled(batch, processor, 0) == "me<|im_end|>"
    assert len(starts) > 4


def test_other_templates_end_the_turn_too():
    # Plain template: the end-of-sequence token; a template without any end: it is added.
    for template in (
        PLAIN_CHAT_TEMPLATE,
        "{% for m in messages %}{{ m['content'] }} {% endfor %}{% if add_generation_prompt %}>{% endif %}",
    ):
        processor = AuraProcessor(AuraFeatureExtractor(), tiny_tokenizer(chat_template=template))
        batch = AuraDataCollator(processor)([SPOKEN])
        assert labelled(batch, processor, 0).strip() == "me<|im_end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**SPOKEN, "awnser": "x"}, "'awnser'"),
        ({"audio": None, "question": "Who?"}, "needs `question` and `answer`"),
        ({"audio": audio(0.2)}, "`transcript` or an `answer`"),
        ({"audio": audio(0.2), "question": "Who?"}, "needs an `answer`"),
        ({**SPOKEN, "answer": "me<|im_end|>"}, "special token"),
    ],
)
def test_bad_rows_are_named(processor, row, message):
    with pytest.raises(ValueError, match=message):
        AuraDataCollator(processor)([row])


def test_rows_are_never_cut(processor):
    length = AuraDataCollator(processor)([SPOKEN])["input_ids"].shape[1]
    AuraDataCollator(processor, max_length=length)([SPOKEN])
    with pytest.raises(ValueError, match=rf"{length} tokens.*{length - 1}.*0\.9 s.*'me'"):
        AuraDataCollator(processor, max_length=length - 1)([SPOKEN])


def test_settings_are_checked(processor):
    with pytest.raises(ValueError, match="random_gain_db"):
        AuraDataCollator(processor, random_gain_db=-1)
    with pytest.raises(ValueError, match="context_texts"):
        AuraDataCollator(processor, context_probability=0.5)


def test_a_batch_is_its_rows(processor):
    rows = tiny_rows(5)
    batch = AuraDataCollator(processor)(rows)
    for index, row in enumerate(rows):
        alone = AuraDataCollator(processor)([row])
        length = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][index, :length], alone["input_ids"][0])
        assert torch.equal(batch["labels"][index, :length], alone["labels"][0])


def test_transcript_tokens_stand_where_the_audio_stood(processor):
    collator = AuraDataCollator(processor, columns=[transcript_tokens], labels_required=False)
    batch = collator([TRANSCRIPTION, SPOKEN, {"audio": audio(0.3)}, {"audio": audio(0.3), "answer": "me"}])
    lengths = batch["transcript_token_lengths"].tolist()
    assert lengths[2:] == [0, 0]
    for row, example in enumerate((TRANSCRIPTION, SPOKEN)):
        tokens = batch["transcript_tokens"][row, : lengths[row]].tolist()
        assert tokens == processor.tokenizer(example["transcript"], add_special_tokens=False)["input_ids"]
        heard = batch["input_ids"][row].tolist()
        read = batch["text_input_ids"][row, : batch["text_attention_mask"][row].sum()].tolist()
        assert read == heard[: heard.index(processor.audio_token_id)] + tokens


def test_transcript_symbols_are_the_characters_that_are_said(processor):
    texts = ["  I\u2019d like - well, Two coffee-cups!  ", "press 1", "caf\u00e9", None, "50 \u20ac"]
    rows = [{"audio": audio(0.3), "transcript": text, "answer": "me"} for text in texts]
    batch = AuraDataCollator(processor, columns=[TranscriptSymbols(LATIN_ALPHABET)])(rows)
    written = [
        "".join(LATIN_ALPHABET[symbol - 1] for symbol in row[:length])
        for row, length in zip(batch["transcript_symbols"], batch["transcript_lengths"], strict=True)
    ]
    assert written == ["i'd like well two coffee cups", "", "cafe", "", ""]
    assert batch["has_transcript"].tolist() == [True, True, True, False, True]
    assert [chr(code) for code in batch["unknown_character"]] == ["\0", "1", "\0", "\0", "5"]
