import datasets
import pytest
import torch

from tests.distillation.support import (
    HEAD_WEIGHTS,
    HEADS,
    StopAfter,
    assert_same_weights,
    audio,
    step_logs,
    tiny_rows,
    tiny_teacher,
    tiny_trainer,
    tiny_trainer_of,
    trained_weights,
)
from tests.support.tiny_models import FAMILIES
from transformers_aura.distillation.alignment import pool_teacher_states


COMPONENTS = ("cosine_loss", "mse_loss", "lm_loss", "answer_kl_loss")


# ---- the loss ----


def test_loss_equals_a_computation_by_hand(tmp_path):
    trainer = tiny_trainer(tmp_path, answer_kl_weight=0.5, mse_weight=0.3, lm_weight=0.7)
    trainer._ensure_statistics()
    student, heads = trainer.model, trainer.heads
    rows = tiny_rows(5)
    batch = trainer.data_collator(rows)
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.forward_pass, dict(batch))

    with torch.no_grad():
        outputs = student(
            **{name: batch[name] for name in ("input_ids", "attention_mask", "input_features", "input_features_mask")},
            output_hidden_states=True,
        )
        base = student.model.language_model(batch["gold_input_ids"], attention_mask=batch["gold_attention_mask"])
        gold_logits = student.lm_head(base.last_hidden_state)
        states = trainer.targets.teacher(batch["waveforms"])
    assert heads.pairs == [(0, 0), (1, 2)]
    cosines, errors = [], []
    clip = -1
    for row in range(len(rows)):
        positions = (batch["input_ids"][row] == student.config.audio_token_id).nonzero().flatten()
        clip += 1
        for pair, (student_layer, teacher_layer) in enumerate(heads.pairs):
            frames = batch["input_features_mask"][clip].sum().view(1)
            target, _ = pool_teacher_states(states.hidden_states[teacher_layer][clip : clip + 1], frames, 8)
            target = (target[0] - heads.target_mean[pair]) / heads.target_std[pair]
            prediction = heads.heads[pair](outputs.hidden_states[student_layer + 1][row, positions])
            assert prediction.shape == target.shape
            for p, t in zip(prediction, target, strict=True):
                cosines.append(1 - p @ t / (p.norm() * t.norm()))
                errors.append(((p - t) ** 2).mean())
    cross_entropies, divergences = [], []
    gold_row = -1
    for row in range(len(rows)):
        has_gold = "answer" in rows[row]
        gold_row += has_gold
        answer = (batch["labels"][row] != -100).nonzero().flatten()
        for index, position in enumerate(answer):
            log_p = outputs.logits[row, position - 1].log_softmax(-1)
            cross_entropies.append(-log_p[batch["labels"][row, position]])
            if has_gold:
                gold_position = (batch["gold_labels"][gold_row] != -100).nonzero().flatten()[index]
                log_p = outputs.logits[row, position - 1].log_softmax(-1)
                log_q = gold_logits[gold_row, gold_position - 1].log_softmax(-1)
                divergences.append((log_q.exp() * (log_q - log_p)).sum())
    means = [torch.stack(values).mean() for values in (cosines, errors, cross_entropies, divergences)]
    expected = means[0] + 0.3 * means[1] + 0.7 * means[2] + 0.5 * means[3]
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_language_modeling_term_equals_the_models_own_loss(tmp_path, family):
    trainer = tiny_trainer_of(tmp_path, family, supervision="transcript", teacher=None)
    batch = trainer.data_collator(tiny_rows(4))
    trainer.model.eval()
    with torch.no_grad():
        own = trainer.model(**batch).loss
        ours = trainer.compute_loss(trainer.forward_pass, dict(batch))
    torch.testing.assert_close(ours, own, rtol=1e-5, atol=1e-5)


# ---- trajectories ----


def test_gradient_accumulation_does_not_change_the_trajectory(tmp_path):
    # In evaluation mode CTC on tokens draws no candidates: those drawn depend on the micro-batch.
    settings = {
        "student": {"character_ctc_alphabet": HEADS["character_ctc_alphabet"]},
        "answer_kl_weight": 0.5,
        "character_ctc_weight": 0.5,
        "max_steps": 3,
        "seed": 1,
    }
    whole = tiny_trainer(tmp_path, "whole", per_device_train_batch_size=8, **settings)
    whole.train()
    split = tiny_trainer(tmp_path, "split", per_device_train_batch_size=1, gradient_accumulation_steps=8, **settings)
    split.train()
    torch.testing.assert_close(
        torch.tensor(step_logs(split, *COMPONENTS, "cosine")),
        torch.tensor(step_logs(whole, *COMPONENTS, "cosine")),
        rtol=2e-4,
        atol=2e-4,
    )
    assert_same_weights(trained_weights(split), trained_weights(whole), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("weight", "setting", "column"),
    [
        ("character_ctc_weight", "character_ctc_alphabet", "TranscriptSymbols"),
        ("subword_ctc_weight", "subword_ctc_layer", "transcript_tokens"),
    ],
)
def test_a_collator_that_leaves_out_what_an_objective_needs_is_refused(tmp_path, weight, setting, column):
    own = tiny_trainer(tmp_path).data_collator
    with pytest.raises(ValueError, match=f"columns that the data collator does not make.*{column}"):
        tiny_trainer(tmp_path, student={setting: HEADS[setting]}, data_collator=own, **{weight: 0.5})


def test_workers_do_not_change_the_trajectory(tmp_path):
    settings = {"max_steps": 4, "per_device_train_batch_size": 4}
    alone = tiny_trainer(tmp_path, "alone", **settings)
    alone.train()
    helped = tiny_trainer(tmp_path, "helped", dataloader_num_workers=1, dataloader_persistent_workers=True, **settings)
    helped.train()
    assert step_logs(alone) == step_logs(helped)


def shuffled_stream():
    rows = [{"audio": audio(0.3 + 0.1 * index, 200 + 40 * index), "transcript": f"hear {index}"} for index in range(6)]
    listed = [{**row, "audio": {**row["audio"], "array": row["audio"]["array"].tolist()}} for row in rows]
    return datasets.IterableDataset.from_generator(lambda: iter(listed)).shuffle(seed=1, buffer_size=6)


def stream_run(folder, name, resume=None, **settings):
    """A run over passes of three steps; and what it read, a word for each pass."""
    trainer = tiny_trainer(
        folder,
        name,
        train_dataset=shuffled_stream(),
        per_device_train_batch_size=2,
        supervision="transcript",
        teacher=None,
        random_gain_db=0,
        **settings,
    )
    read, load_waveform = [], trainer.data_collator.load_waveform
    trainer.data_collator.load_waveform = lambda row: (read.append(row["transcript"][-1]), load_waveform(row))[1]
    trainer.train(resume_from_checkpoint=resume)
    return trainer, ["".join(read[start : start + 6]) for start in range(0, len(read), 6)]


@pytest.mark.parametrize("stop", [3, 5])
def test_a_shuffled_stream_has_another_order_in_each_pass_and_resumes_in_it(tmp_path, stop):
    settings = {"max_steps": 9, "save_strategy": "steps", "save_steps": stop}
    whole, passes = stream_run(tmp_path, "whole", **settings)
    assert len(set(passes)) == 3
    assert all(sorted(word) == sorted("012345") for word in passes)
    stream_run(tmp_path, "stopped", callbacks=[StopAfter(stop)], **settings)
    resumed, read = stream_run(tmp_path, "stopped", resume=True, **settings)
    assert read == passes[(stop - 1) // 3 :], "from the beginning of its pass on, of which what was seen is left out"
    assert step_logs(resumed) == step_logs(whole)
    assert_same_weights(trained_weights(resumed), trained_weights(whole))


def test_the_end_of_a_stream_is_not_added_to_the_next_step(tmp_path):
    # Two micro-batches a step, three in a pass: stock transformers adds the gradients of the third to those of the next step.
    trainer, passes = stream_run(tmp_path, "short", gradient_accumulation_steps=2, max_steps=2)
    first_rows = [word[:4] for word in passes]
    rows = [
        {"audio": audio(0.3 + 0.1 * int(i), 200 + 40 * int(i)), "transcript": f"hear {i}"} for i in "".join(first_rows)
    ]
    by_hand = tiny_trainer(
        tmp_path, "by_hand", train_dataset=rows, per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=2,
        supervision="transcript", teacher=None, train_sampling_strategy="sequential", random_gain_db=0,
    )  # fmt: skip
    by_hand.train()
    assert [entry["grad_norm"] for entry in by_hand.state.log_history[:2]] == pytest.approx(
        [entry["grad_norm"] for entry in trainer.state.log_history[:2]], rel=1e-4
    )
    with pytest.raises(ValueError, match=r"No step was taken.* fewer than the 4 batches of a step"):
        stream_run(tmp_path, "none", gradient_accumulation_steps=4, max_steps=2)


def test_a_finished_run_takes_no_further_step(tmp_path):
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 3, "per_device_train_batch_size": 2}
    tiny_trainer(tmp_path, **settings).train()
    again = tiny_trainer(tmp_path, **settings)
    assert again.train(resume_from_checkpoint=True).global_step == 3


# ---- what is learnt ----


def test_everything_trainable_learns_and_nothing_else(tmp_path):
    trainer = tiny_trainer(tmp_path, student=HEADS, max_steps=2, **HEAD_WEIGHTS)
    before = {name: p.detach().clone() for name, p in trainer.forward_pass.named_parameters()}
    trainer.train()
    for name, parameter in trainer.forward_pass.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad, name


def test_losses_fall_and_the_cosine_rises(tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=40, per_device_train_batch_size=8, learning_rate=5e-3, random_gain_db=0)
    trainer.train()
    logs = step_logs(trainer, "cosine", "lm_loss")
    assert logs[-1][0] < logs[0][0]
    assert logs[-1][1] > logs[0][1] + 0.2
    assert logs[-1][2] < 0.7 * logs[0][2]


@pytest.mark.parametrize("scope", ["rows", "audio", "always"])
def test_supervisions_and_scopes(tmp_path, scope):
    text = {"audio": None, "question": "Who?", "answer": "I."}
    for supervision in ("transcript", "distillation", "both"):
        trainer = tiny_trainer(
            tmp_path,
            supervision,
            student={"lora_scope": scope},
            supervision=supervision,
            train_dataset=[*tiny_rows(4), text],
            teacher=None if supervision == "transcript" else tiny_teacher(),
            max_steps=2,
        )
        trainer.train()
        assert len(trainer.train_dataset) == (5 if scope == "always" else 4)
        logged = trainer.state.log_history[0]
        assert ("lm_loss" in logged) == (supervision != "distillation")
        assert ("cosine" in logged) == (supervision != "transcript")


def test_speech_without_text_is_enough_for_distillation(tmp_path):
    rows = [{"audio": audio(0.5, 100 * (i + 1))} for i in range(4)]
    trainer = tiny_trainer(tmp_path, supervision="distillation", train_dataset=rows, max_steps=1)
    trainer.train()
    assert "cosine" in trainer.state.log_history[0]


@pytest.mark.parametrize("warmup", [2, 0.5])  # a number of steps; a share of the three, rounded up
def test_warmup_steps_are_distillation_only(tmp_path, warmup):
    trainer = tiny_trainer(tmp_path, distillation_warmup_steps=warmup, max_steps=3)
    trainer.train()
    assert ["lm_loss" in entry for entry in trainer.state.log_history[:3]] == [False, False, True]


def test_learning_rates_of_their_own(tmp_path):
    trainer = tiny_trainer(tmp_path, audio_embedding_learning_rate=0.0, heads_learning_rate=3e-3, max_steps=1)
    embedding = trainer.model.model.embed_audio.proj.weight.clone()
    head = trainer.heads.heads[0][1].weight.clone()
    trainer.train()
    assert torch.equal(trainer.model.model.embed_audio.proj.weight, embedding)
    # Adam's first step is the learning rate in every element.
    step = (trainer.heads.heads[0][1].weight - head).abs().detach()
    assert float(step.median()) == pytest.approx(3e-3, rel=1e-2)


def test_gradient_checkpointing_changes_nothing(tmp_path):
    settings = {"max_steps": 2, "answer_kl_weight": 0.5}
    plain = tiny_trainer(tmp_path, "plain", **settings)
    plain.train()
    saving = tiny_trainer(tmp_path, "saving", gradient_checkpointing=True, **settings)
    saving.train()
    torch.testing.assert_close(torch.tensor(step_logs(saving)), torch.tensor(step_logs(plain)), rtol=1e-4, atol=1e-4)


# ---- the teacher's states ----


def test_the_cache_changes_nothing_and_is_read(tmp_path, monkeypatch):
    settings = {"teacher_cache_dir": str(tmp_path / "cache"), "max_steps": 3}
    cold = tiny_trainer(tmp_path, "cold", **settings)
    cold.train()
    warm = tiny_trainer(tmp_path, "warm", **settings)
    monkeypatch.setattr(warm.targets.teacher, "_encode", None)
    warm.train()
    assert step_logs(warm, "cosine") == step_logs(cold, "cosine")
    none = tiny_trainer(tmp_path, "none", max_steps=3)
    none.train()
    torch.testing.assert_close(torch.tensor(step_logs(none)), torch.tensor(step_logs(cold)), rtol=1e-2, atol=1e-2)


def test_long_clips_are_distilled_whole(tmp_path):
    # The tiny teacher's window is 2 s.
    rows = [{"audio": audio(5.3), "transcript": "long"}, {"audio": audio(0.4), "transcript": "short"}]
    trainer = tiny_trainer(tmp_path, train_dataset=rows, per_device_train_batch_size=2, max_steps=1)
    trainer.train()
    assert trainer.targets([row["audio"]["array"] for row in rows]).shape[1] == 67 + 5


# ---- evaluation and logs ----


def test_evaluation_reports_the_same_terms_whatever_the_batch_size(tmp_path):
    trainer = tiny_trainer(tmp_path, eval_dataset=tiny_rows(7), answer_kl_weight=0.5)
    metrics = trainer.evaluate()
    assert {f"eval_{name}" for name in (*COMPONENTS, "loss", "cosine")} <= metrics.keys()
    assert metrics["eval_cosine/student_1_teacher_2"] == pytest.approx(
        2 * metrics["eval_cosine"] - metrics["eval_cosine/student_0_teacher_0"], abs=1e-6
    )
    trainer.args.per_device_eval_batch_size = 2
    again = trainer.evaluate()
    for name in COMPONENTS:
        assert again[f"eval_{name}"] == pytest.approx(metrics[f"eval_{name}"], rel=1e-4)
    weights = trainer.loss_weights
    assert metrics["eval_loss"] == pytest.approx(sum(weights[name] * metrics[f"eval_{name}"] for name in COMPONENTS))
    several = trainer.evaluate({"a": tiny_rows(2), "b": tiny_rows(3)})
    assert {"eval_a_cosine", "eval_b_cosine"} <= several.keys()


def test_mixed_precision_does_not_reach_the_teacher(tmp_path):
    whole = tiny_trainer(tmp_path, "whole", eval_dataset=tiny_rows(3)).evaluate()
    mixed = tiny_trainer(tmp_path, "mixed", eval_dataset=tiny_rows(3), bf16=True).evaluate()
    assert mixed["eval_cosine"] == pytest.approx(whole["eval_cosine"], abs=0.02)
    trainer = tiny_trainer(tmp_path)
    waveforms = trainer.data_collator(tiny_rows(3))["waveforms"]
    alone = trainer.targets(waveforms)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(trainer.targets(waveforms), alone)


def test_logged_terms_add_up_to_the_loss(tmp_path):
    trainer = tiny_trainer(
        tmp_path, max_steps=4, logging_steps=2, answer_kl_weight=0.5, gradient_accumulation_steps=2, mse_weight=0.1
    )
    trainer.train()
    for entry in trainer.state.log_history[:2]:
        total = sum(trainer.loss_weights[name] * entry[name] for name in COMPONENTS)
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
        assert entry["cosine"] == pytest.approx(1 - entry["cosine_loss"], abs=1e-6)


# ---- errors ----


def test_errors_for_people(tmp_path):
    with pytest.raises(ValueError, match="needs a `teacher`"):
        tiny_trainer(tmp_path, teacher=None)
    with pytest.raises(ValueError, match="decoder layers 0 to 2"):
        tiny_trainer(tmp_path, layer_mapping=[[7, 0]])
    with pytest.raises(ValueError, match="no audio"):
        tiny_trainer(tmp_path, train_dataset=[{"question": "a", "answer": "b"}]).train()
    trainer = tiny_trainer(tmp_path)
    with pytest.raises(TypeError, match="AuraForSpeechQA, got Qwen2Model"):
        type(trainer)(model=trainer.model.model.language_model, teacher=tiny_teacher(), args=trainer.args)
    with pytest.raises(ValueError, match="processor"):
        type(trainer)(model=trainer.model, teacher=tiny_teacher(), args=trainer.args)
    trainer.processing_class.frames_per_token = 4
    with pytest.raises(ValueError, match="frames_per_token is 8 in the model"):
        type(trainer)(
            model=trainer.model, teacher=tiny_teacher(), args=trainer.args, processing_class=trainer.processing_class
        )
