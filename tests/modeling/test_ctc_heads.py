import pytest
import torch

from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.modeling import ctc_heads
from transformers_aura.modeling.ctc_heads import STEPS_PER_TOKEN, CharacterCTCHead, SubwordCTCHead


pytestmark = pytest.mark.numerical


def test_an_audio_token_tells_several_letters_in_training_and_after():
    torch.manual_seed(0)
    head = CharacterCTCHead(8, LATIN_ALPHABET)
    states = torch.randn(2, 3, 8)
    logits = head(states)
    assert logits.shape == (2, 3 * STEPS_PER_TOKEN, 1 + len(LATIN_ALPHABET))
    for row in range(2):
        alone = head.log_probabilities(states[row])
        assert_equal_but_for_rounding(alone, logits[row].log_softmax(-1), num_terms(head))
    # A head in half precision loses only what its own numbers lose.
    half = CharacterCTCHead(8, LATIN_ALPHABET).to(torch.bfloat16)
    half.load_state_dict(head.state_dict())
    assert half.log_probabilities(states[0].to(torch.bfloat16)).dtype == torch.float32
    in_half = half.log_probabilities(states[0])
    assert_equal_but_for_rounding(in_half, logits[0].log_softmax(-1), num_terms(head), dtype=torch.bfloat16)


def test_a_head_of_another_alphabet_takes_over_the_characters_of_both():
    torch.manual_seed(0)
    english, german = CharacterCTCHead(8, LATIN_ALPHABET), CharacterCTCHead(8, " aäzß")
    begun = german(states := torch.randn(1, 3, 8))
    german.copy_characters(english)
    heard, known = german(states), english(states)
    assert torch.equal(heard[..., [0, 1, 2, 4]], known[..., [0, 1, 2, 27]]), "blank, space, a and z"
    assert torch.equal(heard[..., [3, 5]], begun[..., [3, 5]])


def random_case():
    torch.manual_seed(0)
    head = SubwordCTCHead(student_width=8)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    embeddings = torch.randn(50, 8)
    hidden_states = torch.randn(2, 5, 8)
    is_audio = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    tokens = torch.tensor([[7, 7, 3], [49, 0, 0]])
    return head, hidden_states, is_audio, embeddings, tokens


def test_logits_are_those_of_the_llms_embeddings():
    head, hidden_states, is_audio, embeddings, tokens = random_case()
    logits, symbols = head.eval()(hidden_states, is_audio, embeddings, tokens)
    assert logits.shape == (2, 3, 51)  # every token, and the blank
    state = head.projection(head.norm(hidden_states[0, 2]))
    assert_equal_but_for_rounding(logits[0, 1, symbols[0, 2]], state @ embeddings[3], num_terms(head) + 8)
    assert symbols[0, 0] == symbols[0, 1] != symbols[0, 2]
    assert (symbols > 0).all()


def test_training_tells_the_transcripts_tokens_from_others_at_random(monkeypatch):
    monkeypatch.setattr(ctc_heads, "NUM_CANDIDATES", 10)
    head, *case = random_case()
    whole, symbols = head.eval()(*case)
    some, own_symbols = head.train()(*case)
    assert some.shape == (2, 3, 11)
    terms = num_terms(head) + 8  # the embeddings' width
    assert_equal_but_for_rounding(some[..., 0], whole[..., 0], terms)
    for row, token in ((0, 0), (0, 2), (1, 0)):
        found, expected = some[row, :, own_symbols[row, token]], whole[row, :, symbols[row, token]]
        assert_equal_but_for_rounding(found, expected, terms)
