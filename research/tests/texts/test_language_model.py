"""Replies of a language model: the same tokens as one greedy decoding a message, in whatever batch."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from aura_research.texts.language_model import LanguageModel


class LetterTokenizer:
    """Letters are tokens; a prompt is a fixed beginning, the message and a fixed end."""

    eos_token_id = 0

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> list[int]:
        assert options == {"add_generation_prompt": True, "return_dict": False}
        return [1, 2, 3, *(ord(letter) - 60 for letter in messages[0]["content"]), 4, 5]

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(token + 60) for token in tokens)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
    )
    return LanguageModel(LetterTokenizer(), LlamaForCausalLM(config))


def decode_alone(model: LanguageModel, message: str, max_new_tokens: int) -> list[int]:
    tokens = model.tokenizer.apply_chat_template(
        [{"role": "user", "content": message}], add_generation_prompt=True, return_dict=False
    )
    new: list[int] = []
    with torch.inference_mode():
        while len(new) < max_new_tokens:
            token = int(model.model(torch.tensor([tokens + new])).logits[0, -1].argmax())
            if token == 0:
                break
            new.append(token)
    return new


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_replies_do_not_depend_on_the_batch(model, batch_size):
    messages = ["abc", "zyx", "a", "hello", "world", "bca", "q", "abd", "mnopq"]
    replies = dict(model.reply(messages, 12, is_done=lambda text: False, batch_size=batch_size))
    assert replies == {
        index: model.tokenizer.decode(decode_alone(model, message, 12)) for index, message in enumerate(messages)
    }


def test_a_reply_ends_when_it_is_done(model):
    messages = ["abc", "zyx", "bca", "hello"]
    whole = dict(model.reply(messages, 12, is_done=lambda text: False))
    # One message ends early; the others go on in the same batch.
    short = dict(model.reply(messages, 12, is_done=lambda text: whole[0].startswith(text) and len(text) == 3))
    assert short[0] == whole[0][:3]
    assert short[1] == whole[1]


def test_no_messages_no_replies(model):
    assert list(model.reply([], 12, is_done=lambda text: False)) == []
