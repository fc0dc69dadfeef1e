import pytest
import torch
from transformers import LlamaConfig

from tests.support.tiny import tiny_tokenizer
from transformers_aura.processing.audio_tokens import (
    AUDIO_TOKEN,
    add_audio_token,
    choose_audio_token,
    find_audio_positions,
    num_audio_tokens,
)


def test_num_audio_tokens_counts_the_partial_token_at_the_end():
    assert [num_audio_tokens(frames, 8) for frames in (0, 1, 8, 9, 500)] == [0, 1, 1, 2, 63]
    assert num_audio_tokens(torch.tensor([0, 1, 8, 9, 500]), 8).tolist() == [0, 1, 1, 2, 63]


def test_the_audio_token_is_added_once_and_stays_one_token():
    tokenizer = tiny_tokenizer()
    vocabulary = len(tokenizer)
    token_id = add_audio_token(tokenizer)
    assert token_id == vocabulary == add_audio_token(tokenizer)
    assert tokenizer(f"a{AUDIO_TOKEN}b", add_special_tokens=False)["input_ids"].count(token_id) == 1


LLAMA = ("<|reserved_special_token_0|>", "<|eot_id|>", "<|reserved_special_token_1|>")


@pytest.mark.parametrize(
    ("special_tokens", "spare_rows", "chosen"),
    [
        ((), 0, AUDIO_TOKEN),  # beyond the vocabulary
        ((), 1, AUDIO_TOKEN),
        (LLAMA, 1, AUDIO_TOKEN),
        ((AUDIO_TOKEN, "<|extra_0|>"), 0, AUDIO_TOKEN),
        (LLAMA, 0, "<|reserved_special_token_1|>"),
        (("<unused0>", "<unused98>", "<image>"), 0, "<unused98>"),
        (("[control_8]", "[TOOL_CALLS]"), 0, "[control_8]"),
        (("<|dummy_85|>", "<|fim_prefix|>"), 0, "<|dummy_85|>"),
        (("<|placeholder6|>",), 0, "<|placeholder6|>"),
        (("<SPECIAL_20>",), 0, "<SPECIAL_20>"),
        (("<|EXTRA_0_TOKEN|>",), 0, "<|EXTRA_0_TOKEN|>"),
        (("[UNUSED_TOKEN_3]",), 0, "[UNUSED_TOKEN_3]"),
        (("<empty_output>", "<|eot_id|>", "<|end_of_text|>", "<think>"), 0, "<empty_output>"),  # a template may write <think>
        (("<|eot_id|>", "<turn>"), 0, AUDIO_TOKEN),  # the config says that <turn> ends a text
    ],
)  # fmt: skip
def test_a_token_to_spare_is_chosen_for_audio(special_tokens, spare_rows, chosen):
    tokenizer = tiny_tokenizer(special_tokens=special_tokens)
    tokenizer.chat_template += "<think>"
    ends = [tokenizer.eos_token_id, tokenizer.get_vocab().get("<turn>", 0)]
    config = LlamaConfig(vocab_size=len(tokenizer) + spare_rows, eos_token_id=ends)
    assert choose_audio_token(tokenizer, config) == chosen
    is_inside = add_audio_token(tokenizer, chosen) < config.vocab_size
    assert is_inside == (bool(spare_rows) or chosen in special_tokens)
    ids = tokenizer(f"a{chosen}b", add_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids(chosen)) == 1
    assert choose_audio_token(tokenizer, config) == chosen or not spare_rows  # of a processor's tokenizer, too


@pytest.mark.parametrize(
    ("rows", "clips", "with_clips"),
    [
        ([3, 0, 2], [3, 2], [True, True, True]),
        ([5, 1], [3, 2, 1], [True, True]),
        ([2, 5, 1], [3, 2], [False, True, False]),  # the first and the last row hold the token as text
        ([1, 4, 4], [4, 4], [False, True, True]),
        ([0, 2], [], [False, False]),
        ([3, 3], [3], "more than one row could be"),
        ([1, 7], [8], r"hold 8 audio positions \(1, 7 by row\), but the 1 clips of the batch make 8 audio embeddings \(8\)"),
        ([3], [4], "hold 3 audio positions, but the 1 clips"),
        ([0, 0], [4], "hold 0 audio positions"),
        ([4, 4], [4], "more than one row"),
    ],
)  # fmt: skip
def test_rows_hold_whole_clips_or_text(rows, clips, with_clips):
    is_audio_token = torch.zeros(len(rows), 9, dtype=torch.bool)
    for row, count in enumerate(rows):
        is_audio_token[row, 1 : 1 + count] = True
    if isinstance(with_clips, str):
        with pytest.raises(ValueError, match=with_clips):
            find_audio_positions(is_audio_token, torch.tensor(clips))
    else:
        found = find_audio_positions(is_audio_token, torch.tensor(clips, dtype=torch.long))
        assert torch.equal(found, is_audio_token & torch.tensor(with_clips)[:, None])
