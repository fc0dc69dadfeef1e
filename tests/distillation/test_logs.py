import json
import re

import pytest
from transformers import TrainerCallback

from tests.distillation.support import tiny_rows, tiny_trainer
from transformers_aura.distillation.logs import HISTORY_FILE_NAME, ProgressLines


@pytest.mark.fault("disk")
def test_a_history_that_cannot_be_written_is_made_up_for_later(tmp_path, caplog):
    path = tmp_path / "run" / HISTORY_FILE_NAME

    class FullDisk(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            path.unlink()
            if state.global_step < 2:
                path.symlink_to("/dev/full")

    trainer = tiny_trainer(tmp_path, callbacks=[FullDisk()], max_steps=3)
    trainer.train()
    assert [entry["step"] for entry in map(json.loads, path.read_text().splitlines())] == [1, 2, 3, 3]
    assert caplog.text.count("cannot be written ([Errno 28] No space left on device). The training goes on") == 2


def test_tensorboard_gets_each_loss_and_the_cosine_of_each_layer_pair(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    when = {"eval_strategy": "steps", "eval_steps": 2, "max_steps": 2}
    scores = {"eval_dataset": tiny_rows(2), "compute_metrics": lambda prediction: {"wer": 0.25}}
    trainer = tiny_trainer(tmp_path, report_to="tensorboard", generation_max_new_tokens=1, **when, **scores)
    trainer.train()
    (file,) = (tmp_path / "run").rglob("events.out.tfevents.*")
    logged = events.EventAccumulator(str(file.parent)).Reload()
    curves = ("loss", "lm_loss", "cosine_loss", "mse_loss", "cosine", "cosine/student_0_teacher_0")
    for name in (*curves, "cosine/student_1_teacher_2"):
        entries = [entry for entry in trainer.state.log_history if name in entry and "loss" in entry]
        assert [point.value for point in logged.Scalars(f"train/{name}")] == pytest.approx(
            [entry[name] for entry in entries]
        )
        assert len(logged.Scalars(f"eval/{name}")) == 1
    assert [point.value for point in logged.Scalars("eval/wer")] == [0.25]


def test_lines_tell_of_progress_after_the_first_step_and_then_at_intervals(tmp_path):
    lines = []
    trainer = tiny_trainer(tmp_path, max_steps=4)
    trainer.add_callback(ProgressLines(lines.append))
    trainer.train()
    (line,) = lines
    assert line.startswith("step 1 of 4: ")
    assert re.search(r": \d+\.\d s a step so far, 0:\d\d:\d\d left$", line)
    lines.clear()
    trainer.remove_callback(ProgressLines)
    trainer.add_callback(ProgressLines(lines.append, interval=0.0))
    trainer.train()
    assert [line.partition(":")[0] for line in lines] == [f"step {number} of 4" for number in range(1, 5)]
