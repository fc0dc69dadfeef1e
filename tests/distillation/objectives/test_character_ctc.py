import logging

import pytest
import torch

from tests.distillation.support import HEADS, StopAfter, audio, step_logs, tiny_rows, tiny_trainer, trained_weights
from transformers_aura.distillation.objectives.ctc_objective import ENOUGH_TRANSCRIPTS


STUDENT = {"character_ctc_alphabet": HEADS["character_ctc_alphabet"]}
ALONE = {"supervision": "transcript", "lm_weight": 0.0, "teacher": None, "student": STUDENT}
"""Settings with which CTC on characters is all that is learnt."""


def test_ctc_loss_is_that_of_each_clip_alone(tmp_path):
    trainer = tiny_trainer(tmp_path, character_ctc_weight=2.0, random_gain_db=0.0, **ALONE)
    rows = [row for row in tiny_rows(3) if "answer" in row] + [{"audio": audio(0.5), "transcript": "two 2"}]
    batch = trainer.data_collator(rows)
    trainer.forward_pass.requires_grad_(False)
    loss, output = trainer.compute_loss(trainer.forward_pass, dict(batch), return_outputs=True)
    sums, characters = 0.0, 0
    for row in rows[:-1]:  # nobody knows how the last one is said
        alone = trainer.data_collator([row])
        sums += float(trainer.compute_loss(trainer.forward_pass, dict(alone), return_outputs=True)[1].sums[0])
        characters += len(row["transcript"].strip())
    assert output.counts.tolist() == [characters, len(rows)]
    assert output.sums[1] == 1, "transcripts that cannot be encoded"
    assert float(loss) == pytest.approx(2.0 * sums / characters, rel=1e-4)


def test_ctc_of_the_patch_embedding_alone(tmp_path):
    trainer = tiny_trainer(tmp_path, character_ctc_weight=1.0, max_steps=1, **ALONE)
    before = trainer.model.model.embed_audio.proj.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, trainer.model.model.embed_audio.proj.weight)


def test_the_patch_embedding_alone_learns_without_the_llm(tmp_path):
    settings = {
        "lm_weight": 0.0,
        "character_ctc_weight": 1.0,
        "student": STUDENT,
        "layer_mapping": [[-1, 0], [-1, 1]],
    }
    whole = tiny_trainer(tmp_path, "whole", learning_rate=1e-3, max_steps=2, **settings)
    alone = tiny_trainer(
        tmp_path,
        "alone",
        learning_rate=0.0,
        audio_embedding_learning_rate=1e-3,
        heads_learning_rate=1e-3,
        max_steps=2,
        **settings,
    )
    before = trained_weights(alone)
    for layer in alone.model.model.language_model.layers:
        layer.register_forward_hook(lambda *_: pytest.fail("a layer of the LLM ran"))
    for trainer in (whole, alone):
        trainer.train()
    # LoRA has no part in these losses: at rest or not, the patch embedding learns the same. MKL's last bit depends on where in memory a matrix lies.
    terms = ("cosine_loss", "mse_loss", "character_ctc_loss")
    torch.testing.assert_close(
        torch.tensor(step_logs(alone, *terms)), torch.tensor(step_logs(whole, *terms)), rtol=1e-5, atol=1e-6
    )
    for name, weight in trained_weights(alone).items():
        torch.testing.assert_close(weight, trained_weights(whole)[name], rtol=1e-5, atol=1e-6, msg=name)
        assert torch.equal(weight, before[name]) == ("lora_" in name), name


def rows_of(*transcripts):
    return [{"audio": audio(0.5, 200 + 10 * index), "transcript": text} for index, text in enumerate(transcripts)]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]


def test_transcripts_that_cannot_be_encoded_are_counted_and_one_warning_names_a_character(tmp_path, caplog):
    logging.getLogger("transformers").propagate = True
    rows = rows_of("ten", "10 cups", "two", "três café")
    trainer = tiny_trainer(
        tmp_path, train_dataset=rows, eval_dataset=rows[:2], character_ctc_weight=1.0, max_steps=3, **ALONE
    )
    trainer.train()
    logged = [entry["character_ctc_skipped"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == [0.25] * 3, "an accent is no obstacle, a digit is"
    (warning,) = warnings_of(caplog)
    assert "1 of 4 transcripts so far are left out" in warning
    assert "of these one holds '1'" in warning
    assert trainer.evaluate()["eval_character_ctc_skipped"] == 0.5


def test_an_alphabet_decides_what_can_be_encoded(tmp_path, caplog):
    logging.getLogger("transformers").propagate = True
    student = {"character_ctc_alphabet": " abcdefghijklmnopqrstuvwxyzäöüß'0123456789"}
    rows = rows_of("zehn Brötchen", "10 Brötchen", "zwei", "weiß")
    trainer = tiny_trainer(
        tmp_path, train_dataset=rows, character_ctc_weight=1.0, max_steps=1, **{**ALONE, "student": student}
    )
    trainer.train()
    assert trainer.state.log_history[0]["character_ctc_skipped"] == 0
    assert not warnings_of(caplog)
    assert trainer.forward_pass.counts(trainer.data_collator(rows))[0] == sum(len(row["transcript"]) for row in rows)


@pytest.mark.fault("training")
@pytest.mark.parametrize("logging_steps", [1, 100])
def test_an_alphabet_in_which_nothing_can_be_written_is_an_error(tmp_path, logging_steps):
    rows = rows_of("десять", "два") * 2
    settings = {"train_dataset": rows, "character_ctc_weight": 1.0, "logging_steps": logging_steps, **ALONE}
    with pytest.raises(
        ValueError,
        match=r"None of 12 transcripts can be written with `character_ctc_alphabet=. abc.* one holds '[а-я]'",
    ):
        tiny_trainer(tmp_path, max_steps=3, **settings).train()


def test_a_wrong_alphabet_is_found_before_the_end(tmp_path):
    objective = tiny_trainer(tmp_path, character_ctc_weight=1.0, **ALONE).objectives["character_ctc"]
    objective.report({"character_ctc_skipped": 1.0}, {"character_ctc_skipped": ENOUGH_TRANSCRIPTS - 1}, is_last=False)
    with pytest.raises(ValueError, match=f"None of {ENOUGH_TRANSCRIPTS} transcripts"):
        objective.report({"character_ctc_skipped": 1.0}, {"character_ctc_skipped": 1}, is_last=False)


def test_a_student_without_the_head_is_told_which_setting_makes_one(tmp_path):
    with pytest.raises(ValueError, match=r"Set `character_ctc_alphabet` .`model.character_ctc_alphabet` of a recipe"):
        tiny_trainer(tmp_path, character_ctc_weight=1.0)


@pytest.mark.fault("training")
def test_what_was_learnt_before_a_run_was_resumed_counts(tmp_path):
    """The steps after the resume see no transcript that can be written."""
    rows = [*rows_of("ten", "two"), *rows_of("10", "2")]
    settings = {
        "train_dataset": rows,
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": 2,
        "character_ctc_weight": 1.0,
        "save_strategy": "steps",
        "save_steps": 1,
        "max_steps": 2,
        **ALONE,
    }
    tiny_trainer(tmp_path, callbacks=[StopAfter(1)], **settings).train()
    trainer = tiny_trainer(tmp_path, **settings)
    trainer.train(resume_from_checkpoint=True)
    assert [entry.get("character_ctc_skipped") for entry in trainer.state.log_history[:2]] == [0, 1]


@pytest.mark.fault("training")
@pytest.mark.parametrize("weight", ["character_ctc_weight", "subword_ctc_weight"])
def test_transcripts_that_do_not_fit_into_their_clips_are_an_error(tmp_path, weight):
    rows = rows_of(*["a long word " * 4] * 3)
    settings = {"supervision": "transcript", "lm_weight": 0.0, "teacher": None, "train_dataset": rows, weight: 1.0}
    head = "character_ctc_alphabet" if "character" in weight else "subword_ctc_layer"
    trainer = tiny_trainer(tmp_path, student={head: HEADS[head]}, max_steps=2, **settings)
    with pytest.raises(
        ValueError, match=r"None of 6 transcripts can be aligned with its clip.*_ctc_head learns nothing"
    ):
        trainer.train()


@pytest.mark.fault("training")
def test_no_transcript_at_all_is_an_error_at_the_end(tmp_path):
    rows = [{"audio": audio(0.5), "answer": "yes"}] * 2
    settings = {"supervision": "transcript", "teacher": None, "student": STUDENT, "max_steps": 1}
    with pytest.raises(
        ValueError, match=r"`character_ctc` had nothing to learn from.*character_ctc_head is as it was made"
    ):
        tiny_trainer(tmp_path, train_dataset=rows, character_ctc_weight=1.0, **settings).train()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "settings", [{}, {"character_ctc_weight": 1.0, "subword_ctc_weight": 1.0, "heads_learning_rate": 0.0}]
)
def test_a_head_that_was_never_trained_is_not_left_so(tmp_path, name, settings):
    weight = f"{name.removesuffix('_alphabet').removesuffix('_layer')}_weight"
    settings = {each: value for each, value in settings.items() if each in (weight, "heads_learning_rate")}
    with pytest.raises(ValueError, match=rf"has never been trained.*Set `{weight}` above 0.* or leave `{name}` out"):
        tiny_trainer(tmp_path, student={name: HEADS[name]}, **settings)


def test_an_objective_without_data_is_named(tmp_path, caplog):
    rows = [
        {key: value for key, value in row.items() if key != "answer" and key != "question"} for row in tiny_rows(4)
    ]
    tiny_trainer(tmp_path, train_dataset=rows, answer_kl_weight=1.0, max_steps=1).train()
    assert "`answer_kl` had nothing to learn from in the whole training" in caplog.text
