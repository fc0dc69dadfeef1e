import json

import pytest
from transformers import TrainerCallback

from tests.distillation.support import tiny_trainer
from transformers_aura.distillation.logs import HISTORY_FILE_NAME


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
