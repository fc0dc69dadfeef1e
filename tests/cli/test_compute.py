import inspect
import os

import pytest
import torch
import typer
from transformers.integrations import sdpa_attention

from tests.support.tiny import tone
from tests.support.tiny_models import tiny_student
from transformers_aura import AuraProcessor, build_conversation
from transformers_aura.cli.compute import GROUPED_ATTENTION, best_device, prepare_device


def test_attention_takes_the_faster_way_on_cpus_only(monkeypatch):
    monkeypatch.delenv(GROUPED_ATTENTION)
    prepare_device("meta")
    assert GROUPED_ATTENTION not in os.environ
    prepare_device("cpu")
    assert os.environ.pop(GROUPED_ATTENTION) == "1"
    if best_device() == "cpu":
        prepare_device(None)
        assert os.environ[GROUPED_ATTENTION] == "1"
    monkeypatch.setenv(GROUPED_ATTENTION, "0")
    prepare_device("cpu")
    assert os.environ[GROUPED_ATTENTION] == "0"  # whoever sets it decides


@pytest.mark.skipif(
    GROUPED_ATTENTION not in inspect.getsource(sdpa_attention), reason="this release of transformers does not heed it"
)
@torch.no_grad()
def test_that_way_changes_nothing_but_copies(tmp_path, monkeypatch):
    """Of keys and values, in this release of transformers."""
    student = tiny_student(tmp_path / "base")
    processor = AuraProcessor.from_language_model_pretrained(tmp_path / "base")
    inputs = processor.apply_chat_template(
        build_conversation({"array": tone(2.0), "sampling_rate": 16_000}),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    grouped = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def counted(*args, **kwargs):
        grouped.append(bool(kwargs.get("enable_gqa")))
        return attention(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    logits = {}
    for value in ("0", "1"):
        monkeypatch.setenv(GROUPED_ATTENTION, value)
        logits[value] = student(**inputs).logits
    assert grouped == [False] * 3 + [True] * 3
    assert torch.allclose(logits["0"], logits["1"], atol=1e-4)


@pytest.mark.fault("requests")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(typer.BadParameter, match=r"'cuda:77' cannot be used here"):
        prepare_device("cuda:77")
