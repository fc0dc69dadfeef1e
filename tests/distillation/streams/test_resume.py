import json
from pathlib import Path

import pytest

from tests.cli.test_main import run
from tests.distillation.streams.support import write_tars
from tests.distillation.support import StopAfter, assert_same_weights, step_logs, tiny_trainer, trained_weights
from tests.support.training import write_recipe
from transformers_aura.distillation.checkpoint_files import CheckpointError, check_checkpoint
from transformers_aura.distillation.recipe import DataSection, DataSource
from transformers_aura.distillation.streams import resume
from transformers_aura.distillation.streams.shards import TarShard
from transformers_aura.distillation.streams.sources import load_stream


def stream_run(folder: Path, name: str, resumes: bool = False, **settings):
    """A run over epochs of three steps (5 rows); and what it read after the teacher's statistics."""
    data = DataSection([DataSource(str(folder / "tars"))], stream=True, shuffle_buffer=3)
    trainer = tiny_trainer(
        folder, name, train_dataset=load_stream(data, seed=3), per_device_train_batch_size=2, max_steps=8, save_strategy="steps", **settings
    )  # fmt: skip
    read = []
    collator = type(trainer.data_collator).__call__

    class Collator(type(trainer.data_collator)):
        def __call__(self, rows):
            read.extend(row["transcript"] for row in rows)
            return collator(self, rows)

    trainer.data_collator.__class__ = Collator
    asked, get_batch_samples = [], trainer.get_batch_samples
    trainer.get_batch_samples = lambda *arguments: (asked.append(1), get_batch_samples(*arguments))[1]
    trainer.train(resume_from_checkpoint=resumes)
    assert len(asked) <= 8 + 2, "once a step, and once at the end of an epoch"
    return trainer, read


@pytest.mark.parametrize("stop", [3, 5])
def test_a_resume_reads_on_and_ends_with_the_same_weights(tmp_path, stop, monkeypatch):
    every = write_tars(tmp_path / "tars", [2, 3])
    whole, rows = stream_run(tmp_path, "whole", save_steps=stop)
    assert [sorted(rows[start : start + 5]) for start in (0, 5)] == [sorted(every)] * 2
    stream_run(tmp_path, "stopped", save_steps=stop, callbacks=[StopAfter(stop)])
    resumed, read = stream_run(tmp_path, "stopped", save_steps=stop, resumes=True)
    seen = {3: 5, 5: 9}[stop]
    assert read == rows[seen:]
    assert step_logs(resumed) == step_logs(whole)
    epochs = [entry["epoch"] for entry in whole.state.log_history]
    assert [entry["epoch"] for entry in resumed.state.log_history] == epochs
    assert_same_weights(trained_weights(resumed), trained_weights(whole))

    checkpoint = tmp_path / "whole" / f"checkpoint-{stop}"
    state = checkpoint / "data_state_0.json"
    state.write_text(state.read_text().replace('"turn": 0', '"turn": 1'))
    with pytest.raises(CheckpointError, match=r"data_state_0\.json"):
        check_checkpoint(checkpoint)


def test_a_state_of_no_use_is_said_and_rows_are_passed_over(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(resume.logger, "warning", said.append)
    write_tars(tmp_path / "tars", [2, 3])
    whole, rows = stream_run(tmp_path, "whole", save_steps=5)
    stream_run(tmp_path, "stopped", save_steps=5, callbacks=[StopAfter(5)])
    checkpoint = tmp_path / "stopped" / "checkpoint-5"
    (checkpoint / "data_state_0.json").unlink()
    (checkpoint / "SHA256SUMS").unlink()
    resumed, read = stream_run(tmp_path, "stopped", save_steps=5, resumes=True)
    assert "(there is no data_state_0.json). The first 2 batches of epoch 1 are read and passed over" in said[0]
    assert read == rows[5:], "the epoch from its begin"
    assert step_logs(resumed) == step_logs(whole)
    assert_same_weights(trained_weights(resumed), trained_weights(whole))


def test_the_command_shows_and_trains_on_a_stream(tmp_path, capsys, monkeypatch):
    recipe = write_recipe(tmp_path / "models")
    write_tars(tmp_path / "tars", [3, 2])
    out = tmp_path / "out"
    values = {
        "data": json.dumps({"stream": True, "train": [{"source": str(tmp_path / "tars")}]}),
        "training.train_sampling_strategy": "random",
        "training.output_dir": out,
        "training.max_steps": 2,
        "model.character_ctc_alphabet": "null",
        "losses.character_ctc_weight": 0,
    }

    def distill(*more, **changed):
        settings = {**values, **changed}
        return run(
            capsys,
            "distill",
            "--config",
            str(recipe),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
            *more,
        )

    with monkeypatch.context() as patch:
        read = []
        rows = TarShard.rows
        patch.setattr(TarShard, "rows", lambda *arguments: (read.append(row) or row for row in rows(*arguments)))
        code, printed, err = distill("--dry-run")
    assert code == 0, err
    assert len(read) == 4, "the first row, for its columns, and those that are shown"
    assert f"rows to train on: a stream of {tmp_path}/tars in 2 shard(s), 2 steps; to evaluate on: 0" in printed
    assert printed.count("learns 'tar ") == 3
    code, _, err = distill()
    assert code == 0, err
    assert (out / "model.safetensors").exists()
    for changed, message in (
        ({"training.max_steps": -1}, "the length of a stream is not known. Set training.max_steps"),
        ({"training.train_sampling_strategy": "group_by_length"}, "a stream is shuffled in its own way"),
    ):
        code, _, err = distill("--dry-run", **changed)
        assert code == 2
        assert message in " ".join(err.replace("│", " ").split())
