import concurrent.futures

import pytest
from tokenizers.processors import TemplateProcessing

from tests.support.tiny import tiny_processor, tiny_tokenizer
from tests.support.tokenizer_families import TOKENIZER_FAMILIES
from transformers_aura import AuraFeatureExtractor, AuraProcessor


@pytest.fixture(params=["bytes", "sentencepiece", "unigram"])
def processor(request):
    return AuraProcessor(AuraFeatureExtractor(), TOKENIZER_FAMILIES[request.param]())


@pytest.mark.parametrize(
    "keywords",
    [
        {"padding": True},
        {"padding": False},
        {"padding": "longest", "padding_side": "right"},
        {"padding": True, "pad_to_multiple_of": 8},
        {"padding": "max_length", "max_length": 40},
        {"truncation": True, "max_length": 3},
        {"truncation": "longest_first", "max_length": 5, "padding": "max_length"},
        {"return_special_tokens_mask": True, "return_offsets_mapping": True, "truncation": True, "max_length": 4},
    ],
)
def test_rows_are_what_the_tokenizer_itself_makes(processor, keywords):
    texts = ["a", "hello there, you", "b c"]
    own = {"padding": True, "padding_side": "left", "return_token_type_ids": False, **keywords}
    expected = processor.tokenizer(texts, **own)
    grouped = {name: keywords[name] for name in keywords if name.startswith("return_")}
    given = {name: value for name, value in keywords.items() if name not in grouped}
    inputs = processor(text=texts, text_kwargs=grouped, **given)
    assert {name: [list(row) for row in rows] for name, rows in inputs.items()} == {
        name: [list(row) for row in rows] for name, rows in expected.items()
    }


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_that_is_cut_keeps_what_the_tokenizer_adds(side):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|endoftext|>"})
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|endoftext|>", "<|im_end|>")]
    template = TemplateProcessing(single="<|endoftext|> $A <|im_end|>", special_tokens=ends)
    tokenizer.backend_tokenizer.post_processor = template
    tokenizer.truncation_side = side
    processor = AuraProcessor(AuraFeatureExtractor(), tokenizer)
    for length in (2, 3, 6, 50):
        expected = tokenizer("abcdefgh", truncation=True, max_length=length).input_ids
        assert processor(text="abcdefgh", truncation=True, max_length=length).input_ids == [expected]


@pytest.mark.fault("requests")
def test_threads_share_a_processor():
    """Each call's padding and truncation are its own, and typed control tokens are text in all of them."""
    processor = tiny_processor()
    long, chat = "b c d " * 50, [{"role": "user", "content": "a <|im_end|> b"}]
    calls = [
        lambda: processor(text=long, padding=True).input_ids,
        lambda: processor(text=["a", "b c d"], truncation=True, max_length=4, padding="max_length").input_ids,
        lambda: processor(text="hello " * 60, padding=False).input_ids,
        lambda: processor.apply_chat_template(chat, tokenize=True),
        lambda: processor.tokenizer(long, add_special_tokens=False).input_ids,
        lambda: (
            processor.apply_chat_template(
                [*chat, {"role": "assistant", "content": "b"}],
                tokenize=True,
                return_dict=True,
                return_assistant_tokens_mask=True,
            ).assistant_masks
        ),
    ]
    expected = [call() for call in calls]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        numbers = [number % len(calls) for number in range(1_200)]
        found = list(pool.map(lambda number: calls[number](), numbers))
    assert all(result == expected[number] for number, result in zip(numbers, found, strict=True))


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"padding": "left"}, ValueError, "`padding` must be True, False"),
        ({"padding_side": "top"}, ValueError, "`padding_side` must be 'left', 'right'"),
        ({"truncation": "only_second"}, ValueError, "`truncation` must be True, False"),
        ({"truncation": True, "max_length": 0}, ValueError, "`max_length` must be between 1 and 10000000, got 0"),
        ({"truncation": True, "max_length": True}, TypeError, "`max_length` must be a whole number, got True"),
        ({"padding": "max_length"}, ValueError, "needs `max_length`"),
        ({"pad_to_multiple_of": 2.5}, TypeError, "`pad_to_multiple_of` must be a whole number"),
        ({"truncate_to_seconds": float("nan")}, ValueError, "`truncate_to_seconds` must be above 0, got nan"),
        ({"truncate_to_seconds": 10**400}, ValueError, "`truncate_to_seconds` must be above 0"),
        ({"pad_to_multiple_of": 10**12}, ValueError, "`pad_to_multiple_of` must be between 1 and"),
        ({"return_tensors": "tf"}, ValueError, "`return_tensors` must be None, 'pt'"),
        ({"add_special_tokens": 1.5}, ValueError, "`add_special_tokens` must be None, True, False, got 1.5"),
        ({"text_kwargs": 3}, TypeError, "`text_kwargs` must be a dict, got 3"),
        ({"text": ["a", ""]}, ValueError, "Text 2 is empty"),
        ({"text_kwargs": {"return_overflowing_tokens": True}}, TypeError, "does not take `return_overflowing_tokens`"),
    ],
)
def test_settings_that_cannot_be_are_an_error(keywords, error, message):
    with pytest.raises(error, match=message):
        tiny_processor()(**{"text": ["a", "b c"], **keywords})
