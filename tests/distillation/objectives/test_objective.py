"""A new term is one class and its weight: nothing else has to know it."""

import pytest
import torch

from tests.distillation.support import audio, step_logs, tiny_rows, tiny_trainer
from transformers_aura.distillation.examples import ExampleBatch
from transformers_aura.distillation.objectives import LanguageModelingObjective, Objective, default_objectives
from transformers_aura.distillation.training_args import AuraTrainingArguments


def transcript_words(batch: ExampleBatch) -> dict[str, torch.Tensor]:
    """A column that no other objective has: words of each transcript."""
    words = [len((example.transcript or "").split()) for example in batch.examples]
    return {"transcript_words": torch.tensor(words)}


class WordsPerClip(Objective):
    """The mean of the first layer's states says how many words there are: squared error for each clip."""

    name = "words"
    columns = (transcript_words,)
    depths = (1,)
    metrics = ("words_spoken",)

    def count(self, batch):
        return batch["transcript_words"].ne(0).sum()

    def loss(self, outputs):
        states = outputs.audio_states(1)
        real = torch.arange(states.shape[1]) < outputs.num_audio_tokens[:, None]
        means = (states.mean(-1) * real).sum(-1) / outputs.num_audio_tokens.clamp(min=1)
        words = outputs.batch["transcript_words"]
        return ((means - words).square() * (words > 0)).sum()

    def metric_sums(self, outputs):
        return [outputs.batch["transcript_words"].sum().float()]


def rows():
    return [*tiny_rows(7), {"audio": audio(0.5), "answer": "no transcript"}]


@pytest.fixture
def only_words(tmp_path):
    def trainer(output, **settings):
        objectives = {"words": WordsPerClip(0.5)}
        return tiny_trainer(
            tmp_path,
            output,
            teacher=None,
            objectives=objectives,
            train_dataset=rows(),
            **{"random_gain_db": 0.0} | settings,
        )

    return trainer


def test_it_is_trained_logged_and_evaluated(only_words):
    trainer = only_words("run", max_steps=60, learning_rate=2e-2, per_device_train_batch_size=8, eval_dataset=rows())
    for layer in trainer.model.model.language_model.layers[1:]:
        layer.register_forward_hook(lambda *_: pytest.fail("a layer ran that it does not read"))
    before = trainer.evaluate()
    trainer.train()
    logs = step_logs(trainer, "words_loss", "words_spoken")
    for loss, words_loss, words_spoken in logs:
        assert loss == pytest.approx(0.5 * words_loss, rel=1e-4)
        assert words_spoken == pytest.approx((1 + 2 + 3 + 1 + 2 + 3 + 1) / 7)
    assert logs[-1][1] < 0.5 * logs[0][1]
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(0.5 * metrics["eval_words_loss"])
    assert metrics["eval_words_loss"] < 0.5 * before["eval_words_loss"]
    assert trainer.loss_weights == {"words_loss": 0.5}


def test_it_is_counted_over_micro_batches(only_words):
    settings = {"max_steps": 3, "seed": 1}
    whole = only_words("whole", per_device_train_batch_size=8, **settings)
    whole.train()
    split = only_words("split", per_device_train_batch_size=1, gradient_accumulation_steps=8, **settings)
    split.train()
    expected = torch.tensor(step_logs(whole, "words_loss", "words_spoken"))
    torch.testing.assert_close(
        torch.tensor(step_logs(split, "words_loss", "words_spoken")), expected, rtol=2e-4, atol=2e-4
    )


def test_it_stands_beside_the_others_and_under_any_name(tmp_path):
    args = AuraTrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    objectives = {**default_objectives(args), "how_many": WordsPerClip(2.0)}
    trainer = tiny_trainer(tmp_path, objectives=objectives, max_steps=1)
    trainer.train()
    (logged,) = (entry for entry in trainer.state.log_history if "loss" in entry)
    terms = [logged[name] for name in ("cosine_loss", "mse_loss", "lm_loss", "how_many_loss")]
    assert logged["loss"] == pytest.approx(sum(terms[:3]) + 2 * terms[3], rel=1e-4)


def test_a_weight_of_zero_measures_without_learning(tmp_path):
    objectives = {"lm": LanguageModelingObjective(1.0), "words": WordsPerClip(0.0)}
    trainer = tiny_trainer(tmp_path, teacher=None, objectives=objectives, max_steps=1)
    trainer.train()
    logged = trainer.state.log_history[0]
    assert logged["words_loss"] > 0
    assert logged["loss"] == pytest.approx(logged["lm_loss"], rel=1e-5)
    with pytest.raises(ValueError, match="weight of `words` must be at least 0, got -1"):
        WordsPerClip(-1)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["cosine", "mse", "lm"]),
        ({"supervision": "transcript", "answer_kl_weight": 1.0}, ["lm", "answer_kl"]),
        ({"supervision": "transcript", "lm_weight": 0, "on_policy_weight": 1.0}, ["on_policy"]),
        ({"supervision": "distillation", "answer_kl_weight": 1.0, "character_ctc_weight": 1.0}, ["cosine", "mse"]),
        (
            {"mse_weight": 0.0, "lm_weight": 0.0, "subword_ctc_weight": 1.0, "text_state_weight": 1.0},
            ["cosine", "subword_ctc", "text_state"],
        ),
    ],
)
def test_the_arguments_say_what_is_learnt(tmp_path, settings, names):
    args = AuraTrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **settings)
    assert list(default_objectives(args)) == names


@pytest.mark.parametrize(
    "settings",
    [
        {"supervision": "transcript", "lm_weight": 0},
        {"supervision": "distillation", "cosine_weight": 0, "mse_weight": 0},
    ],
)
def test_nothing_to_learn_is_an_error(tmp_path, settings):
    args = AuraTrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **settings)
    with pytest.raises(ValueError, match="Nothing is left to learn"):
        default_objectives(args)
