import torch

from transformers_aura.modeling.letter_head import STEPS_PER_TOKEN, LetterHead
from transformers_aura.modeling.spelling import LETTERS


def test_an_audio_token_tells_several_letters_in_training_and_after():
    torch.manual_seed(0)
    head = LetterHead(8)
    states = torch.randn(2, 3, 8)
    logits = head(states)
    assert logits.shape == (2, 3 * STEPS_PER_TOKEN, 1 + len(LETTERS))
    for row in range(2):
        torch.testing.assert_close(head.log_probabilities(states[row]), logits[row].log_softmax(-1))
    # A head in half precision loses only what its own numbers lose.
    half = LetterHead(8).to(torch.bfloat16)
    half.load_state_dict(head.state_dict())
    assert half.log_probabilities(states[0].to(torch.bfloat16)).dtype == torch.float32
    torch.testing.assert_close(half.log_probabilities(states[0]), logits[0].log_softmax(-1), atol=0.05, rtol=0.05)
