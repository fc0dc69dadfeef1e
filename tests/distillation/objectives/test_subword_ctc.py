import pytest
import torch

from tests.distillation.support import HEADS, audio, step_logs, tiny_rows, tiny_trainer
from transformers_aura.distillation.ctc import align_ctc, ctc_loss


STUDENT = {"subword_ctc_layer": HEADS["subword_ctc_layer"]}
ALONE = {"supervision": "transcript", "lm_weight": 0.0, "teacher": None, "student": STUDENT}
"""Settings with which CTC on tokens, and what goes with it, is all that is learnt."""


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_token_losses_equal_a_computation_by_hand(tmp_path, layer):
    settings = {**ALONE, "student": {"subword_ctc_layer": layer}}
    trainer = tiny_trainer(tmp_path, subword_ctc_weight=0.5, text_state_weight=2.0, **settings)
    rows = [row | {"audio": audio(2.0 + 0.1 * index)} for index, row in enumerate(tiny_rows(5))]
    rows.append({"audio": audio(0.5), "answer": "yes"})  # no transcript
    batch = trainer.data_collator(rows)
    trainer.forward_pass.eval().requires_grad_(False)
    loss = trainer.compute_loss(trainer.forward_pass, dict(batch))

    student, head = trainer.model, trainer.model.model.subword_ctc_head
    embeddings = student.get_input_embeddings().weight
    inputs = ("input_ids", "attention_mask", "input_features", "input_features_mask")
    states = student(**{name: batch[name] for name in inputs}, output_hidden_states=True).hidden_states
    ctc, distances, num_tokens = [], [], 0
    for row, length in enumerate(batch["transcript_token_lengths"].tolist()):
        if not length:
            continue
        positions = (batch["input_ids"][row] == student.config.audio_token_id).nonzero().flatten()
        state = head.norm(states[layer][row, positions])
        logits = torch.cat([head.blank(state), head.projection(state) @ embeddings.T], dim=-1)[None]
        tokens = batch["transcript_tokens"][row, :length]
        symbols = tokens[None] + 1
        lengths = torch.tensor([len(positions)]), torch.tensor([length])
        ctc.append(ctc_loss(logits, lengths[0], symbols, lengths[1]))
        at = align_ctc(logits, lengths[0], symbols, lengths[1])[0]
        assert (at >= 0).all()
        prefix = batch["input_ids"][row, : positions[0]]
        read = student(torch.cat([prefix, tokens])[None], output_hidden_states=True).hidden_states
        target = read[layer][0, len(prefix) :]
        prediction = states[layer][row, positions[at]]
        distances.append(((prediction - target).square().sum(-1) / target.square().sum(-1)).sum())
        num_tokens += length
    expected = (0.5 * sum(ctc) + 2.0 * sum(distances)) / num_tokens
    torch.testing.assert_close(loss, expected.squeeze(), rtol=1e-4, atol=1e-5)


def test_tokens_are_learnt_by_the_layers_below_alone(tmp_path):
    trainer = tiny_trainer(
        tmp_path, subword_ctc_weight=1.0, text_state_weight=0.5, max_steps=40, learning_rate=1e-2, **ALONE
    )
    for layer in trainer.model.model.language_model.layers[1:]:
        layer.register_forward_hook(
            lambda _, args, output: output if not torch.is_grad_enabled() else pytest.fail("ran")
        )
    trainer.train()
    losses = step_logs(trainer, "subword_ctc_loss", "text_state_loss")
    for term in (1, 2):
        assert losses[-1][term] < 0.7 * losses[0][term]
    assert trainer.evaluate(tiny_rows(5))["eval_subword_ctc_loss"] < losses[0][1]


@pytest.mark.parametrize(
    "weights", [{"subword_ctc_weight": 1.0}, {"subword_ctc_weight": 1.0, "text_state_weight": 1.0}]
)
def test_a_student_without_the_head_is_told_which_setting_makes_one(tmp_path, weights):
    with pytest.raises(ValueError, match=r"Set `subword_ctc_layer` .`model.subword_ctc_layer` of a recipe"):
        tiny_trainer(tmp_path, **weights)
