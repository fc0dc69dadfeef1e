import pytest
import torch

from tests.support.tiny_models import tiny_language_model
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.evaluation.systems.generation import generate_greedily


pytestmark = pytest.mark.numerical


def test_confidence_is_the_geometric_mean_of_the_tokens_probabilities():
    model = tiny_language_model()
    prompt = torch.tensor([[5, 6, 7], [8, 9, 10]])
    free, _ = generate_greedily(model, {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}, 6, 0)
    model.generation_config.eos_token_id = int(free[0, 2])  # the first row ends with its third token
    tokens, confidences = generate_greedily(
        model, {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}, 6, 0
    )
    for row, confidence in enumerate(confidences):
        said = tokens[row].tolist()
        end = model.generation_config.eos_token_id
        said = said[: said.index(end) + 1] if end in said else said
        whole = torch.cat([prompt[row], torch.tensor(said)])
        with torch.no_grad():
            log_probabilities = model(whole[None]).logits.log_softmax(-1)[0, 2:-1]
        own = log_probabilities[torch.arange(len(said)), said]
        terms = len(said) * num_terms(model, positions=len(whole))
        assert_equal_but_for_rounding(confidence, own.mean().exp(), terms, scale=1.0, dtype=torch.float32)
    assert len(tokens[0]) > 3, "padded behind its end"
