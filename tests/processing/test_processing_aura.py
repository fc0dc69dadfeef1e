import base64
import dataclasses
import io
import json
import logging
import math

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoProcessor, AutoTokenizer, LlamaConfig
from transformers.utils.chat_template_utils import Chat

from tests.support.tiny import STRING_CHAT_TEMPLATE, tiny_processor, tiny_tokenizer, tone
from transformers_aura import AudioLoadingError, AuraFeatureExtractor, AuraProcessor
from transformers_aura.auto_map import STUB_FILE_NAME
from transformers_aura.processing import feature_extraction_aura
from transformers_aura.processing.audio_tokens import AUDIO_TOKEN, add_audio_token, num_audio_tokens
from transformers_aura.processing.conversation import PLAIN_CHAT_TEMPLATE, build_conversation, reads_parts


ONE_SECOND = {"array": tone(1.0), "sampling_rate": 16_000}
HALF_SECOND = {"array": tone(0.5, hertz=300), "sampling_rate": 16_000}
AT_8_KHZ = {"array": tone(2.0, sampling_rate=8_000), "sampling_rate": 8_000}


def wav(seconds=1.0, sampling_rate=16_000):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(seconds, sampling_rate=sampling_rate), sampling_rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def processor():
    return tiny_processor()


def audio_token_counts(processor, inputs):
    return (torch.as_tensor(inputs["input_ids"]) == processor.audio_token_id).sum(-1).tolist()


# ------------------------------------------------------------------------------------------------ text and audio


def test_every_placeholder_becomes_as_many_tokens_as_the_model_has_positions(processor):
    inputs = processor(
        text=[f"{AUDIO_TOKEN} hi", f"in {AUDIO_TOKEN} and {AUDIO_TOKEN}.", "no audio"],
        audio=[ONE_SECOND, HALF_SECOND, AT_8_KHZ],
        return_tensors="pt",
    )
    assert list(inputs) == processor.model_input_names
    assert audio_token_counts(processor, inputs) == [13, 7 + 25, 0]
    assert inputs.input_features.shape == (3, 200, 80)
    assert inputs.input_features_mask.sum(-1).tolist() == [100, 50, 200]
    lengths = inputs.input_features_mask.sum(-1)
    assert num_audio_tokens(lengths, processor.frames_per_token).sum() == sum(audio_token_counts(processor, inputs))
    texts = processor.batch_decode(inputs.input_ids, skip_special_tokens=True)
    assert texts == [" hi", "in  and .", "no audio"]


@pytest.mark.parametrize("frames_per_token", [4, 8, 16])
@pytest.mark.parametrize("num_samples", [1, 1_279, 1_280, 1_281, 20_000])
def test_the_count_of_tokens_is_one_function(frames_per_token, num_samples):
    processor = tiny_processor(frames_per_token)
    inputs = processor(text=AUDIO_TOKEN, audio=tone(2)[:num_samples], sampling_rate=16_000, return_tensors="pt")
    expected = processor.get_num_audio_tokens(num_samples)
    assert expected == math.ceil(math.ceil(num_samples / 160) / frames_per_token)
    assert audio_token_counts(processor, inputs) == [expected]


@pytest.mark.parametrize("seconds", [31, 60, 300])
def test_long_audio_is_not_cut(processor, seconds):
    audio = np.resize(tone(5.0), seconds * 16_000)
    inputs = processor(text=AUDIO_TOKEN, audio=audio, sampling_rate=16_000)
    assert audio_token_counts(processor, inputs) == [-(-seconds * 100 // 8)]


def test_batch_is_padded_on_the_left_and_equals_singles(processor):
    texts, audios = [f"{AUDIO_TOKEN} a", f"long text {AUDIO_TOKEN} b", "c"], [ONE_SECOND, HALF_SECOND]
    batch = processor(text=texts, audio=audios, return_tensors="pt")
    for row, (text, audio) in enumerate(zip(texts, [*audios, None], strict=True)):
        alone = processor(text=text, audio=audio, return_tensors="pt")
        length = alone.input_ids.shape[1]
        assert torch.equal(batch.input_ids[row, -length:], alone.input_ids[0])
        assert batch.attention_mask[row].tolist() == [0] * (batch.input_ids.shape[1] - length) + [1] * length
        if audio is not None:
            frames = alone.input_features.shape[1]
            assert torch.equal(batch.input_features[row, :frames], alone.input_features[0])
    on_the_right = processor(text=texts, audio=audios, return_tensors="pt", padding_side="right")
    assert on_the_right.attention_mask[2, 0] == 1
    assert on_the_right.attention_mask[2, -1] == 0
    unpadded = processor(text=texts, audio=audios, padding=False)
    assert len({len(ids) for ids in unpadded.input_ids}) == 3


def test_ways_to_give_audio(processor):
    expected = processor(text=f"{AUDIO_TOKEN}{AUDIO_TOKEN}", audio=[ONE_SECOND, ONE_SECOND], return_tensors="pt")
    samples = ONE_SECOND["array"]
    for audio in (
        [samples, samples],
        [samples.tolist(), torch.from_numpy(samples)],
        [[samples, samples]],
        ((16_000, samples), samples[None]),
        [wav(), ONE_SECOND],
    ):
        given = processor(text=f"{AUDIO_TOKEN}{AUDIO_TOKEN}", audio=audio, sampling_rate=16_000, return_tensors="pt")
        for name in expected:
            assert torch.equal(given[name], expected[name]), name
    one = processor(text=AUDIO_TOKEN, audio=samples.tolist(), sampling_rate=16_000, return_tensors="pt")
    assert torch.equal(one.input_features[0], expected.input_features[0])
    nested = processor(text=[AUDIO_TOKEN, "no", AUDIO_TOKEN * 2], audio=[[wav()], [], [wav(), wav(0.5)]])
    assert audio_token_counts(processor, nested) == [13, 0, 20]


def test_audio_alone_and_text_alone(processor):
    assert list(processor(audio=[ONE_SECOND, HALF_SECOND], return_tensors="pt")) == [
        "input_features",
        "input_features_mask",
    ]
    assert list(processor(text="hi")) == ["input_ids", "attention_mask"]
    assert processor(text="hi").input_ids == [[ord("h") - ord("!"), ord("i") - ord("!")]]


def test_truncation_when_asked(processor):
    inputs = processor(text=AUDIO_TOKEN, audio=ONE_SECOND, truncate_to_seconds=0.4)
    assert audio_token_counts(processor, inputs) == [5]
    with pytest.raises(
        ValueError, match=r"should have 13 audio tokens, but after tokenization it has 4.*`truncation` cut"
    ):
        processor(text=AUDIO_TOKEN, audio=ONE_SECOND, truncation=True, max_length=4)


@pytest.mark.parametrize(
    ("text", "audio", "message"),
    [
        (AUDIO_TOKEN, None, r"has 1 audio placeholder\(s\) '<\|audio\|>', but 0 audio\(s\) were given"),
        (AUDIO_TOKEN, [], r"has 1 audio placeholder\(s\) .* but 0 audio\(s\)"),
        (AUDIO_TOKEN, [ONE_SECOND, HALF_SECOND], r"has 1 audio placeholder\(s\) .* but 2 audio\(s\)"),
        ("What is said?", ONE_SECOND, r"has 0 audio placeholder\(s\) .* but 1 audio\(s\)"),
        (
            [AUDIO_TOKEN, "b"],
            [[], [ONE_SECOND]],
            r"Text 1 has 1 audio placeholder\(s\) .* but its list has 0 audio\(s\)",
        ),
        ([AUDIO_TOKEN, AUDIO_TOKEN], [[ONE_SECOND, ONE_SECOND]], r"2 text\(s\) were given, but 1 lists of audio"),
        (None, None, "Nothing was given"),
        (None, [[], []], r"No audio was given: `audio` is \[\[\], \[\]\]"),
        (None, [], "No audio was given"),
        ([], None, "`text` is an empty list"),
        ("cut \ud83d", None, r"Text 1 holds a lone surrogate \(U\+D83D at character 4\)"),
    ],
)
def test_placeholders_and_audios_must_match(processor, text, audio, message):
    with pytest.raises(ValueError, match=message):
        processor(text=text, audio=audio)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"audios": ONE_SECOND}, "unexpected keyword argument `audios`. Did you mean `audio`?"),
        ({"audio": ONE_SECOND, "sample_rate": 16_000}, "`sample_rate`. Did you mean `sampling_rate`?"),
        ({"audio": ONE_SECOND, "return_tensor": "pt"}, "`return_tensor`. Did you mean `return_tensors`?"),
        ({"audio": ONE_SECOND, "audio_kwargs": {"samplingrate": 1}}, "`samplingrate`. Did you mean `sampling_rate`?"),
        (
            {"audio": ONE_SECOND, "nonsense": 1},
            "unexpected keyword argument `nonsense`. It takes: text, audio, sampling_rate",
        ),
    ],
)
def test_unknown_keywords_are_an_error(processor, keywords, message):
    with pytest.raises(TypeError, match=message):
        processor(text=AUDIO_TOKEN, **keywords)


def test_other_wrong_input(processor):
    with pytest.raises(ValueError, match="takes no images"):
        processor(text="a", images=np.zeros((2, 2)))
    with pytest.raises(TypeError, match=r"use `processor.apply_chat_template"):
        processor(text=[{"role": "user", "content": "hi"}])
    with pytest.raises(AudioLoadingError, match="Audio 2 of 2: There is no audio file"):
        processor(text=AUDIO_TOKEN * 2, audio=[ONE_SECOND, "no.wav"])
    with pytest.raises(AudioLoadingError, match="The sampling rate of the float32 array"):
        processor.load_audio(tone(1.0))


def test_samples_without_a_rate_are_taken_to_be_at_the_extractors(processor, monkeypatch):
    warnings = []
    monkeypatch.setattr(feature_extraction_aura.logger, "warning", warnings.append)
    logging.Logger.warning_once.cache_clear()
    expected = processor(text=AUDIO_TOKEN, audio=tone(1.0), sampling_rate=16_000, return_tensors="pt")
    part = {"type": "audio", "audio": tone(1.0)}
    for inputs in (
        processor(text=AUDIO_TOKEN, audio=tone(1.0), return_tensors="pt"),
        processor(text=AUDIO_TOKEN, audio={"array": tone(1.0).tolist()}, return_tensors="pt"),
        processor.apply_chat_template([{"role": "user", "content": [part]}], tokenize=True, return_dict=True),
        processor.feature_extractor(tone(1.0)),
    ):
        assert np.array_equal(inputs.input_features, expected.input_features)
    (warning,) = warnings
    assert "taken to be at 16000 Hz" in warning


def test_grouped_keywords_and_tokenizer_keywords(processor):
    inputs = processor(
        text=AUDIO_TOKEN,
        audio=tone(1.0),
        audio_kwargs={"sampling_rate": 16_000, "truncate_to_seconds": 0.4},
        text_kwargs={"return_tensors": "pt", "return_offsets_mapping": True},
    )
    assert inputs.offset_mapping.shape == (1, 5, 2)


def test_padding_of_the_text_and_of_the_features_are_two_things(processor):
    request = {"text": [AUDIO_TOKEN, f"{AUDIO_TOKEN} hi"], "audio": [ONE_SECOND, HALF_SECOND]}
    longest = processor(**request).input_features
    inputs = processor(**request, padding="max_length", max_length=30, audio_kwargs={"pad_to_multiple_of": 64})
    assert [len(row) for row in inputs.input_ids] == [30, 30]
    assert inputs.input_features.shape == (2, 128, 80)
    assert inputs.input_features_mask.sum(-1).tolist() == [100, 50]
    np.testing.assert_array_equal(inputs.input_features[:, :100], longest)
    apart = processor(**request, audio_kwargs={"padding": False}, text_kwargs={"padding": False})
    assert [len(frames) for frames in apart.input_features] == [100, 50]
    assert [len(row) for row in apart.input_ids] == [13, 7 + 3]


def test_a_tokenizer_may_bring_its_own_padding_along(processor, tmp_path):
    processor.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding="max_length", max_length=40, truncation=True)
    processor = AuraProcessor(AuraFeatureExtractor(), tokenizer)
    assert len(processor(text="hi").input_ids[0]) == 40
    assert len(processor(text="hi", padding=True).input_ids[0]) == 2
    assert len(processor(text="hi", text_kwargs={"max_length": 20}).input_ids[0]) == 20
    assert len(processor(text="x" * 60).input_ids[0]) == 60  # cut only where a call says so
    chat = processor.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=True)
    assert len(chat[0]) == 40


def test_what_callers_pass_that_serve_every_kind_of_model(processor, caplog):
    expected = processor(text="hi")
    inputs = processor(
        text="hi", images=None, videos=None, videos_kwargs={"fps": 2}, num_frames=2, do_resize=True, fps=None
    )
    assert inputs.input_ids == expected.input_ids
    assert "`do_resize`, `num_frames`: for pictures or videos" in caplog.text


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"sampling_rate": 8_000, "audio_kwargs": {"sampling_rate": 16_000}},
            "`sampling_rate` was passed twice: in `audio_kwargs`",
        ),
        ({"padding": True, "text_kwargs": {"padding": False}}, "`padding` was passed twice: in `text_kwargs`"),
    ],
)
def test_a_keyword_that_is_given_twice_is_an_error(processor, keywords, message):
    with pytest.raises(ValueError, match=message):
        processor(text=AUDIO_TOKEN, audio=tone(1.0), **keywords)


@pytest.mark.parametrize(
    ("group", "name"),
    [("audio_kwargs", "add_special_tokens"), ("audio_kwargs", "truncation"), ("common_kwargs", "strid")],
)
def test_a_keyword_of_another_group_is_an_error(processor, group, name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument `{name}`"):
        processor(text=AUDIO_TOKEN, audio=ONE_SECOND, **{group: {name: True}})


def test_begin_token_is_not_doubled():
    tokenizer = tiny_tokenizer()
    from tokenizers.processors import TemplateProcessing

    tokenizer.add_special_tokens({"bos_token": "<|endoftext|>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.bos_token_id)]
    )
    processor = AuraProcessor(AuraFeatureExtractor(), tokenizer)
    begin = tokenizer.bos_token_id
    assert processor(text="hi").input_ids[0].count(begin) == 1
    assert processor(text="<|endoftext|>hi").input_ids[0].count(begin) == 1
    assert processor(text="hi", add_special_tokens=False).input_ids[0].count(begin) == 0
    with pytest.raises(ValueError, match="pass `add_special_tokens=True` or `False`"):
        processor(text=["hi", "<|endoftext|>hi"])


# ---------------------------------------------------------------------------------------------------------- chats

CHAT = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "One:"},
            {"type": "audio", "audio": ONE_SECOND},
            {"type": "audio", "audio": HALF_SECOND},
            {"type": "text", "text": "Which is longer?"},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "The first."}]},
    {"role": "user", "content": [{"type": "audio", "audio": HALF_SECOND}]},
]
RENDERED = (
    "<|im_start|>system\nBe brief.<|im_end|>\n"
    "<|im_start|>user\nOne:\n<|audio|>\n<|audio|>\nWhich is longer?<|im_end|>\n"
    "<|im_start|>assistant\nThe first.<|im_end|>\n"
    "<|im_start|>user\n<|audio|><|im_end|>\n"
)


def test_parts_are_rendered_by_a_template_that_knows_only_strings(processor):
    assert processor.apply_chat_template(CHAT) == RENDERED
    assert processor.apply_chat_template(CHAT, add_generation_prompt=True) == RENDERED + "<|im_start|>assistant\n"
    assert processor.apply_chat_template([CHAT, CHAT[:1]])[1] == "<|im_start|>system\nBe brief.<|im_end|>\n"
    without_audio = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "What?"}]}]
    assert processor.apply_chat_template(without_audio) == "<|im_start|>user\n<|audio|>\nWhat?<|im_end|>\n"


PARTS_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\n' -}}"
    "{%- for part in message.content -%}"
    "{%- if message.role == 'assistant' -%}{%- generation -%}{{- part['text'] -}}{%- endgeneration -%}"
    "{%- elif part.type == 'text' -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
)
"""Knows parts only: of a string it would show nothing."""


def test_parts_are_rendered_by_a_template_that_knows_only_parts(processor):
    assert processor.apply_chat_template(CHAT, chat_template=PARTS_CHAT_TEMPLATE) == RENDERED
    inputs = processor.apply_chat_template(
        CHAT,
        chat_template=PARTS_CHAT_TEMPLATE,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
    )
    assert torch.equal(inputs.input_ids, processor.apply_chat_template(CHAT, tokenize=True, return_tensors="pt"))
    assert processor.decode(inputs.input_ids[inputs.assistant_masks.bool()]) == "The first."
    assert audio_token_counts(processor, inputs) == [13 + 7 + 7]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (STRING_CHAT_TEMPLATE, False),
        (PLAIN_CHAT_TEMPLATE, False),
        (PARTS_CHAT_TEMPLATE, True),
        ("{{ messages[0]['content'][0]['text'] }}", True),
        ("{{ bos_token + messages[0].content }}", False),
        # Gemma's and others' take both
        (
            "{% if messages[0].content is string %}{{ messages[0].content }}{% else %}{{ messages[0].content[0].text }}{% endif %}",
            False,
        ),
        ("{{ raise_exception('no') }}", False),
    ],
)
def test_what_a_template_reads(template, expected):
    assert reads_parts(template) == expected


def test_messages_and_parts_as_objects(processor):
    """Dataclasses, as of `huggingface_hub`, and pydantic models, as of the OpenAI client."""

    @dataclasses.dataclass
    class Part:
        type: str
        text: str | None = None
        audio: dict | None = None

    @dataclasses.dataclass
    class Message:
        role: str
        content: object
        tool_calls: list | None = None

    class Model:
        def __init__(self, **fields):
            self.fields = fields

        def model_dump(self):
            return self.fields

    parts = [
        Part("text", "One:"),
        Part("audio", audio=ONE_SECOND),
        Model(type="audio", audio=HALF_SECOND),
        Part("text", "Which is longer?"),
    ]
    chat = [
        Model(role="system", content="Be brief."),
        Message("user", parts),
        Message("assistant", "The first."),
        CHAT[3],
    ]
    assert processor.apply_chat_template(chat) == RENDERED
    assert processor.apply_chat_template(Chat([dict(message) for message in CHAT])) == RENDERED
    inputs = processor.apply_chat_template([chat, CHAT], tokenize=True, return_dict=True, return_tensors="pt")
    assert torch.equal(inputs.input_ids[0], inputs.input_ids[1])
    assert torch.equal(inputs.input_features[:3], inputs.input_features[3:])


def test_chat_equals_its_rendered_text_with_the_audio_beside_it(processor):
    from_chat = processor.apply_chat_template(CHAT, tokenize=True, return_dict=True, return_tensors="pt")
    from_text = processor(text=RENDERED, audio=[ONE_SECOND, HALF_SECOND, HALF_SECOND], return_tensors="pt")
    assert list(from_chat) == list(from_text) == processor.model_input_names
    for name in from_text:
        assert torch.equal(from_chat[name], from_text[name]), name
    assert torch.equal(processor.apply_chat_template(CHAT, tokenize=True, return_tensors="pt"), from_text.input_ids)
    assert processor.apply_chat_template(CHAT, tokenize=True) == from_text.input_ids.tolist()


def test_batch_of_chats(processor):
    chats = [build_conversation(ONE_SECOND), build_conversation(question="Who?"), CHAT]
    batch = processor.apply_chat_template(
        chats, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    assert audio_token_counts(processor, batch) == [13, 0, 27]
    assert batch.input_features_mask.sum(-1).tolist() == [100, 100, 50, 50]
    for row, chat in enumerate(chats):
        alone = processor.apply_chat_template(chat, tokenize=True, return_tensors="pt", add_generation_prompt=True)
        assert torch.equal(batch.input_ids[row, -alone.shape[1] :], alone[0])


def test_every_form_of_an_audio_part(processor, tmp_path):
    data = wav()
    (tmp_path / "clip.wav").write_bytes(data)
    text = base64.b64encode(data).decode()
    expected = processor(text=AUDIO_TOKEN, audio=ONE_SECOND, return_tensors="pt").input_features
    for part in (
        {"type": "audio", "audio": ONE_SECOND},
        {"type": "audio", "audio": str(tmp_path / "clip.wav")},
        {"type": "audio", "audio": tone(1.0), "sampling_rate": 16_000},
        {"type": "audio", "audio": {"array": tone(1.0)}, "sampling_rate": 16_000},
        {"type": "audio", "array": tone(1.0), "sampling_rate": 16_000},
        {"type": "audio", "path": tmp_path / "clip.wav"},
        {"type": "audio", "path": str(tmp_path / "clip.wav"), "audio": None, "text": None},  # a row of `datasets`
        {"type": "audio", "bytes": data},
        {"type": "audio", "base64": text},
        {"type": "audio", "url": f"data:audio/wav;base64,{text}"},  # what `transformers serve` passes
        {"type": "audio", "url": text},
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{text}"}},
        {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}},
    ):
        chat = [{"role": "user", "content": [part], "name": None}]
        inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
        assert torch.equal(inputs.input_features, expected), sorted(part)


def test_the_call_of_transformers_serve_and_template_variables(processor):
    inputs = processor.apply_chat_template(
        CHAT,
        add_generation_prompt=True,
        tools=None,
        return_tensors="pt",
        return_dict=True,
        tokenize=True,
        load_audio_from_video=False,
        enable_thinking=False,
    )
    assert audio_token_counts(processor, inputs) == [27]
    shouting = "{% for message in messages %}{{ message.content | upper if shout else message.content }}{% endfor %}"
    chat = [{"role": "user", "content": "hi"}]
    assert processor.apply_chat_template(chat, chat_template=shouting, shout=True) == "HI"


def test_continuing_the_last_message(processor):
    chat = [*build_conversation(ONE_SECOND), {"role": "assistant", "content": [{"type": "text", "text": "It says"}]}]
    text = processor.apply_chat_template(chat, continue_final_message=True)
    assert text == "<|im_start|>user\n<|audio|><|im_end|>\n<|im_start|>assistant\nIt says"
    ids = processor.apply_chat_template(chat, continue_final_message=True, tokenize=True)
    assert processor.decode(ids[0]).endswith("It says")


def test_assistant_mask_marks_what_the_assistant_says(processor):
    inputs = processor.apply_chat_template(
        [CHAT, [*build_conversation(ONE_SECOND), {"role": "assistant", "content": "the end"}]],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        return_assistant_tokens_mask=True,
    )
    said = [
        processor.decode(ids[mask.bool()]) for ids, mask in zip(inputs.input_ids, inputs.assistant_masks, strict=True)
    ]
    assert said == ["The first.<|im_end|>", "the end<|im_end|>"]


def test_processor_keywords_of_a_chat(processor):
    chat = build_conversation(tone(1.0))
    inputs = processor.apply_chat_template(
        chat, tokenize=True, processor_kwargs={"sampling_rate": 16_000, "truncate_to_seconds": 0.4}
    )
    assert inputs[0].count(processor.audio_token_id) == 5
    direct = processor.apply_chat_template(chat, tokenize=True, sampling_rate=16_000, truncate_to_seconds=0.4)
    assert direct == inputs


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ([{"role": "user", "content": "cut \ud83d"}], r"text of message 1 \(user\) holds a lone surrogate"),
        ([*CHAT, {"role": "user"}], r"content of message 5 \(user\) must be a string or a list of parts, got None"),
        ([{"role": "assistant", "content": None}], "content of message 1 .* got None"),
        ([{"role": "user", "content": []}], r"content of message 1 .* got \[\]"),
        ([{"role": "", "content": "hi"}], "Message 1 of the chat is"),
        ([{"role": 3, "content": "hi"}], "Message 1 of the chat is"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "has 0 audios"),
        ([{"role": "user", "content": [{"type": "audio", "path": "a", "url": "b"}]}], "has 2 audios"),
        ([{"role": "user", "content": [{"type": "audio", "file": "a.wav"}]}], r"unknown keys \['file'\]"),
        ([{"role": "user", "content": [{"type": "image", "url": "a.png"}]}], "takes audio and text only"),
        ([{"role": "user", "content": [{"type": "sound", "audio": "a.wav"}]}], "has the part .* A part is"),
        ([{"role": "user", "content": ["hello"]}], "has the part 'hello'. A part is"),
        ([{"role": "user", "content": [{"type": np.zeros(3), "text": "hi"}]}], "has the part .* A part is"),
        ([{"role": "user", "content": [{"type": "text"}]}], 'has no "text"'),
        ([{"role": "user", "content": 3}], "must be a string or a list of parts, got 3"),
        ([{"content": "hi"}], 'not a dict such as {"role": "user"'),
        (["hi"], "Message 1 of the chat is 'hi'"),
        ([], r"A chat is a list of messages, or a list of such lists; got \[\]"),
        ("hi", "A chat is a list of messages"),
        ([CHAT, []], "Every chat of a batch is a list of messages"),
    ],
)
def test_chats_that_cannot_be_read_are_an_error(processor, chat, message):
    with pytest.raises(ValueError, match=message):
        processor.apply_chat_template(chat, tokenize=True)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"audios": [ONE_SECOND]}, "got `audios`, but audio and text go into the messages"),
        ({"audio": [ONE_SECOND]}, "got `audio`, but audio and text go into the messages"),
        ({"processor_kwargs": {"audio": [ONE_SECOND]}}, "got `audio`, but audio and text go into the messages"),
        ({"add_generation_promt": True}, "`add_generation_promt`. Did you mean `add_generation_prompt`?"),
        ({"processor_kwargs": 3}, "`processor_kwargs` must be a dict, got 3"),
        ({"tools": "search"}, "`tools` must be a list, got 'search'"),
        ({"documents": 3}, "`documents` must be a list, got 3"),
        ({"chat_template": 3}, "`chat_template` must be a string, got 3"),
        ({"processor_kwargs": {"sampling_rates": 1}}, "`sampling_rates`. Did you mean `sampling_rate`?"),
    ],
)
def test_misspelt_keywords_of_a_chat_are_an_error(processor, keywords, message):
    with pytest.raises(TypeError, match=message):
        processor.apply_chat_template(CHAT, tokenize=True, **keywords)


def test_a_template_that_writes_placeholders_itself_is_an_error(processor):
    template = "{% for message in messages %}<|audio|>{{ message.content }}{% endfor %}"
    with pytest.raises(ValueError, match="the chat template dropped, repeated or itself wrote"):
        processor.apply_chat_template(CHAT, chat_template=template, tokenize=True)


def test_messages_are_left_as_they_are(processor):
    chat = build_conversation(ONE_SECOND, "What?")
    before = repr(chat)
    processor.apply_chat_template(chat, tokenize=True)
    assert repr(chat) == before


def test_the_one_user_turn(processor):
    history = [{"role": "system", "content": "Be brief."}]
    assert build_conversation("a.wav", "What?", "Text.", history) == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Context: Text."},
                {"type": "audio", "audio": "a.wav"},
                {"type": "text", "text": "What?"},
            ],
        },
    ]
    assert processor.apply_chat_template(build_conversation("a.wav")) == "<|im_start|>user\n<|audio|><|im_end|>\n"
    with pytest.raises(ValueError, match="nothing to ask"):
        build_conversation(context="Text.")


# ------------------------------------------------------------------------------------------- making and saving it


def test_the_audio_token_is_added_once_and_is_special():
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    assert add_audio_token(tokenizer) == size
    assert add_audio_token(tokenizer) == size
    assert len(tokenizer) == size + 1
    assert tokenizer.decode(tokenizer("a<|audio|>b").input_ids, skip_special_tokens=True) == "ab"


def test_construction_makes_the_tokenizer_ready():
    tokenizer = tiny_tokenizer(pad_token=None)
    assert tokenizer.padding_side == "right"
    processor = AuraProcessor(AuraFeatureExtractor(), tokenizer)
    assert processor.tokenizer.padding_side == "left"
    assert processor.tokenizer.pad_token == tokenizer.eos_token
    tokenizer = tiny_tokenizer(pad_token=None)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="neither a padding nor an end-of-sequence token"):
        AuraProcessor(AuraFeatureExtractor(), tokenizer)
    with pytest.raises(ValueError, match="`frames_per_token` must be 1 or more, got 0"):
        AuraProcessor(AuraFeatureExtractor(), tiny_tokenizer(), frames_per_token=0)


def test_saving_and_loading(tmp_path):
    processor = AuraProcessor(
        AuraFeatureExtractor(feature_size=128),
        tiny_tokenizer(),
        chat_template=STRING_CHAT_TEMPLATE.replace("<|im_end|>' -}}", "<|im_end|>!' -}}"),
        frames_per_token=4,
    )
    processor.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chat_template.jinja",
        STUB_FILE_NAME,
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["feature_extractor"]["feature_size"] == 128
    assert saved["frames_per_token"] == 4
    for loaded in (AuraProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert isinstance(loaded, AuraProcessor)
        assert loaded.to_dict() == processor.to_dict()
        assert loaded.audio_token_id == processor.audio_token_id
        assert loaded.chat_template == processor.chat_template == loaded.tokenizer.chat_template
        expected = processor.apply_chat_template(CHAT, tokenize=True, return_dict=True, return_tensors="pt")
        inputs = loaded.apply_chat_template(CHAT, tokenize=True, return_dict=True, return_tensors="pt")
        assert audio_token_counts(processor, inputs) == [25 + 13 + 13]
        for name in expected:
            assert torch.equal(inputs[name], expected[name]), name


def test_processor_for_a_new_student(tmp_path, caplog):
    tiny_tokenizer().save_pretrained(tmp_path / "chat")
    config = LlamaConfig(vocab_size=len(tiny_tokenizer()))
    config.save_pretrained(tmp_path / "chat")
    config.save_pretrained(tmp_path / "plain")
    processor = AuraProcessor.from_language_model_pretrained(tmp_path / "chat", num_mel_bins=128, frames_per_token=16)
    assert processor.apply_chat_template(CHAT) == RENDERED
    assert processor.feature_extractor.feature_size == 128
    assert processor.frames_per_token == 16
    assert processor.audio_token_id == len(AutoTokenizer.from_pretrained(tmp_path / "chat"))

    tiny_tokenizer(chat_template=None).save_pretrained(tmp_path / "plain")
    processor = AuraProcessor.from_language_model_pretrained(tmp_path / "plain")
    assert processor.chat_template == PLAIN_CHAT_TEMPLATE
    text = processor.apply_chat_template(CHAT, add_generation_prompt=True)
    assert text.replace(processor.audio_token, AUDIO_TOKEN) == (
        "System: Be brief.\nUser: One:\n<|audio|>\n<|audio|>\nWhich is longer?\nAssistant: The first.<|im_end|>\n"
        "User: <|audio|>\nAssistant:"
    )
    own = AuraProcessor.from_language_model_pretrained(tmp_path / "plain", chat_template="{{ messages[0].content }}")
    assert own.apply_chat_template(CHAT) == "Be brief."


def test_a_processor_without_a_chat_template_says_so():
    processor = AuraProcessor(AuraFeatureExtractor(), tiny_tokenizer(chat_template=None))
    with pytest.raises(ValueError, match=r"has no chat template.*processor.chat_template = PLAIN_CHAT_TEMPLATE"):
        processor.apply_chat_template(CHAT)
    processor.chat_template = PLAIN_CHAT_TEMPLATE
    assert processor.apply_chat_template(CHAT[:1]) == "System: Be brief.\n"


def test_processor_of_a_gguf_file(tmp_path):
    gguf = pytest.importorskip("gguf")
    tokenizer = tiny_tokenizer()
    file = tmp_path / "base.gguf"
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get))
    writer.add_token_types([3 if index in tokenizer.added_tokens_decoder else 1 for index in range(len(tokenizer))])
    writer.add_token_merges(["t h", "th e", "Ġ the", "o u", "i n"])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(STRING_CHAT_TEMPLATE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    expected = tiny_processor().apply_chat_template(CHAT, tokenize=True)
    for processor in (
        AuraProcessor.from_language_model_pretrained(file),
        AuraProcessor.from_language_model_pretrained(tmp_path, gguf_file="base.gguf"),
    ):
        assert processor.apply_chat_template(CHAT) == RENDERED
        assert processor.apply_chat_template(CHAT, tokenize=True) == expected
        assert processor.tokenizer.pad_token == "<|im_end|>"
        processor.save_pretrained(tmp_path / "saved")
        assert AuraProcessor.from_pretrained(tmp_path / "saved").apply_chat_template(CHAT, tokenize=True) == expected


def test_a_chat_without_audio_is_what_the_base_tokenizer_makes_of_it(processor):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the time in Rome?"}]
    for keywords in ({}, {"add_generation_prompt": True}):
        expected = tiny_tokenizer().apply_chat_template(chat, tokenize=True, return_dict=True, **keywords)
        inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True, **keywords)
        assert inputs == {"input_ids": [expected.input_ids], "attention_mask": [expected.attention_mask]}
