"""What a stream answers is, token for token, what the whole clip is answered."""

import threading

import numpy as np
import pytest
import torch
from transformers import TextIteratorStreamer, pipeline

from tests.support.tiny_models import FAMILIES, babble, quiet, tiny_student, tiny_transcriber
from transformers_aura import AuraProcessor, build_conversation
from transformers_aura.decoding.speech_detection import NOTHING_HEARD
from transformers_aura.streaming.incoming_clip import LONGEST_SILENCE_SECONDS


GENERATION = {"max_new_tokens": 12, "do_sample": False}


def samples(seconds, seed=0):
    return babble(seconds, seed)["array"]


def silence(seconds):
    return quiet(seconds)["array"]


def feed(stream, audio, seed=0):
    """In chunks of any size, empty ones too."""
    generator = np.random.default_rng(seed)
    start = 0
    while start < len(audio):
        size = int(generator.choice([0, 1, 160, 333, 1600, 20_000]))
        stream.feed(audio[start : start + size])
        start += size


def whole_answer(student, processor, conversation):
    """Token ids that the student answers a chat with, whose recordings are whole."""
    inputs = processor.apply_chat_template(
        conversation,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        sampling_rate=16_000,
    )
    return student.generate(**inputs, **GENERATION)[0, inputs["input_ids"].shape[1] :].tolist()


def student_and_processor(folder, family="qwen2", **settings):
    student = tiny_student(folder / "base", family, **settings)
    return student, AuraProcessor.from_language_model_pretrained(folder / "base")


@pytest.fixture(scope="module")
def transcriber(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transcriber")
    student = tiny_transcriber(folder)
    return student, AuraProcessor.from_pretrained(folder / "student")


KERNEL = {"conv_blocks": 2, "conv_block_type": "kernel"}
LAYOUTS = [
    {},
    {"patch_embedding": "linear"},
    {"conv_blocks": 2},
    {**KERNEL, "tokens_per_block": 5, "frames_per_step": 4},
    {**KERNEL, "tokens_per_block": 32, "frames_per_token": 4},
    {**KERNEL, "tokens_per_block": None},
    {"conv_blocks": 1, "tokens_per_block": None},
    {"conv_blocks": 1, "tokens_per_block": 1},
    {"lora_scope": "audio"},
    {"lora_scope": "always"},
]


@pytest.mark.parametrize("settings", LAYOUTS, ids=str)
def test_a_streamed_answer_is_the_one_to_the_whole_clip(settings, tmp_path):
    student, processor = student_and_processor(tmp_path, **settings)
    if "frames_per_token" in settings:
        processor = AuraProcessor.from_language_model_pretrained(tmp_path / "base", frames_per_token=4)
    system = [{"role": "system", "content": "Be brief."}]
    stream = student.stream(processor, system, context="A cat sat.")
    for seed, seconds in enumerate((0.005, 2.56, 3.777)):
        audio = samples(seconds, seed) if seconds > 0.1 else samples(0.1)[:80]
        feed(stream, audio, seed)
        answer = stream.answer("Who sat?", **GENERATION)
        conversation = build_conversation(audio, "Who sat?", "A cat sat.", history=system)
        assert answer.token_ids == whole_answer(student, processor, conversation)
        assert answer.is_complete
        stream.reset()


@pytest.mark.parametrize("family", FAMILIES)
def test_several_turns_are_one_chat(family, tmp_path):
    """Longer than the sliding window of the families that have one."""
    student, processor = student_and_processor(tmp_path, family)
    stream = student.stream(processor)
    conversation = []
    for seed, question in enumerate([None, "Why?", None]):
        audio = samples(2.0 + seed, seed)
        feed(stream, audio, seed)
        conversation = build_conversation(audio, question, history=conversation)
        expected = whole_answer(student, processor, conversation)
        answer = stream.answer(question, **GENERATION)
        assert answer.token_ids == expected
        conversation = [*conversation, {"role": "assistant", "content": answer.text}]
    assert [message["role"] for message in stream.conversation] == ["user", "assistant"] * 3


def test_a_turn_in_writing_is_answered_by_the_base_until_there_is_audio(tmp_path):
    student, processor = student_and_processor(tmp_path)
    stream = student.stream(processor)
    conversation = build_conversation(question="Hello?")
    answer = stream.answer("Hello?", **GENERATION)
    assert answer.heard is None
    assert answer.token_ids == whole_answer(student, processor, conversation)
    audio = samples(1.5)
    conversation = build_conversation(audio, history=[*conversation, {"role": "assistant", "content": answer.text}])
    feed(stream, audio)
    assert stream.answer(**GENERATION).token_ids == whole_answer(student, processor, conversation)


def test_what_is_left_for_the_end_does_not_grow_with_the_recording(tmp_path):
    """Counted in positions that the LLM computes between the end of speech and the first token."""
    student, processor = student_and_processor(tmp_path, tokens_per_block=8)
    computed = []
    student.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    at_the_end = []
    for seconds in (1.0, 30.0):
        stream = student.stream(processor)
        feed(stream, samples(seconds)[: -160 * 4])
        computed.clear()
        stream.answer(max_new_tokens=1)
        at_the_end.append(sum(computed))
    suffix = len(processor.tokenizer("<|im_end|>\n<|im_start|>assistant\n").input_ids)
    assert max(at_the_end) <= 8 + suffix


def test_the_answer_of_a_pipeline(transcriber):
    student, processor = transcriber
    audio = samples(3.3)
    answerer = pipeline("audio-question-answering", model=student, processor=processor)
    recording = {"array": audio, "sampling_rate": 16_000}
    expected = answerer({"audio": recording, "question": "What?"}, answer_from="audio", **GENERATION)[0]
    stream = student.stream(processor)
    feed(stream, audio)
    answer = stream.answer("What?", **GENERATION)
    assert {"answer": answer.text, "heard": answer.heard} == expected
    feed(stream, silence(1.0))
    answer = stream.answer("What?", **GENERATION)
    assert (answer.text, answer.heard, answer.token_ids) == (NOTHING_HEARD, False, [])
    assert len(stream.conversation) == 2
    assert stream.answer().heard is False  # nothing was fed
    feed(stream, audio)
    assert stream.answer("What?", **GENERATION).heard  # what nobody spoke in left nothing behind


@pytest.mark.parametrize(
    "settings", [{"num_beams": 2}, {"do_sample": True, "temperature": 0.7}, {"stop_strings": ["a"]}]
)
def test_generate_takes_its_arguments(settings, transcriber):
    student, processor = transcriber
    audio = samples(1.2)
    stream = student.stream(processor)
    for _ in range(2):
        conversation = build_conversation({"array": audio, "sampling_rate": 16_000}, history=stream.conversation[:0])
        inputs = processor.apply_chat_template(
            conversation, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        torch.manual_seed(0)
        expected = student.generate(**inputs, max_new_tokens=8, tokenizer=processor.tokenizer, **settings)
        feed(stream, audio)
        torch.manual_seed(0)
        answer = stream.answer(max_new_tokens=8, **settings)
        assert answer.token_ids == expected[0, inputs["input_ids"].shape[1] :].tolist()
        stream.reset()


@pytest.mark.parametrize(
    "settings",
    [
        {"num_return_sequences": 2, "do_sample": True},
        {"use_cache": False},
        {"prompt_lookup_num_tokens": 2},
        {"nonsense": 1},
    ],
)
def test_an_argument_that_does_not_go_with_a_stream_leaves_the_turn_as_it_is(settings, transcriber):
    student, processor = transcriber
    stream = student.stream(processor)
    audio = samples(2.0)
    feed(stream, audio[:20_000])
    with pytest.raises(ValueError, match=next(iter(settings))):
        stream.answer(**settings)
    feed(stream, audio[20_000:])
    recording = {"array": audio, "sampling_rate": 16_000}
    assert stream.answer(**GENERATION).token_ids == whole_answer(student, processor, build_conversation(recording))


@pytest.mark.parametrize("pause_seconds", [None, 0.5])
def test_the_answer_of_a_pipeline_from_transcripts(pause_seconds, transcriber):
    student, processor = transcriber
    answerer = pipeline("audio-question-answering", model=student, processor=processor)
    system = [{"role": "system", "content": "Be brief."}]
    stream = student.stream(processor, system, answer_from="transcript", pause_seconds=pause_seconds)
    history = system
    for seed in range(2):
        audio = samples(2.0, seed)
        asked = {"audio": {"array": audio, "sampling_rate": 16_000}, "question": "What?", "history": history}
        (expected,) = answerer(asked, answer_from="transcript", **GENERATION)
        feed(stream, audio)
        if pause_seconds is not None:
            feed(stream, silence(0.8))
        answer = stream.answer("What?", **GENERATION)
        if pause_seconds is None:  # else some of the silence behind is part of the recording
            assert {"answer": answer.text, "heard": answer.heard, "transcript": answer.transcript} == expected
        said = build_conversation(question=f"{answer.transcript}\nWhat?", history=history)
        assert whole_answer(student, processor, said) == answer.token_ids
        history = [*said, {"role": "assistant", "content": answer.text}]
    assert [message["role"] for message in stream.conversation] == ["system", *["user", "assistant"] * 2]


def test_captions_grow_into_those_of_the_whole_clip(transcriber):
    student, processor = transcriber
    stream = student.stream(processor)
    audio = samples(2.0)
    lengths = []
    for start in range(0, len(audio), 1600):
        stream.feed(audio[start : start + 1600])
        lengths.append(len(stream.captions()))
    features = processor.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt")
    emissions = student.model.character_ctc_head.log_probabilities(
        student.get_audio_features(**features).pooler_output
    )
    path = [int(symbol) for symbol in torch.unique_consecutive(emissions.argmax(-1)) if symbol]
    text = "".join(student.config.character_ctc_alphabet[symbol - 1] for symbol in path)
    assert stream.captions() == " ".join(text.split())
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("same_thread", [True, False])
def test_feeding_stops_an_answer_and_begins_the_next_turn(same_thread, transcriber, monkeypatch):
    student, processor = transcriber
    monkeypatch.setattr(student.generation_config, "eos_token_id", None)
    stream = student.stream(processor)
    first, second = samples(1.5), samples(2.0, seed=1)
    feed(stream, first)
    if same_thread:

        class Interrupting(TextIteratorStreamer):
            def on_finalized_text(self, text, stream_end=False):
                if stream.seconds == 0:
                    stream.feed(second[:9000])

        answer = stream.answer(streamer=Interrupting(processor.tokenizer), max_new_tokens=400, do_sample=False)
    else:
        streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True)
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(stream.answer(streamer=streamer, max_new_tokens=7000, do_sample=False))
        )
        thread.start()
        next(iter(streamer))
        with pytest.raises(RuntimeError, match="being generated"):
            stream.answer()
        stream.feed(second[:9000])
        thread.join()
        (answer,) = answers
    assert not answer.is_complete
    assert len(answer.token_ids) < 400
    feed(stream, second[9000:])
    recordings = [{"array": audio, "sampling_rate": 16_000} for audio in (first, second)]
    history = [*build_conversation(recordings[0]), {"role": "assistant", "content": answer.text}]
    expected = whole_answer(student, processor, build_conversation(recordings[1], history=history))
    assert stream.answer(**GENERATION).token_ids == expected


def test_a_microphone_that_is_always_on(transcriber, monkeypatch):
    """Silence before speech is left out, a pause ends the turn, and only speech stops an answer."""
    student, processor = transcriber
    monkeypatch.setattr(student.generation_config, "eos_token_id", None)
    stream = student.stream(processor, pause_seconds=0.5)
    feed(stream, silence(20.0))
    assert not stream.speech_ended
    assert stream._clip.num_tokens == 0
    feed(stream, samples(1.0))
    assert not stream.speech_ended
    feed(stream, silence(0.8))
    assert stream.speech_ended

    class Silent(TextIteratorStreamer):
        def on_finalized_text(self, text, stream_end=False):
            stream.feed(silence(0.1))

    answer = stream.answer(streamer=Silent(processor.tokenizer), max_new_tokens=20, do_sample=False)
    assert answer.heard
    assert answer.is_complete
    assert not stream.speech_ended

    class Speaking(TextIteratorStreamer):
        def on_finalized_text(self, text, stream_end=False):
            stream.feed(samples(0.3))

    feed(stream, samples(1.0))
    assert not stream.answer(streamer=Speaking(processor.tokenizer), max_new_tokens=200, do_sample=False).is_complete


def test_in_a_pause_the_answer_is_made_ready(transcriber, monkeypatch):
    """One position is left when the turn ends; if the speaker goes on, nothing of what was made ready stays."""
    student, processor = transcriber
    computed = []
    hook = student.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: computed.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    ready, late = (student.stream(processor, pause_seconds=0.6) for _ in range(2))
    monkeypatch.setattr(late, "_expect_end", lambda: None)
    for stream in (ready, late):
        for audio in (samples(2.0), silence(0.5), samples(1.7, seed=1)):
            feed(stream, audio)
    assert ready.answer(**GENERATION) == late.answer(**GENERATION)
    for audio in (samples(2.0), silence(1.1)):
        feed(ready, audio)
    assert ready.speech_ended
    embeddings = [*dict(ready._history.clips).values(), ready._expected.clip.embeddings]
    computed.clear()
    answer = ready.answer(**GENERATION)
    hook.remove()
    assert set(computed) == {1}
    lengths = torch.tensor([len(of_clip) for of_clip in embeddings])
    text = processor.apply_chat_template(ready.conversation[:-1], tokenize=False, add_generation_prompt=True)
    for length in lengths.tolist():
        text = text.replace(processor.audio_token, "#" * length, 1)
    input_ids = processor.tokenizer(text.replace("#", processor.audio_token), return_tensors="pt").input_ids
    padded = torch.nn.utils.rnn.pad_sequence(embeddings, batch_first=True)
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    generated = student.generate(input_ids, audio_embeds=padded, audio_embeds_mask=mask, **GENERATION)
    assert answer.token_ids == generated[0, input_ids.shape[1] :].tolist()


def test_hours_of_silence_take_no_memory(transcriber, monkeypatch):
    """Before speech and between; here 4 minutes, more than the LLM's context, of which twice 30 s are kept."""
    student, processor = transcriber
    monkeypatch.setattr(student.config.text_config, "max_position_embeddings", 2048)
    stream = student.stream(processor)
    for _ in range(2):
        for _ in range(12):
            stream.feed(silence(10.0))
        feed(stream, samples(1.0))
    kept = 2 * (LONGEST_SILENCE_SECONDS + 1.0 + 2 * 0.64)
    assert stream._clip.num_tokens <= kept * 12.5
    assert stream.seconds == pytest.approx(242.0)
    assert stream.answer(**GENERATION).heard


def test_a_full_context_is_an_error_that_names_seconds_and_loses_nothing(tmp_path):
    student, processor = student_and_processor(tmp_path)
    student.config.text_config.max_position_embeddings = 128
    stream = student.stream(processor)
    audio = samples(20.0)
    with pytest.raises(
        ValueError, match=r"takes 128 tokens.*recording \d\.\d\d s are kept.*1\d\.\d\d s of this chunk"
    ):
        stream.feed(audio)
    kept = round(stream.seconds * 16_000)
    assert 0 < kept < len(audio)
    with pytest.raises(ValueError, match=r"recording \d\.\d\d s are kept"):
        stream.feed(audio[kept:])
    with pytest.raises(ValueError, match="max_new_tokens"):
        stream.answer(max_new_tokens=100)
    expected = whole_answer(student, processor, build_conversation({"array": audio[:kept], "sampling_rate": 16_000}))
    assert stream.answer(**GENERATION).token_ids == expected
    stream.reset()
    stream.feed(audio[:1600])


def test_errors_name_what_was_given(transcriber, tmp_path):
    student, processor = transcriber
    with pytest.raises(TypeError, match="AuraProcessor"):
        student.stream(processor.tokenizer)
    with pytest.raises(ValueError, match="prompt_before"):
        student.stream(processor, build_conversation("a.wav"))
    with pytest.raises(TypeError, match="history"):
        student.stream(processor, "Be brief.")
    other, other_processor = student_and_processor(tmp_path)
    with pytest.raises(ValueError, match="character CTC head"):
        other.stream(other_processor, pause_seconds=1.0)
    with pytest.raises(ValueError, match="character CTC head"):
        other.stream(other_processor).captions()
    with pytest.raises(ValueError, match="CTC head"):
        other.stream(other_processor, answer_from="transcript")
    with pytest.raises(ValueError, match="answer_from"):
        student.stream(processor, answer_from="ear")
