"""On-policy distillation: what the student answers itself, judged by the base LLM that reads the transcript."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distillation.support import (
    StopAfter,
    assert_same_weights,
    step_logs,
    tiny_rows,
    tiny_trainer,
    trained_weights,
)
from transformers_aura.distillation.examples import IGNORED_LABEL
from transformers_aura.distillation.objectives import OnPolicyObjective
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.processing.conversation import build_conversation


ON_POLICY = {
    "supervision": "transcript",
    "on_policy_weight": 1.0,
    "on_policy_max_new_tokens": 5,
    "random_gain_db": 0.0,
}
ALONE = {**ON_POLICY, "lm_weight": 0.0, "teacher": None}


def with_answers(trainer: AuraTrainer, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The batch of these rows, the student's own answers included."""
    batch = trainer.data_collator(rows)
    return batch | trainer._student_columns(batch, ["on_policy"], seed=[0])


def test_the_divergence_equals_the_hand_computed_number() -> None:
    teacher = torch.tensor([[math.log(0.5), math.log(0.5)]])
    student = torch.tensor([[math.log(0.25), math.log(0.75)]])
    forward = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    reverse = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    mixture = (0.4 * 0.5 + 0.6 * 0.25, 0.4 * 0.5 + 0.6 * 0.75)
    between = 0.4 * sum(0.5 * math.log(0.5 / m) for m in mixture)
    between += 0.6 * sum(p * math.log(p / m) for p, m in zip((0.25, 0.75), mixture, strict=True))
    for beta, expected in ((0.0, forward), (0.4, between), (1.0, reverse)):
        torch.testing.assert_close(OnPolicyObjective.divergences(student, teacher, beta), torch.tensor([expected]))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_loss_equals_one_computed_row_by_row(tmp_path: Path, beta: float) -> None:
    """Every row alone and without padding; transcription rows and one that is kept out do not take part."""
    trainer = tiny_trainer(tmp_path, on_policy_beta=beta, **ALONE)
    student, processor = trainer.model, trainer.processing_class
    rows = [*tiny_rows(6), {**tiny_rows(2)[1], "answer_kl": False}]
    batch = with_answers(trainer, rows)
    total, tokens = 0.0, 0
    answers_itself = [bool(row.get("answer") and row.get("answer_kl", True)) for row in rows]
    assert batch["answers_itself"].tolist() == answers_itself
    for number, row in enumerate(row for row, answers in zip(rows, answers_itself, strict=True) if answers):
        labels = batch["own_labels"][number]
        answer = labels[labels != IGNORED_LABEL]
        heard = build_conversation(audio=row["audio"], question=row.get("question"))
        read = build_conversation(question="\n".join(filter(None, (row["transcript"], row.get("question")))))
        inputs, gold = (
            processor.apply_chat_template(
                chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
            for chat in (heard, read)
        )
        own = torch.cat([inputs.pop("input_ids"), answer[None]], 1)
        del inputs["attention_mask"]
        predicted = slice(-len(answer) - 1, -1)
        student_logits = student(input_ids=own, **inputs).logits[0, predicted]
        teacher_logits = student(input_ids=torch.cat([gold["input_ids"], answer[None]], 1)).logits[0, predicted]
        total += OnPolicyObjective.divergences(student_logits, teacher_logits, beta).sum().item()
        tokens += len(answer)
    assert trainer.objectives["on_policy"].count(batch) == tokens
    loss, *_ = trainer.forward_pass(["on_policy"], batch)
    torch.testing.assert_close(loss.item(), total, rtol=1e-4, atol=1e-5)


def test_greedy_answers_are_those_of_generate_and_end_where_they_end(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, on_policy_temperature=0.0, **ALONE)
    row = tiny_rows(2)[1]
    inputs = trainer.processing_class.apply_chat_template(
        build_conversation(audio=row["audio"]),
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    settings = {"do_sample": False, "max_new_tokens": 5}
    said = trainer.model.eval().generate(**inputs, **settings)[0, inputs["input_ids"].shape[1] :].tolist()
    assert own_answers(with_answers(trainer, tiny_rows(6)))[0] == said
    trainer.model.generation_config.eos_token_id = [said[2], 1]
    first = said.index(said[2])
    assert own_answers(with_answers(trainer, tiny_rows(6)))[0] == said[: first + 1], "up to the token that ends it"


def own_answers(batch: dict[str, Any]) -> list[list[int]]:
    return [labels[labels != IGNORED_LABEL].tolist() for labels in batch["own_labels"]]


def test_it_teaches_lora_and_patch_embedding_and_a_student_gets_nearer_to_its_reading_self(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **{**ALONE, "max_steps": 30, "learning_rate": 1e-2, "on_policy_temperature": 0.0})
    before = trained_weights(trainer)
    trainer.train()
    after = trained_weights(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("lora_A" in name for name in moved)
    assert any("embed_audio" in name for name in moved)
    losses = [loss for loss, _ in step_logs(trainer, "on_policy_loss")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    log = trainer.state.log_history[0]
    assert 1 <= log["on_policy/answer_tokens"] <= 5
    assert log["on_policy/generation_seconds"] > 0


def test_accumulation_does_not_change_a_step(tmp_path: Path) -> None:
    runs = []
    for size, accumulated in ((8, 1), (2, 4)):
        trainer = tiny_trainer(
            tmp_path,
            str(size),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulated,
            on_policy_temperature=0.0,
            **{**ON_POLICY, "max_steps": 2},
        )
        trainer.train()
        runs.append(trainer)
    one, many = (step_logs(trainer, "on_policy_loss", "on_policy/answer_tokens") for trainer in runs)
    torch.testing.assert_close(torch.tensor(one), torch.tensor(many), rtol=1e-4, atol=1e-5)
    assert_same_weights(*map(trained_weights, runs), rtol=1e-3, atol=1e-5)


def test_a_resumed_run_says_the_same_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    settings = {**ON_POLICY, "save_strategy": "steps", "save_steps": 2, "max_steps": 4, "on_policy_fraction": 0.6}
    whole = tiny_trainer(tmp_path, "whole", **settings)
    whole.train()
    tiny_trainer(tmp_path, "cut", callbacks=[StopAfter(2)], **settings).train()
    torch.manual_seed(99)
    resumed = tiny_trainer(tmp_path, "cut", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert_same_weights(trained_weights(whole), trained_weights(resumed))
    taken = ["on_policy_loss" in entry for entry in whole.state.log_history if "loss" in entry]
    assert set(taken) == {True, False}, "a share of the steps has the term"


def test_batches_without_anything_to_answer_and_evaluations(tmp_path: Path) -> None:
    transcriptions = [row for row in tiny_rows(8) if "answer" not in row]
    trainer = tiny_trainer(
        tmp_path, train_dataset=transcriptions, eval_dataset=tiny_rows(7), **{**ALONE, "max_steps": 1}
    )
    trainer.train()
    assert "on_policy_loss" not in trainer.state.log_history[0]
    alone, together = (evaluated(trainer, size) for size in (1, 4))
    assert alone == pytest.approx(together, rel=1e-4), "greedy, so batches do not matter"


def evaluated(trainer: AuraTrainer, batch_size: int) -> float:
    trainer.args.per_device_eval_batch_size = batch_size
    return trainer.evaluate()["eval_on_policy_loss"]
