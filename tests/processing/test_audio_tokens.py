import torch

from tests.support.tiny import tiny_tokenizer
from transformers_aura.processing.audio_tokens import AUDIO_TOKEN, add_audio_token, num_audio_tokens


def test_num_audio_tokens_counts_the_partial_token_at_the_end():
    assert [num_audio_tokens(frames, 8) for frames in (0, 1, 8, 9, 500)] == [0, 1, 1, 2, 63]
    assert num_audio_tokens(torch.tensor([0, 1, 8, 9, 500]), 8).tolist() == [0, 1, 1, 2, 63]


def test_the_audio_token_is_added_once_and_stays_one_token():
    tokenizer = tiny_tokenizer()
    vocabulary = len(tokenizer)
    token_id = add_audio_token(tokenizer)
    assert token_id == vocabulary == add_audio_token(tokenizer)
    assert tokenizer(f"a{AUDIO_TOKEN}b", add_special_tokens=False)["input_ids"].count(token_id) == 1
