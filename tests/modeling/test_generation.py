"""A student with a token head writes what it heard, and answers what it wrote; anything else it does as before."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig, TextIteratorStreamer

from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from transformers_aura import AuraForSpeechQA, AuraModel, AuraProcessor, build_conversation
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.modeling import generation
from transformers_aura.modeling.ctc_forward import CTCForward, Forward
from transformers_aura.modeling.ctc_heads import CharacterCTCHead, SubwordCTCHead
from transformers_aura.modeling.generation import TRANSCRIPT_BEAMS
from transformers_aura.modeling.loading import AdapterMismatchError
from transformers_aura.modeling.pieces import cuts_at_pauses, is_pause
from transformers_aura.modeling.spelling import spell
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


LAYER = 2


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_tiny_language_model(tmp_path / "base", "qwen2")


@pytest.fixture
def processor() -> AuraProcessor:
    return tiny_processor()


@pytest.fixture
def student(base: Path, processor: AuraProcessor) -> AuraForSpeechQA:
    student = tiny_student(base)
    torch.manual_seed(0)
    head = SubwordCTCHead(student.config.text_config.hidden_size)
    torch.nn.init.normal_(head.projection.weight, std=2.0)
    student.attach_subword_ctc_head(
        head, LAYER, processor.prompt_behind_audio(TRANSCRIPTION_INSTRUCTION), processor.prompt_behind_audio()
    )
    student.config.transcript_ctc_weight = 1.0  # what is heard alone decides
    student.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    student.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return student


def inputs(processor: AuraProcessor, *requests: tuple) -> dict:
    chats = [build_conversation(audio, question) for audio, question in requests]
    return processor.apply_chat_template(
        chats, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt", padding=True
    )


def clip(seconds: float, seed: int) -> dict:
    noise = np.random.default_rng(seed).normal(size=int(16000 * seconds)).astype(np.float32)
    return {"array": tone(seconds) * 0.2 + 0.05 * noise, "sampling_rate": 16000}


def new_tokens(student: AuraForSpeechQA, batch: dict, max_new_tokens: int = 12, **settings: float) -> list[list[int]]:
    tokens = student.generate(**batch, max_new_tokens=max_new_tokens, do_sample=False, **settings)
    assert torch.equal(tokens[:, : batch["input_ids"].shape[1]], batch["input_ids"])
    ends = (student.generation_config.eos_token_id, student.generation_config.pad_token_id)
    return [[token for token in row if token not in ends] for row in tokens[:, batch["input_ids"].shape[1] :].tolist()]


def test_a_transcript_is_what_the_first_layers_heard(student, processor):
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION))
    states = student.model(**batch, output_hidden_states=True).hidden_states[LAYER][0]
    heard = states[batch["input_ids"][0] == student.config.audio_token_id]
    log_probabilities = student.model.subword_ctc_head.log_probabilities(heard, student.get_input_embeddings().weight)
    # By hand: the likeliest first token is that with the highest sum over where it may be said first.
    silence = torch.cat([torch.zeros(1), log_probabilities[:, 0].cumsum(0)[:-1]])
    first = int((log_probabilities[:, 1:] + silence.unsqueeze(-1)).logsumexp(0).argmax())
    assert new_tokens(student, batch, 1, num_beams=1) == [[first]]
    stop_at_once = [lambda input_ids, scores: torch.ones(len(input_ids), dtype=torch.bool)]
    by_position = student.generate(
        batch["input_ids"],
        None,
        None,
        stop_at_once,
        **{k: v for k, v in batch.items() if k != "input_ids"},
        max_new_tokens=9,
        num_beams=1,
    )
    assert by_position[0, -1] == first
    assert by_position.shape[1] == batch["input_ids"].shape[1] + 1
    assert new_tokens(student, batch) == new_tokens(student, batch, num_beams=TRANSCRIPT_BEAMS, length_penalty=0.0)
    student.config.transcript_ctc_weight = 0.0
    with_llm_alone = new_tokens(student, batch, num_beams=1)
    student.detach_heads()
    assert new_tokens(student, batch) == with_llm_alone


@pytest.fixture
def spelling(student: AuraForSpeechQA, processor: AuraProcessor) -> AuraForSpeechQA:
    """With a letter head beside the token head, and letters that are told apart clearly enough to choose by them."""
    head = CharacterCTCHead(student.config.text_config.hidden_size, LATIN_ALPHABET)
    torch.nn.init.normal_(head.projection.weight, std=0.3)
    student.attach_character_ctc_head(head, processor.tokenizer)
    student.config.transcript_ctc_weight = 0.3
    return student


def fit(log_probabilities: torch.Tensor, symbols: list[int]) -> float:
    """By hand, and symbol by symbol: how well a whole text fits what CTC heard."""
    forward = CTCForward(log_probabilities.numpy())
    text = forward.nothing()
    for place, symbol in enumerate(symbols):
        one = Forward.stack([text])
        last = symbols[place - 1] if place else 0
        text = forward.extend(one, np.array([last]), np.array([symbol]), np.array([place == 0]))[0]
    return forward.fits_whole(text)


@torch.no_grad()
def opinions_of(
    student: AuraForSpeechQA, llm: torch.nn.Module, tokenizer: object, batch: dict, text: tuple[int, ...]
) -> torch.Tensor:
    """By hand: a transcript by its letters, its tokens, the LLM that hears, and the LLM that reads it in the place of the audio."""
    end = student.generation_config.eos_token_id
    row = batch["input_ids"][0]
    is_audio = row == student.config.audio_token_id
    states = [layer[0, is_audio] for layer in student.model(**batch, output_hidden_states=True).hidden_states]
    tokens = student.model.subword_ctc_head.log_probabilities(states[LAYER], student.get_input_embeddings().weight)
    letters = student.model.character_ctc_head.log_probabilities(states[0])
    spelled = list(spell(tokenizer.decode(text)).symbols)
    written = torch.tensor([[*text, end]])
    before = row[: int(is_audio.nonzero()[0])]
    heard = batch | {"input_ids": torch.cat([row[None], written], dim=-1)}
    heard["attention_mask"] = torch.ones_like(heard["input_ids"])
    by_llm = [
        float(logits[0, -1 - written.shape[1] : -1].log_softmax(-1).gather(-1, written.T).sum())
        for logits in (student(**heard).logits, llm(torch.cat([before[None], written], dim=-1)).logits)
    ]
    return torch.tensor(
        [fit(letters, spelled), fit(tokens, [1 + token for token in text]), *by_llm], dtype=torch.double
    )


def test_a_question_is_written_down_as_it_reads_well_a_transcript_is_not(spelling, processor, base, monkeypatch):
    student = spelling
    student.config.answers_from_transcript = True
    llm = AutoModelForCausalLM.from_pretrained(base)
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION))
    question = inputs(processor, (clip(1.0, 1), None))
    written = []
    write = AuraForSpeechQA._transcribe
    monkeypatch.setattr(
        AuraForSpeechQA, "_transcribe", lambda self, *args: written.append(write(self, *args)) or written[-1]
    )
    texts = {}
    for weight in (0.0, 3.0):
        student.config.question_lm_weight = weight
        (transcript,) = new_tokens(student, batch, 100)
        answers = new_tokens(student, question)
        texts[weight] = tuple(written.pop()[0].tolist())
        assert tuple(transcript) == texts[0.0]
        row = with_words(question["input_ids"][0].tolist(), list(texts[weight]), student.config.audio_token_id)
        assert answers == [read_by(base, row)]
    assert texts[0.0] != texts[3.0]
    weights = torch.tensor([0.8, 0.3, 0.7, 3.0], dtype=torch.double)
    better, worse = (
        opinions_of(student, llm, processor.tokenizer, batch, texts[weight]) @ weights for weight in (3.0, 0.0)
    )
    assert better > worse
    token_by_token = new_tokens(student, batch, 100, num_beams=TRANSCRIPT_BEAMS, length_penalty=0.0)[0]
    assert tuple(token_by_token) != texts[0.0]
    monkeypatch.setattr(generation, "can_read_trees", lambda model: False)
    new_tokens(student, question)
    assert written.pop()[0].tolist() == token_by_token
    assert new_tokens(student, batch, 100)[0] == token_by_token


def test_a_transcript_that_is_searched_for_is_cut_and_returned_as_any(spelling, processor):
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION), (clip(0.5, 2), TRANSCRIPTION_INSTRUCTION))
    whole = new_tokens(spelling, batch, 100)
    assert all(whole)
    assert whole[0] != whole[1]
    assert new_tokens(spelling, batch, 2) == [row[:2] for row in whole]
    token_by_token = spelling.generate(**batch, max_new_tokens=100, return_dict_in_generate=True, output_scores=True)
    assert len(token_by_token.scores)
    never = [
        lambda input_ids, scores: (
            scores - 1e4 * torch.nn.functional.one_hot(torch.tensor(whole[0][0]), scores.shape[-1])
        )
    ]
    assert whole[0][0] not in new_tokens(spelling, batch, 100, logits_processor=never)[0]
    config = GenerationConfig(bad_words_ids=[[whole[0][0]]], eos_token_id=spelling.generation_config.eos_token_id)
    assert whole[0][0] not in new_tokens(spelling, batch, 100, generation_config=config)[0]


@pytest.mark.parametrize("kind", ["student", "spelling"])
def test_a_transcript_is_written_as_if_the_llm_did_not_chat_unless_the_call_samples(request, kind, processor):
    student = request.getfixturevalue(kind)
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION))
    expected = new_tokens(student, batch)
    student.generation_config.update(do_sample=True, temperature=5.0, repetition_penalty=3.0)  # as that of many an LLM
    assert torch.equal(student.generate(**batch, max_new_tokens=12), student.generate(**batch, max_new_tokens=12))
    assert new_tokens(student, batch) == expected
    torch.manual_seed(0)
    sampled = student.generate(**batch, max_new_tokens=12, do_sample=True, num_return_sequences=4)
    assert len(set(map(tuple, sampled.tolist()))) > 1
    one, other = (student.generate(**batch, max_new_tokens=12, do_sample=True).tolist() for _ in range(2))
    assert one != other


def test_what_is_spelled_is_known_where_a_tokenizer_is_found(spelling, processor, base, tmp_path, caplog):
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION))
    expected = new_tokens(spelling, batch, 100)
    spelling.save_pretrained(tmp_path / "student")
    assert new_tokens(AuraForSpeechQA.from_pretrained(tmp_path / "student"), batch, 100) == expected  # the base LLM's
    for path in base.glob("*token*"):
        path.unlink()
    alone = AuraForSpeechQA.from_pretrained(tmp_path / "student")
    assert "use_tokenizer" in caplog.text
    assert new_tokens(alone, batch, 100) == new_tokens(
        spelling, batch, 100, num_beams=TRANSCRIPT_BEAMS, length_penalty=0.0
    )
    alone.use_tokenizer(processor.tokenizer)
    assert new_tokens(alone, batch, 100) == expected
    processor.save_pretrained(tmp_path / "student")
    assert new_tokens(AuraForSpeechQA.from_pretrained(tmp_path / "student"), batch, 100) == expected
    spelling.detach_character_ctc_head()
    assert new_tokens(spelling, batch, 100) != expected
    spelling.detach_heads()
    with pytest.raises(ValueError, match="attach that first"):
        spelling.attach_character_ctc_head(CharacterCTCHead(8, LATIN_ALPHABET), processor.tokenizer)


def pieces_of(student: AuraForSpeechQA, batch: dict) -> list[dict]:
    """By hand: prompts for the pieces of the last clip of a prompt, cut where the letters tell of pauses."""
    row, is_audio = batch["input_ids"][0], batch["input_ids"][0] == student.config.audio_token_id
    begin = int((is_audio & ~is_audio.roll(1)).nonzero()[-1])
    length = int(is_audio[begin:].sum())
    before, frames = batch["input_features"][:-1], batch["input_features"][-1:]
    letters = student.model.character_ctc_head.log_probabilities(
        student.model.get_audio_features(frames).pooler_output
    )
    longest = round(student.config.transcript_piece_seconds * student.config.audio_config.tokens_per_second)
    cuts = cuts_at_pauses(is_pause(letters.numpy()), round(longest * 4 / 5), longest * 4)
    per_token = student.config.audio_config.frames_per_token
    pieces = []
    for first, end in itertools.pairwise([0, *(cut // 4 for cut in cuts), length]):
        audio = row.new_full((end - first,), student.config.audio_token_id)
        features = torch.zeros(len(before) + 1, frames.shape[1], frames.shape[2])
        mask = torch.zeros(features.shape[:2], dtype=torch.bool)
        features[:-1], mask[:-1] = before, batch["input_features_mask"][:-1]
        own = frames[0, first * per_token : end * per_token]
        features[-1, : len(own)], mask[-1, : len(own)] = own, True
        prompt = torch.cat([row[:begin], audio, row[begin + length :]])[None]
        pieces.append({"input_ids": prompt, "input_features": features, "input_features_mask": mask})
    return pieces


def test_a_long_recording_is_transcribed_in_pieces(spelling, processor, monkeypatch):
    student, tokenizer = spelling, processor.tokenizer
    student.config.transcript_piece_seconds = 1.0
    batch = inputs(processor, (clip(3.7, 1), TRANSCRIPTION_INSTRUCTION))
    pieces = pieces_of(student, batch)
    assert len(pieces) > 3
    texts = [tokenizer.decode(new_tokens(student, piece, 100)[0]).strip() for piece in pieces]
    expected = tokenizer(" ".join(filter(None, texts)), add_special_tokens=False).input_ids
    assert new_tokens(student, batch, 100)[0] == expected
    assert new_tokens(student, batch, 5)[0] == expected[:5]

    # The same in a batch, whatever was said before, and where a question is asked about it.
    short = (clip(1.4, 2), TRANSCRIPTION_INSTRUCTION)  # not so long that it is cut
    rows = [(clip(3.7, 1), TRANSCRIPTION_INSTRUCTION), short]
    assert new_tokens(student, inputs(processor, *rows), 100) == [
        expected,
        *new_tokens(student, inputs(processor, short), 100),
    ]
    chat = [
        {"role": "user", "content": [{"type": "audio", "audio": clip(1.1, 3)}, {"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": "Yes."},
        *build_conversation(clip(3.7, 1), TRANSCRIPTION_INSTRUCTION),
    ]
    behind = processor.apply_chat_template(
        [chat], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    texts = [tokenizer.decode(new_tokens(student, piece, 100)[0]).strip() for piece in pieces_of(student, behind)]
    assert len(texts) == len(pieces)
    written = tokenizer(" ".join(filter(None, texts)), add_special_tokens=False).input_ids
    assert new_tokens(student, behind, 100)[0] == written

    student.config.answers_from_transcript, student.config.questions_by_ear = True, []
    written = []
    write = AuraForSpeechQA._transcribe
    monkeypatch.setattr(
        AuraForSpeechQA, "_transcribe", lambda self, *args: written.append(write(self, *args)) or written[-1]
    )
    for question in ("What was said?", None):  # a long question is not read as a text: a piece is no question
        new_tokens(student, inputs(processor, (clip(3.7, 1), question)))
        assert written.pop()[0].tolist() == expected

    monkeypatch.setattr(
        generation, "can_read_trees", lambda model: False
    )  # so are pieces that are written token by token
    texts = [tokenizer.decode(new_tokens(student, piece, 100)[0]).strip() for piece in pieces]
    token_by_token = tokenizer(" ".join(filter(None, texts)), add_special_tokens=False).input_ids
    assert token_by_token != expected
    assert new_tokens(student, batch, 100)[0] == token_by_token


@pytest.mark.parametrize("how", [{"num_beams": 2}, {"streamer": True}, {"repetition_penalty": 1.5}])
def test_a_long_recording_is_written_in_pieces_whatever_the_call_says_of_how(spelling, processor, how):
    student, tokenizer = spelling, processor.tokenizer
    student.config.transcript_piece_seconds = 1.0
    batch = inputs(processor, (clip(3.7, 1), TRANSCRIPTION_INSTRUCTION))
    settings = {} if "streamer" in how else how
    streamed = TextIteratorStreamer(tokenizer, skip_prompt=True)

    def written(batch: dict, limit: int = 100) -> list[int]:
        how_this = settings or {"streamer": TextIteratorStreamer(tokenizer)}
        return new_tokens(student, batch, limit, **how_this)[0]

    texts = [tokenizer.decode(written(piece)).strip() for piece in pieces_of(student, batch)]
    expected = tokenizer(" ".join(filter(None, texts)), add_special_tokens=False).input_ids
    assert written(batch) == expected
    assert written(batch, 5) == written(pieces_of(student, batch)[0], 5)
    if not settings:
        tokens = student.generate(**batch, max_new_tokens=100, streamer=streamed)
        told = "".join(streamed)
        assert told.replace(" ", "") == tokenizer.decode(tokens[0, batch["input_ids"].shape[1] :]).replace(" ", "")
        return
    rows = [(clip(3.7, 1), TRANSCRIPTION_INSTRUCTION), (clip(1.4, 2), TRANSCRIPTION_INSTRUCTION)]
    both = new_tokens(student, inputs(processor, *rows), 100, **settings)
    assert both == [expected, written(inputs(processor, rows[1]))]
    several = student.generate(**batch, max_new_tokens=5, num_beams=2, num_return_sequences=2)
    assert several.shape[0] == 2  # texts to choose from are not put together


def test_a_spoken_question_is_heard_once(spelling, processor, monkeypatch):
    student = spelling
    student.config.answers_from_transcript = True
    heard = []
    embed = AuraModel.get_audio_features
    monkeypatch.setattr(AuraModel, "get_audio_features", lambda self, *a, **k: heard.append(a) or embed(self, *a, **k))
    new_tokens(student, inputs(processor, (clip(1.3, 1), None), (clip(0.6, 2), None)))
    assert len(heard) == 1


@pytest.mark.parametrize("kind", ["student", "spelling"])
@pytest.mark.parametrize("by_ear", [None, ["What was ordered?"], []])
def test_a_batch_is_its_rows(request, kind, processor, by_ear):
    student = request.getfixturevalue(kind)
    student.config.answers_from_transcript = True
    student.config.questions_by_ear = by_ear and [processor.beginning_behind_audio(question) for question in by_ear]
    requests = [
        (clip(1.3, 1), TRANSCRIPTION_INSTRUCTION),
        (clip(0.6, 2), None),
        (clip(0.9, 3), "What was ordered?"),
        (None, "A question of text"),
        (clip(1.0, 4), TRANSCRIPTION_INSTRUCTION),
    ]
    together = new_tokens(student, inputs(processor, *requests))
    assert together == [new_tokens(student, inputs(processor, request))[0] for request in requests]
    beams = student.generate(
        **inputs(processor, *requests), max_new_tokens=5, num_beams=3, num_return_sequences=2, do_sample=False
    )
    assert len(beams) == 2 * len(requests)


def test_the_beams_share_what_was_heard_once(student, processor, monkeypatch):
    student.config.transcript_ctc_weight = 0.3  # both decide
    heard = []
    embed = AuraModel.get_audio_features
    monkeypatch.setattr(AuraModel, "get_audio_features", lambda self, *a, **k: heard.append(a) or embed(self, *a, **k))
    batch = inputs(processor, (clip(1.3, 1), TRANSCRIPTION_INSTRUCTION), (clip(0.6, 2), TRANSCRIPTION_INSTRUCTION))
    shared = new_tokens(student, batch)
    assert len(heard) == 1
    for heard_again in ({"num_beams": TRANSCRIPT_BEAMS, "length_penalty": 0.0}, {"use_cache": False}):
        assert new_tokens(student, batch, **heard_again) == shared
    assert len(heard) > 3


def test_a_spoken_question_is_answered_as_the_base_llm_answers_what_was_written(student, processor, base):
    student.config.question_lm_weight = 0.0  # written down as a transcript is
    question = clip(1.0, 1)
    transcript = new_tokens(student, inputs(processor, (question, TRANSCRIPTION_INSTRUCTION)), 100)[0]
    assert transcript
    batch = inputs(processor, (question, None))
    at_once = new_tokens(student, batch)
    student.config.answers_from_transcript = True
    row = batch["input_ids"][0].tolist()
    first = row.index(student.config.audio_token_id)
    last = len(row) - row[::-1].index(student.config.audio_token_id)
    written = torch.tensor([row[:first] + transcript + row[last:]])
    llm = AutoModelForCausalLM.from_pretrained(base)
    expected = llm.generate(written, attention_mask=torch.ones_like(written), max_new_tokens=12, do_sample=False)
    answer = new_tokens(student, batch)
    assert answer[0] == [
        token for token in expected[0, written.shape[1] :].tolist() if token != llm.config.eos_token_id
    ]
    assert answer != at_once
    scored = student.generate(
        **batch, max_new_tokens=12, do_sample=False, return_dict_in_generate=True, output_scores=True
    )
    assert student.compute_transition_scores(scored.sequences, scored.scores).shape == (1, len(scored.scores))


def read_by(base: Path, rows: list[int], max_new_tokens: int = 12) -> list[int]:
    llm = AutoModelForCausalLM.from_pretrained(base)
    prompt = torch.tensor([rows])
    answer = llm.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=max_new_tokens, do_sample=False
    )
    never_kept = (llm.config.eos_token_id, tiny_processor().tokenizer.pad_token_id)  # as in `new_tokens`
    return [token for token in answer[0, len(rows) :].tolist() if token not in never_kept]


def with_words(row: list[int], words: list[int], audio_token_id: int) -> list[int]:
    """The row with `words` in the place of its first run of audio tokens."""
    first = row.index(audio_token_id)
    length = next(n for n, token in enumerate([*row[first:], None]) if token != audio_token_id)
    return [*row[:first], *words, *row[first + length :]]


def test_a_written_question_is_answered_from_the_transcript_unless_it_is_one_by_ear(student, processor, base):
    student.config.question_lm_weight = 1e6  # of spoken questions only: what is asked about is any speech
    speech = clip(1.0, 1)
    transcript = new_tokens(student, inputs(processor, (speech, TRANSCRIPTION_INSTRUCTION)), 100)[0]
    taught, other = "What was ordered? Answer in JSON.", "Who is speaking?"
    batches = {question: inputs(processor, (speech, question)) for question in (taught, other)}
    by_ear = {question: new_tokens(student, batch)[0] for question, batch in batches.items()}
    student.config.answers_from_transcript = True
    assert {question: new_tokens(student, batch)[0] for question, batch in batches.items()} == by_ear
    student.config.questions_by_ear = [processor.beginning_behind_audio("What was ordered?")]
    assert new_tokens(student, batches[taught])[0] == by_ear[taught]
    row = batches[other]["input_ids"][0].tolist()
    from_transcript = read_by(base, with_words(row, transcript, student.config.audio_token_id))
    assert new_tokens(student, batches[other])[0] == from_transcript != by_ear[other]


def test_a_chat_of_several_clips_is_read_clip_by_clip(student, processor, base, monkeypatch):
    student.config.answers_from_transcript = True
    student.config.questions_by_ear = []
    chat = [
        {"role": "user", "content": [{"type": "audio", "audio": clip(1.0, 1)}]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": [{"type": "audio", "audio": clip(0.7, 2)}, {"type": "text", "text": "Which?"}]},
    ]
    batch = processor.apply_chat_template(
        [chat], tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    calls = []
    transcripts = AuraForSpeechQA._transcribe

    def watched(self, spoken, contexts, *args):
        found = transcripts(self, spoken, contexts, *args)
        calls.append((spoken.rows[0].tolist(), contexts[0], found[0].tolist()))
        return found

    monkeypatch.setattr(AuraForSpeechQA, "_transcribe", watched)
    answer = new_tokens(student, batch)[0]
    row, audio = batch["input_ids"][0].tolist(), student.config.audio_token_id
    assert len(calls) == 2
    for (asks, context, words), is_question in zip(calls, (True, False), strict=True):
        first = row.index(audio)
        length = next(n for n, token in enumerate(row[first:]) if token != audio)
        assert asks == [*row[: first + length], *student.config.transcription_prompt]
        assert context == (row[:first] if is_question else [])
        assert words
        row = with_words(row, words, audio)
    assert answer == read_by(base, row)
    calls.clear()
    torch.nn.init.constant_(
        student.model.subword_ctc_head.blank.bias, 1e4
    )  # nothing but silence: the chat keeps its audio
    student.config.answers_from_transcript = False
    by_ear = new_tokens(student, batch)
    student.config.answers_from_transcript = True
    assert new_tokens(student, batch) == by_ear
    assert len(calls) == 1


def test_a_question_in_which_nothing_is_heard_keeps_its_audio(student, processor):
    batch = inputs(processor, (clip(1.0, 1), None))
    at_once = new_tokens(student, batch)
    torch.nn.init.constant_(student.model.subword_ctc_head.blank.bias, 1e4)  # nothing but silence
    student.config.answers_from_transcript = True
    assert new_tokens(student, batch) == at_once
    assert new_tokens(student, inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION))) == [[]]


def test_the_head_is_saved_loaded_and_missed(student, processor, tmp_path, base):
    student.config.answers_from_transcript = True
    batch = inputs(processor, (clip(1.0, 1), TRANSCRIPTION_INSTRUCTION), (clip(0.5, 2), None))
    expected = new_tokens(student, batch)
    student.save_pretrained(tmp_path / "student")
    again = AuraForSpeechQA.from_pretrained(tmp_path / "student")
    assert new_tokens(again, batch) == expected
    headless = AuraModel.from_pretrained(tmp_path / "student")
    assert torch.equal(headless.subword_ctc_head.projection.weight, student.model.subword_ctc_head.projection.weight)
    # Merged, it writes by the LLM alone: serving engines know no such head.
    merged = student.merge()
    assert merged.model.subword_ctc_head is None
    merged.save_pretrained(tmp_path / "merged")
    assert AuraForSpeechQA.from_pretrained(tmp_path / "merged").config.transcription_prompt is None
    del student.model.subword_ctc_head.blank
    student._keys_to_ignore_on_save = {key for key in student.state_dict() if "lora" not in key and "audio" not in key}
    student.save_pretrained(tmp_path / "without")
    with pytest.raises(AdapterMismatchError, match=r"missing: subword_ctc_head\."):
        AuraForSpeechQA.from_pretrained(tmp_path / "without")
