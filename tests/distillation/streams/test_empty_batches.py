import torch

from tests.distillation.support import HEAD_WEIGHTS, HEADS, tiny_trainer


def test_an_empty_batch_counts_nothing_and_gives_every_weight_a_gradient_of_zero(tmp_path):
    """What a process goes along with that has come to the end of its part of a stream."""
    trainer = tiny_trainer(
        tmp_path, student=HEADS, answer_kl_weight=0.5, on_policy_weight=0.5, on_policy_max_new_tokens=2, **HEAD_WEIGHTS
    )
    names = list(trainer.objectives)
    assert len(names) == 8
    batch = trainer.data_collator([])
    batch |= trainer._student_columns(batch, names, [0, 0, 0, 0])
    assert not trainer.forward_pass.counts(batch).any()
    sums = trainer._sums(trainer.forward_pass, batch, names)
    assert not sums.any()
    sums.sum().backward()
    for name, parameter in trainer.forward_pass.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name
