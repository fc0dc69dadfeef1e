import pytest
import torch

from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.distillation.transcript_heads import TranscriptHeads, transcript_symbols
from transformers_aura.modeling.ctc_heads import STEPS_PER_TOKEN, CharacterCTCHead


pytestmark = pytest.mark.numerical


def test_symbols_are_the_characters_that_are_said():
    text = "".join(
        LATIN_ALPHABET[symbol - 1] for symbol in transcript_symbols("  I’d like - well, Two coffee-cups!  ")
    )
    assert text == "i'd like well two coffee cups"
    assert transcript_symbols("press 1") == []  # one, or won: the digit does not say
    assert transcript_symbols("café") == transcript_symbols("cafe") != []
    assert transcript_symbols("東京") == []
    assert transcript_symbols("") == []


def test_heads_read_the_audio_positions_in_their_order():
    heads = TranscriptHeads([0, 2], student_width=8)
    hidden_states = [torch.randn(2, 6, 8) for _ in range(3)]
    is_audio = torch.tensor([[False, True, True, False, True, False], [False, False, True, False, False, False]])
    logits = heads(hidden_states, is_audio)
    assert [tuple(values.shape) for values in logits] == [(2, 3 * STEPS_PER_TOKEN, 1 + len(LATIN_ALPHABET))] * 2
    for values, layer, head in zip(logits, (0, 2), heads.heads, strict=True):
        for row in range(2):
            alone = head(hidden_states[layer][row, is_audio[row]][None])[0]
            assert_equal_but_for_rounding(values[row, : len(alone)], alone, num_terms(head))


def test_a_student_goes_on_with_its_own_head():
    heads = TranscriptHeads([2, 0], student_width=8)
    own = CharacterCTCHead(8, LATIN_ALPHABET)
    heads.go_on_with(own)
    assert heads.of_patch_embedding is heads.heads[1] is own
    assert TranscriptHeads([2], student_width=8).of_patch_embedding is None


def test_saved_heads_come_back_and_others_are_refused(tmp_path):
    heads = TranscriptHeads([0, 2], student_width=8, seed=1)
    heads.save(tmp_path / "heads.safetensors")
    again = TranscriptHeads([0, 2], student_width=8, seed=2)
    again.load_from(tmp_path / "heads.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(heads.parameters(), again.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"character_ctc_layers=\[0\]"):
        TranscriptHeads([0], student_width=8).load_from(tmp_path / "heads.safetensors")
    with pytest.raises(FileNotFoundError, match="`character_ctc_weight` above 0"):
        again.load_from(tmp_path / "missing.safetensors")
