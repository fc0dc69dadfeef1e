import numpy as np
import pytest
import torch

from tests.distillation.support import tiny_rows, tiny_teacher, tiny_trainer
from transformers_aura.distillation.layer_similarity import centred_kernel_alignment, layer_similarity


def unbiased_cka_by_definition(x, y):
    """Song et al., 2012, equation 5, written out."""
    x = (x - x.mean(0)) / x.std(0)
    y = (y - y.mean(0)) / y.std(0)

    def hsic(a, b):
        n = len(a)
        k, m = a @ a.T, b @ b.T
        k.fill_diagonal_(0)
        m.fill_diagonal_(0)
        one = torch.ones(n, dtype=a.dtype)
        return (
            torch.trace(k @ m)
            + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ m @ one)
        ) / (n * (n - 3))

    return hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()


def test_alignment_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(2, 30, 5, generator=generator)
    second = torch.randn(3, 30, 7, generator=generator)
    second[1, :, :5] = first[0] * torch.tensor([1.0, 100.0, 2.0, 3.0, 0.1])
    values = centred_kernel_alignment(first, second)
    for i in range(2):
        for j in range(3):
            expected = unbiased_cka_by_definition(first[i].double(), second[j].double())
            assert float(values[i, j]) == pytest.approx(float(expected), abs=1e-4)
    assert values[0, 1] > 0.5


def test_same_states_are_1_and_unrelated_wide_ones_0():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1, 200, 500, generator=generator)
    assert float(centred_kernel_alignment(states, states)) == pytest.approx(1.0, abs=1e-5)
    # Wider than there are items: the plain estimator would give about 0.7 here.
    other = torch.randn(1, 200, 500, generator=generator)
    assert abs(float(centred_kernel_alignment(states, other))) < 0.05
    # Neither scale, shift nor rotation of the whole matters.
    rotation = torch.linalg.qr(torch.randn(500, 500, generator=generator)).Q
    assert float(centred_kernel_alignment(states, 3 * states @ rotation + 1)) > 0.97


def test_map_of_a_student(tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=30, learning_rate=5e-3, per_device_train_batch_size=8)
    trainer._ensure_statistics()
    rows = [*tiny_rows(5), {"audio": None, "question": "a", "answer": "b"}]
    teacher = tiny_teacher()
    before = layer_similarity(trainer.model, teacher, rows, trainer.eval_collator, trainer.heads, batch_size=2)
    assert before.cka.shape == (1 + 3, 3)
    assert before.num_clips == 5
    assert np.isfinite(before.cka).all()
    assert before.cka.max() <= 1 + 1e-5
    trainer.train()
    after = layer_similarity(trainer.model, teacher, rows, trainer.eval_collator, trainer.heads)
    assert trainer.model.training, "the mode is left as it was"
    assert after.pair_cosines.keys() == {(0, 0), (1, 2)}
    assert after.mean_pair_cosine > before.mean_pair_cosine + 0.1
    assert after.mean_pair_cosine == pytest.approx(trainer.evaluate(rows[:5])["eval_cosine"], abs=1e-4)
    few = layer_similarity(trainer.model, teacher, rows, trainer.eval_collator, max_audio_tokens=10)
    assert few.num_audio_tokens == 10
    assert np.isnan(few.mean_pair_cosine)


def test_too_little_audio_is_an_error(tmp_path):
    trainer = tiny_trainer(tmp_path)
    with pytest.raises(ValueError, match="at least 4 audio tokens"):
        layer_similarity(trainer.model, tiny_teacher(), [], trainer.eval_collator)
