"""`transcribe` on a tiny student with both heads: alike alone and in a batch, whole and in chunks, and no longer than it may be."""

import concurrent.futures
import itertools
import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.tiny_models import babble, quiet, tiny_student, tiny_transcriber
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation
from transformers_aura.decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.ctc import greedy_labelling
from transformers_aura.decoding.segmentation import cut_at_pauses, is_pause
from transformers_aura.decoding.text_statistics import TextStatistics
from transformers_aura.modeling import transcription_aura
from transformers_aura.modeling.ctc_heads import STEPS_PER_TOKEN


pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore::transformers_aura.processing.audio_loading.SilentAudioWarning"),
]

SEARCH_ALONE = {"language_model_weight": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("transcriber")
    tiny_transcriber(path, decoding_config={"beam_size": 12, "num_rescored": 6})
    return path


@pytest.fixture
def student(folder):
    return AuraForSpeechQA.from_pretrained(folder / "student")


@pytest.fixture(scope="module")
def processor(folder):
    return AuraProcessor.from_pretrained(folder / "student")


@pytest.fixture
def transcribe(student, processor):
    def call(*requests, **settings):
        return student.transcribe(**inputs(processor, *requests), tokenizer=processor.tokenizer, **settings)

    return call


def inputs(processor, *requests):
    """Requests are sounds, sounds with a question, or chats."""
    chats = [
        request
        if isinstance(request, list)
        else build_conversation(*request)
        if isinstance(request, tuple)
        else build_conversation(request)
        for request in requests
    ]
    return processor.apply_chat_template(
        chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
    )


def assert_same(found, expected):
    assert (found.text, found.token_ids, found.heard) == (expected.text, expected.token_ids, expected.heard)
    assert found.words == expected.words
    assert found.score == pytest.approx(expected.score, rel=1e-4, abs=1e-3)
    assert found.log_probability == pytest.approx(expected.log_probability, rel=1e-4, abs=1e-3)
    assert [text.text for text in found.alternatives] == [text.text for text in expected.alternatives]


# ------------------------------------------------------------------------------------------------ what is found


@pytest.mark.parametrize("settings", [{"num_hypotheses": 3}, SEARCH_ALONE, {"method": "greedy"}])
def test_a_batch_equals_single_calls(transcribe, settings):
    requests = [
        babble(1.0, 1),
        (babble(2.0, 2), "What?"),
        (None, "No sound?"),
        quiet(0.5),
        (babble(0.6, 3), "What is said there?"),
    ]
    together = transcribe(*requests, **settings)
    alone = [transcribe(request, **settings)[0] for request in requests if request != (None, "No sound?")]
    assert len(together) == len(alone) == 4
    for found, expected in zip(together, alone, strict=True):
        assert_same(found, expected)
    texts = [transcript.text for transcript in together if transcript.heard]
    assert len(set(texts)) == 3
    assert all(texts)


def test_each_clip_of_a_chat_is_written_down_behind_the_text_before_the_first(transcribe, student, processor):
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "audio", **sound} for sound in (babble(1.0, 1), babble(0.7, 2))]},
    ]
    first, second = transcribe(chat, **SEARCH_ALONE)
    context = processor.apply_chat_template(chat[:1], tokenize=True)[0]
    for place, found in enumerate((first, second)):
        alone = inputs(processor, [chat[0], {"role": "user", "content": [chat[1]["content"][place]]}])
        assert alone["input_ids"][0, : len(context)].tolist() == context
        assert_same(found, student.transcribe(**alone, tokenizer=processor.tokenizer, **SEARCH_ALONE)[0])
    without = inputs(processor, babble(1.0, 1))
    del without["input_ids"], without["attention_mask"]
    (bare,) = student.transcribe(**without, tokenizer=processor.tokenizer)
    assert bare.text
    assert bare.text_cache is None


def test_features_given_as_embeddings(student, processor):
    batch = dict(inputs(processor, babble(1.0, 1), babble(2.0, 2)))
    expected = student.transcribe(**batch, tokenizer=processor.tokenizer)
    features = student.get_audio_features(batch.pop("input_features"), batch.pop("input_features_mask"))
    found = student.transcribe(
        **batch,
        tokenizer=processor.tokenizer,
        audio_embeds=features.last_hidden_state,
        audio_embeds_mask=features.audio_token_mask,
    )
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@torch.no_grad()
def test_greedy_is_the_likeliest_path_of_the_subword_head(transcribe, student, processor):
    batch = inputs(processor, babble(1.0, 1))
    states = student.model(**batch, output_hidden_states=True).hidden_states[student.config.subword_ctc_layer][0]
    heard = states[batch["input_ids"][0] == student.config.audio_token_id]
    head = student.model.subword_ctc_head
    path = head.log_probabilities(heard, student.get_input_embeddings().weight).argmax(-1).tolist()
    expected = [symbol - 1 for symbol, _ in itertools.groupby(path) if symbol]
    (found,) = transcribe(babble(1.0, 1), method="greedy")
    assert found.token_ids == expected
    assert found.text == processor.tokenizer.decode(expected).strip()
    assert found.words == []


@torch.no_grad()
def test_the_base_llm_adds_its_opinion_of_each_text(folder, transcribe, student, processor):
    llm = AutoModelForCausalLM.from_pretrained(folder / "base")
    end = processor.tokenizer.eos_token_id
    batch = inputs(processor, babble(1.0, 1))
    row = batch["input_ids"][0]
    context = row[: int((row == student.config.audio_token_id).nonzero()[0])].tolist()
    by_search, rescored = (
        transcribe(babble(1.0, 1), num_hypotheses=6, language_model_weight=weight)[0] for weight in (0, 2.5)
    )
    before = {text.text: text.score for text in [by_search, *by_search.alternatives]}
    after = [rescored, *rescored.alternatives]
    assert before.keys() == {text.text for text in after}
    assert len(before) == 6
    for text in after:
        ids = torch.tensor([[*context, *text.token_ids, end]])
        logits = llm(ids).logits[0, len(context) - 1 : -1].log_softmax(-1)
        opinion = float(logits[range(len(text.token_ids) + 1), [*text.token_ids, end]].sum())
        expected = before[text.text] + 2.5 * opinion
        assert_equal_but_for_rounding(
            text.score, expected, num_terms(llm, ids.numel()), 2.5 * abs(opinion), what=text.text
        )
    scores = [text.score for text in after]
    assert scores == sorted(scores, reverse=True)
    assert rescored.text_cache.input_ids == [*context, *rescored.token_ids]
    assert by_search.text_cache is None


def test_a_weight_of_zero_does_not_ask_the_llm(transcribe, monkeypatch):
    monkeypatch.setattr(transcription_aura, "score_texts", lambda *arguments: pytest.fail("the LLM was asked"))
    assert transcribe(babble(1.0, 1), **SEARCH_ALONE)[0].text


def test_an_llm_that_scores_no_texts_leaves_the_order_of_the_search(tmp_path):
    student = tiny_transcriber(tmp_path, "gemma3_text", decoding_config={"beam_size": 4})
    processor = AuraProcessor.from_pretrained(tmp_path / "student")
    batch = inputs(processor, babble(1.0, 1))
    found, searched = (
        student.transcribe(**batch, tokenizer=processor.tokenizer, language_model_weight=weight)[0]
        for weight in (1.0, 0.0)
    )
    assert_same(found, searched)


def test_several_hypotheses(transcribe):
    (best,) = transcribe(babble(1.0, 1))
    (several,) = transcribe(babble(1.0, 1), num_hypotheses=4)
    texts = [several.text, *(text.text for text in several.alternatives)]
    assert texts[0] == best.text
    assert best.alternatives == []
    assert len(set(texts)) == len(texts) == 4
    assert all(text.words and text.heard and text.token_ids for text in several.alternatives)


def test_counted_text_makes_its_words_likelier(student, processor):
    batch = inputs(processor, babble(1.0, 1))
    (before,) = student.transcribe(**batch, tokenizer=processor.tokenizer, **SEARCH_ALONE)
    word = before.words[0].text.lower()
    texts = [f"{word.upper()} {word.upper()}"] * 3
    student.text_statistics = TextStatistics.count(
        texts,
        processor.tokenizer(texts).input_ids,
        CharacterAlphabet(LATIN_ALPHABET),
        student.config.text_config.vocab_size,
        processor.tokenizer.eos_token_id,
    )
    (after,) = student.transcribe(**batch, tokenizer=processor.tokenizer, **SEARCH_ALONE)
    assert after.words[0].text == word.upper()  # as it was written there
    student.text_statistics = None
    assert student.transcribe(**batch, tokenizer=processor.tokenizer, **SEARCH_ALONE)[0].text == before.text


# ------------------------------------------------------------------------------------------ times, chunks, limits


def test_times_lie_in_the_clip_and_increase(transcribe):
    for seconds, seed in ((0.6, 3), (2.0, 2), (8.0, 4)):
        (found,) = transcribe(babble(seconds, seed), **SEARCH_ALONE)
        times = [time for word in found.words for time in (word.start_seconds, word.end_seconds)]
        assert times == sorted(times)
        assert all(word.start_seconds < word.end_seconds for word in found.words)
        assert times[0] >= 0
        assert times[-1] <= seconds + 0.08
        assert [word.text for word in found.words] == "".join(
            character if character.isalnum() or character in " '" else "" for character in found.text
        ).split()


def test_a_long_recording_is_the_sum_of_its_chunks(folder, processor, monkeypatch):
    monkeypatch.setattr(
        transcription_aura, "contains_speech", lambda *arguments: True
    )  # a short chunk may hold too little
    sound = babble(6.0, 5)
    batch = inputs(processor, sound)
    config = {"chunk_seconds": 1.2, "beam_size": 6}
    student = AuraForSpeechQA.from_pretrained(folder / "student")
    student.config.decoding_config = config
    (found,) = student.transcribe(**batch, tokenizer=processor.tokenizer, num_hypotheses=3, **SEARCH_ALONE)
    features = student.get_audio_features(batch["input_features"], batch["input_features_mask"])
    (embeddings,) = features.last_hidden_state
    characters = student.model.character_ctc_head.log_probabilities(embeddings).numpy()
    cuts = cut_at_pauses(is_pause(characters), round(1.2 * 12.5) * STEPS_PER_TOKEN)
    edges = [0, *(cut // STEPS_PER_TOKEN for cut in cuts), len(embeddings)]
    assert len(edges) > 5
    context = batch["input_ids"][0].tolist()
    context = context[: context.index(student.config.audio_token_id)]
    chunks = []
    for first, end in itertools.pairwise(edges):
        assert end - first <= 15
        chunks += student.transcribe(
            input_ids=torch.tensor([context + [student.config.audio_token_id] * (end - first)]),
            audio_embeds=embeddings[None, first:end],
            tokenizer=processor.tokenizer,
            **SEARCH_ALONE,
        )
    assert found.text == " ".join(chunk.text for chunk in chunks if chunk.text)
    assert found.token_ids == processor.tokenizer(found.text).input_ids
    assert found.score == pytest.approx(sum(chunk.score for chunk in chunks), rel=1e-4)
    starts = [
        first / 12.5 + word.start_seconds for first, chunk in zip(edges, chunks, strict=False) for word in chunk.words
    ]
    assert [word.start_seconds for word in found.words] == pytest.approx(starts, abs=2e-3)
    assert found.alternatives == []
    for at_once in (1, 100):
        student.config.decoding_config = {**config, "chunks_at_once": at_once}
        assert student.transcribe(**batch, tokenizer=processor.tokenizer, **SEARCH_ALONE)[0].text == found.text


@pytest.mark.parametrize("method", ["beam_search", "greedy"])
def test_at_most_so_many_tokens(transcribe, method):
    (whole,) = transcribe(babble(1.0, 1), method=method)
    assert whole.is_complete
    (cut,) = transcribe(babble(1.0, 1), method=method, max_new_tokens=5)
    assert cut.token_ids == whole.token_ids[:5]
    assert whole.text.startswith(cut.text)
    assert not cut.is_complete
    assert cut.text_cache is None
    assert len(cut.words) <= len(whole.words)
    (same,) = transcribe(babble(1.0, 1), method=method, max_new_tokens=len(whole.token_ids))
    assert_same(same, whole)


def test_a_time_limit_and_a_caller_end_a_recording_between_chunks(student, transcribe, monkeypatch):
    student.config.decoding_config = {"chunk_seconds": 1.2, "beam_size": 6, "chunks_at_once": 1}
    long, short = babble(6.0, 5), babble(1.0, 1)
    whole, other = transcribe(long, short, **SEARCH_ALONE)
    assert whole.is_complete
    nothing = transcribe(long, max_seconds=0.0, **SEARCH_ALONE)[0]
    assert (nothing.text, nothing.is_complete, nothing.heard) == ("", False, True)

    seen = []
    stopped, beside = transcribe(long, short, stop=lambda text: seen.append(text) or len(seen) == 2, **SEARCH_ALONE)
    assert not stopped.is_complete
    assert whole.text.startswith(stopped.text)
    assert stopped.text == seen[1]
    assert seen[1].startswith(seen[0])
    assert_same(beside, other)

    clock = itertools.count()
    monkeypatch.setattr(transcription_aura.time, "monotonic", lambda: next(clock))
    timed, late = transcribe(long, short, max_seconds=3, **SEARCH_ALONE)  # it looks once before each chunk
    assert not timed.is_complete
    assert timed.text == seen[1]
    assert (late.text, late.is_complete) == ("", False)


def test_silence_is_an_empty_text(transcribe):
    heard, silent = transcribe(babble(1.0, 1), quiet(1.0))
    assert (silent.text, silent.token_ids, silent.words, silent.heard) == ("", [], [], False)
    assert silent.is_complete
    assert heard.heard


def test_a_quiet_chunk_stays_empty_however_well_another_text_reads(student, processor):
    """The base LLM judges words, not whether anybody spoke."""
    sound = {"array": np.concatenate([babble(2.0, 2)["array"], quiet(6.0)["array"]]), "sampling_rate": 16_000}
    student.config.decoding_config = {
        "chunk_seconds": 2.0,
        "beam_size": 6,
        "subword_weight": 0.0,
        "symbol_threshold": 30.0,
        "beam_threshold": 60.0,
    }
    (found,) = student.transcribe(**inputs(processor, sound), tokenizer=processor.tokenizer, language_model_weight=5.0)
    assert found.words
    assert found.words[-1].end_seconds < 2.5


def test_chunks_of_silence_go_through_no_layer(student, processor, monkeypatch):
    """What is said before and behind a long pause is found where it is, and the pause costs nothing."""
    student.config.decoding_config = {"chunk_seconds": 2.0, "beam_size": 6, "chunks_at_once": 1}
    parts = [babble(1.5, 2), quiet(8.0), babble(1.5, 3)]
    sound = {"array": np.concatenate([part["array"] for part in parts]), "sampling_rate": 16_000}
    seen = []
    whole_pass = student._subword_emissions
    monkeypatch.setattr(
        student,
        "_subword_emissions",
        lambda embeddings, *rest: seen.extend(embeddings) or whole_pass(embeddings, *rest),
    )
    (found,) = student.transcribe(**inputs(processor, sound), tokenizer=processor.tokenizer, **SEARCH_ALONE)
    assert sum(map(len, seen)) < 0.7 * 11 * 12.5
    assert found.is_complete
    assert found.words[0].end_seconds < 2
    assert found.words[-1].start_seconds > 9


# --------------------------------------------------------------------------------------------------------- errors


def test_missing_heads_are_named(tmp_path, processor):
    batch = inputs(processor, babble(0.5))
    tokenizer = processor.tokenizer
    with pytest.raises(ValueError, match=r"no CTC head .*generate an answer"):
        tiny_student(tmp_path / "none").transcribe(**batch, tokenizer=tokenizer)
    student = tiny_student(tmp_path / "subword", subword_ctc_layer=1)
    with pytest.raises(ValueError, match=r'no character CTC head .*method="greedy"'):
        student.transcribe(**batch, tokenizer=tokenizer)
    (found,) = student.transcribe(**batch, tokenizer=tokenizer, method="greedy")
    assert found.heard
    student.config.decoding_config = {"chunk_seconds": 1.0}
    (long,) = student.transcribe(**inputs(processor, babble(3.0)), tokenizer=tokenizer, method="greedy")
    assert long.text


def test_the_character_head_alone_is_enough(student, processor):
    batch, tokenizer = inputs(processor, babble(1.0), quiet(1.0)), processor.tokenizer
    student.config.subword_ctc_layer = student.model.subword_ctc_head = None
    embeddings = student.get_audio_features(batch["input_features"], batch["input_features_mask"]).last_hidden_state
    symbols = greedy_labelling(student.model.character_ctc_head.log_probabilities(embeddings[0]).numpy())
    spelled, nothing = student.transcribe(**batch, tokenizer=tokenizer, method="greedy")
    assert spelled.text == CharacterAlphabet(LATIN_ALPHABET).decode(symbols)
    assert not nothing.heard
    searched, _ = student.transcribe(**batch, tokenizer=tokenizer)
    assert searched.words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "best"}, '"beam_search" or "greedy", got \'best\''),
        ({"num_hypotheses": 0}, "`num_hypotheses` must be 1 or more, got 0"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be 1 or more, got 0"),
        ({"beam_size": 0}, "`beam_size` must be 1 or more, got 0"),
        ({"language_model_weight": -1.0}, "`language_model_weight` must be 0 or more"),
    ],
)
def test_settings_out_of_range(transcribe, settings, message):
    with pytest.raises(ValueError, match=message):
        transcribe(babble(0.5), **settings)


def test_arguments_that_do_not_belong_together(student, processor):
    batch = dict(inputs(processor, babble(0.5)))
    with pytest.raises(
        ValueError, match=r"hold 6 audio positions, but the 1 clips of the batch make 7 audio embeddings"
    ):
        student.transcribe(
            **batch
            | {
                "input_ids": batch["input_ids"]
                .clone()
                .index_fill_(1, torch.tensor([list(batch["input_ids"][0]).index(student.config.audio_token_id)]), 5)
            },
            tokenizer=processor.tokenizer,
        )
    with pytest.raises(ValueError, match="There is no audio"):
        student.transcribe(input_ids=batch["input_ids"], tokenizer=processor.tokenizer)
    with pytest.raises(ValueError, match="two forms of the same clips"):
        student.transcribe(**batch, audio_embeds=torch.zeros(1, 7, 32), tokenizer=processor.tokenizer)


@pytest.mark.fault("requests")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (True, "2", math.nan, math.inf, -1, 0, 1.5)) for name in ("num_hypotheses", "max_new_tokens")),
        ("beam_size", (True, "2", math.nan, math.inf, -1, 0, 1.5, 10**12)),
        ("language_model_weight", (True, "2", math.nan, math.inf, -1, 10**400)),
        ("max_seconds", (True, "2", math.nan, math.inf, -1, 10**400)),
        ("method", ("ears", 1, None, [])),
        ("stop", ("word", 3)),
        ("tokenizer", (None, "gpt2", 3)),
        ("input_features", (np.zeros((1, 100, 80), np.float32), torch.zeros(100, 80), torch.zeros(1, 100, 40))),
        ("input_features_mask", (torch.ones(1, 40, dtype=torch.bool), torch.ones(1), [[1]])),
        ("input_ids", (torch.zeros(5, dtype=torch.long), torch.zeros(1, 5), [[1, 2]], "hi")),
        ("attention_mask", (torch.ones(3, 2), torch.ones(5))),
        ("audio_embeds", (torch.zeros(3, 4), torch.zeros(1, 4, 7))),
    ],
)
def test_values_that_cannot_be_are_named(student, processor, name, values):
    given = {**inputs(processor, babble(0.5)), "tokenizer": processor.tokenizer}
    for value in values:
        with pytest.raises((TypeError, ValueError), match=f"`{name}`"):
            student.transcribe(**{**given, name: value})


@pytest.mark.fault("requests")
def test_threads_share_a_student(transcribe, student, processor):
    """And the tokenizer, which others call with padding and truncation meanwhile."""
    requests = [babble(1.0, 1), (babble(0.7, 2), "What?"), babble(3.0, 3)]
    expected = [transcribe(request)[0] for request in requests]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        others = [
            pool.submit(processor, text=["a", "b c"], truncation=True, max_length=2, padding=True) for _ in range(50)
        ]
        found = list(pool.map(lambda request: transcribe(request)[0], requests * 4))
        assert all(len(other.result()["input_ids"][1]) == 2 for other in others)
    for one, right in zip(found, expected * 4, strict=True):
        assert_same(one, right)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_it_changes_nothing(student, processor, transcribe, dtype):
    """As in an evaluation inside of a training loop."""
    sound, given = babble(1.5, 1), inputs(processor, babble(1.5, 1))
    (expected,) = transcribe(sound)
    embeds = student.get_audio_features(given["input_features"], given["input_features_mask"]).last_hidden_state
    with torch.autocast("cpu", dtype=dtype):
        assert_same(transcribe(sound)[0], expected)
        assert_same(
            student.transcribe(audio_embeds=embeds, tokenizer=processor.tokenizer)[0],
            student_alone(student, processor, embeds),
        )
        short = student.get_audio_features(given["input_features"], given["input_features_mask"]).last_hidden_state
        assert short.dtype == dtype or short.dtype == torch.float32
        assert student.transcribe(audio_embeds=short, tokenizer=processor.tokenizer)[0].heard
        assert student.contains_speech(short, torch.ones(short.shape[:2], dtype=torch.bool)) == [True]
        answer = student.generate(**given, max_new_tokens=3, do_sample=False)
    assert answer.shape[1] == given["input_ids"].shape[1] + 3


def student_alone(student, processor, embeds):
    with torch.autocast("cpu", enabled=False):
        return student.transcribe(audio_embeds=embeds, tokenizer=processor.tokenizer)[0]
