"""One pass serves all objectives: as deep and as long as they need, whatever is padded and however the rows are split."""

import pytest
import torch

from tests.distillation.support import (
    HEAD_WEIGHTS,
    HEADS,
    tiny_rows,
    tiny_trainer,
    tiny_trainer_of,
)
from tests.support.tiny_models import FAMILIES
from tests.support.tolerance import assert_equal_but_for_rounding, assert_same_gradients, num_terms
from transformers_aura.distillation import forward_pass


def test_padding_never_enters_and_a_batch_is_the_sum_of_its_rows(tmp_path):
    trainer = tiny_trainer(tmp_path, student=HEADS, answer_kl_weight=1.0, random_gain_db=0, **HEAD_WEIGHTS)
    trainer._ensure_statistics()
    trainer.forward_pass.eval()
    names = list(trainer.objectives)
    rows = tiny_rows(5)
    with torch.no_grad():
        together = trainer._sums(trainer.forward_pass, trainer.data_collator(rows), names)
        apart = sum(trainer._sums(trainer.forward_pass, trainer.data_collator([row]), names) for row in rows)
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


def test_distillation_only_runs_the_lower_layers_up_to_the_audio(tmp_path):
    trainer = tiny_trainer(tmp_path, layer_mapping=[[0, 1]])
    trainer._ensure_statistics()
    trainer.model.eval()
    batch = trainer.data_collator(tiny_rows(4))
    seen = []
    for index, layer in enumerate(trainer.model.model.language_model.layers):
        layer.register_forward_hook(lambda module, args, output, index=index: seen.append((index, args[0].shape[1])))
    with torch.no_grad():
        cheap = trainer._sums(trainer.forward_pass, batch, ["cosine", "mse"])
        assert seen == [
            (0, 1 + int((batch["input_ids"] == trainer.model.config.audio_token_id).nonzero()[:, 1].max()))
        ]
        whole = trainer._sums(trainer.forward_pass, batch, ["cosine", "mse", "lm"])
    torch.testing.assert_close(cheap[:2], whole[:2], rtol=1e-5, atol=1e-6)
    assert cheap[2] == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scope", ["rows", "audio", "always"])
def test_a_prompt_that_all_rows_share_runs_once_and_changes_nothing(tmp_path, monkeypatch, family, scope):
    student = {"lora_scope": scope, **HEADS}
    trainer = tiny_trainer_of(tmp_path, family, student=student, answer_kl_weight=0.5, **HEAD_WEIGHTS)
    trainer._ensure_statistics()
    torch.manual_seed(0)
    for name, parameter in trainer.model.named_parameters():
        if ".lora_B." in name:  # of a new student it is 0, and LoRA does nothing
            torch.nn.init.normal_(parameter, std=0.1)
    trainer.forward_pass.eval()
    batch = trainer.data_collator(tiny_rows(5))
    lengths = []
    layer = trainer.model.model.language_model.layers[0]
    layer.register_forward_hook(lambda module, args, output: lengths.append(tuple(args[0].shape[:2])))

    def losses_and_gradients(share):
        monkeypatch.setattr(forward_pass, "FEWEST_SHARED_TOKENS", 1 if share else 10_000)
        trainer.forward_pass.zero_grad()
        lengths.clear()
        loss = trainer.compute_loss(trainer.forward_pass, dict(batch))
        loss.backward()
        return loss, {
            name: p.grad.clone() for name, p in trainer.forward_pass.named_parameters() if p.grad is not None
        }

    expected, expected_gradients = losses_and_gradients(share=False)
    assert lengths[0] == tuple(batch["input_ids"].shape)
    loss, gradients = losses_and_gradients(share=True)
    assert lengths[0][0] == 1
    assert lengths[0][1] + lengths[1][1] == batch["input_ids"].shape[1]
    terms = num_terms(trainer.forward_pass, batch["input_ids"].shape[1])
    assert_equal_but_for_rounding(loss, expected, terms)
    assert_same_gradients(gradients, expected_gradients, terms)


def test_rows_that_begin_otherwise_or_hold_no_audio_share_no_prompt(tmp_path, monkeypatch):
    monkeypatch.setattr(forward_pass, "FEWEST_SHARED_TOKENS", 2)
    trainer = tiny_trainer(tmp_path)
    batch = trainer.data_collator(tiny_rows(3))
    is_audio = batch["input_ids"] == trainer.model.config.audio_token_id
    shared = trainer.forward_pass._num_shared_tokens
    num_shared = shared(batch["input_ids"], batch["attention_mask"], is_audio)
    assert num_shared == int(is_audio.nonzero()[:, 1].min())
    other = batch["input_ids"].clone()
    other[1, 2] += 1
    assert shared(other, batch["attention_mask"], is_audio) == 2
    other[1, 1] += 1
    assert shared(other, batch["attention_mask"], is_audio) == 0, "too few to be worth it"
    left_padded = batch["attention_mask"].clone()
    left_padded[2, 0] = 0
    assert shared(batch["input_ids"], left_padded, is_audio) == 0
    without_audio = is_audio.clone()
    without_audio[0] = False
    assert shared(batch["input_ids"], batch["attention_mask"], without_audio) == 0
    assert shared(batch["input_ids"][:1], batch["attention_mask"][:1], is_audio[:1]) == 0


def test_padding_to_few_shapes_changes_no_loss(tmp_path):
    settings = {"student": HEADS, "random_gain_db": 0.0, "answer_kl_weight": 0.5, **HEAD_WEIGHTS}
    plain = tiny_trainer(tmp_path, **settings)
    padded = tiny_trainer(tmp_path, pad_to_multiple_of=16, **settings)
    padded.forward_pass.load_state_dict(plain.forward_pass.state_dict())
    sums = []
    for trainer in (plain, padded):
        trainer._ensure_statistics()
        trainer.forward_pass.eval().requires_grad_(False)
        batch = trainer.data_collator(tiny_rows(5))
        sums.append(trainer.compute_loss(trainer.forward_pass, batch, return_outputs=True)[1].sums)
    assert batch["input_ids"].shape[1] % 16 == 0
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-4, atol=1e-4)


def test_a_batch_without_any_audio_or_row_keeps_every_gradient(tmp_path):
    text = {"audio": None, "question": "Who?", "answer": "I."}
    for scope in ("rows", "always"):
        trainer = tiny_trainer(
            tmp_path, scope, student={"lora_scope": scope, **HEADS}, answer_kl_weight=0.5, **HEAD_WEIGHTS
        )
        trainer._ensure_statistics()
        loss = trainer.compute_loss(trainer.forward_pass, trainer.data_collator([text]))
        loss.backward()
        for name, parameter in trainer.forward_pass.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
        if scope == "rows":
            assert loss.item() == 0
