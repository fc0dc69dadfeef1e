import torch

from tests.support.tiny_models import tiny_language_model
from transformers_aura.modeling.fingerprint import fingerprint, fingerprints_match


def test_tells_models_apart_but_not_dtypes():
    model = tiny_language_model("llama").model
    own = fingerprint(model)
    assert fingerprints_match(own, fingerprint(tiny_language_model("llama").model))
    assert not fingerprints_match(own, fingerprint(tiny_language_model("llama", seed=1).model))
    assert not fingerprints_match(own, fingerprint(tiny_language_model("llama", num_hidden_layers=2).model))
    for dtype in (torch.bfloat16, torch.float16):
        assert fingerprints_match(own, fingerprint(tiny_language_model("llama").to(dtype).model))


def test_weights_that_are_not_in_memory_match_anything_and_the_others_still_count():
    model, other = tiny_language_model("llama").model, tiny_language_model("llama", seed=1).model
    own = fingerprint(model)
    for llm in (model, other):
        llm.layers[0].to("meta")
    assert fingerprints_match(own, fingerprint(model))
    assert not fingerprints_match(own, fingerprint(other))
