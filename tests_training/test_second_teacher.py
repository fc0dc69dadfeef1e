"""A student learns to tell the states of a second teacher, beside those of the first, and no worse than of that one alone."""

from tests.distillation.support import tiny_rows, tiny_trainer
from tests.support.tiny_waveform_encoder import save_tiny_waveform_encoder
from transformers_aura import SecondTeacher, WaveformTeacher


def first_and_last(trainer, name):
    logs = [entry for entry in trainer.state.log_history if name in entry]
    return logs[0][name], logs[-1][name]


def test_the_cosine_rises_with_both_teachers(tmp_path):
    teacher = SecondTeacher(WaveformTeacher.from_pretrained(save_tiny_waveform_encoder(tmp_path / "encoder")))
    settings = {"max_steps": 60, "random_gain_db": 0.0, "train_dataset": tiny_rows(16), "learning_rate": 3e-3}
    settings["teacher_cache_dir"] = str(tmp_path / "cache")
    both = tiny_trainer(tmp_path, "both", second_teacher=teacher, **settings)
    both.train()
    first, last = first_and_last(both, "second_cosine")
    assert last > first + 0.2
    alone = tiny_trainer(tmp_path, "alone", **settings)
    alone.train()
    assert first_and_last(both, "cosine")[1] > first_and_last(alone, "cosine")[1] - 0.1
