"""The clock: which seconds count, and when a run is evaluated, scored and ended."""

from types import SimpleNamespace

import pytest

from aura_research.ablations import clock as module
from aura_research.ablations.clock import TrainingClock


@pytest.fixture
def now(monkeypatch):
    """Two clocks that stand still: wall and processor seconds."""
    seconds = SimpleNamespace(wall=0.0, cpu=0.0)
    monkeypatch.setattr(module.time, "perf_counter", lambda: seconds.wall)
    monkeypatch.setattr(module.time, "process_time", lambda: seconds.cpu)
    return seconds


def trainer_state(max_steps=12):
    return SimpleNamespace(global_step=0, max_steps=max_steps, log_history=[])


def step(clock, state, now, seconds=1.0):
    """One step of training; returns what the clock asks for after it."""
    state.global_step += 1
    now.wall += seconds
    now.cpu += seconds / 2
    control = SimpleNamespace(
        should_log=False, should_evaluate=False, should_save=False, should_training_stop=False
    )  # fmt: skip
    clock.on_step_end(None, state, control)
    return control


def test_evaluations_and_checkpoints_do_not_count(now):
    clock, state = TrainingClock(3, 12), trainer_state()
    clock.start()
    now.wall += 5  # statistics of the teacher
    clock.on_train_begin(None, state, None)
    step(clock, state, now)
    now.wall += 100
    clock.on_evaluate(None, state, None)
    now.wall += 100
    clock.on_save(None, state, None)
    step(clock, state, now)
    state.log_history.append({"step": 2})
    clock.on_log(None, state, None)
    assert state.log_history == [{"step": 2, "train_seconds": 7.0, "train_cpu_seconds": 1.0}]


def test_a_run_of_steps_is_scored_after_each_third(now):
    clock, state = TrainingClock(3, 6), trainer_state(max_steps=12)
    clock.start()
    controls = [step(clock, state, now) for _ in range(12)]
    assert [index + 1 for index, control in enumerate(controls) if control.should_save] == [4, 8, 12]
    assert [index + 1 for index, control in enumerate(controls) if control.should_evaluate] == [2, 4, 6, 8, 10, 12]
    assert all(control.should_log for control in controls if control.should_save or control.should_evaluate)


def test_thirds_of_steps_that_three_does_not_divide_end_with_the_run(now):
    clock, state = TrainingClock(3, 3), trainer_state(max_steps=10)
    clock.start()
    saved = [state.global_step for _ in range(10) if step(clock, state, now).should_save]
    assert saved == [4, 7, 10]


def test_a_run_of_minutes_ends_by_the_clock(now):
    clock, state = TrainingClock(3, 6, minutes=0.5), trainer_state(max_steps=1_000_000)
    clock.start()
    controls = [step(clock, state, now, seconds=4.0) for _ in range(8)]  # 4 to 32 s of 30
    assert [index + 1 for index, control in enumerate(controls) if control.should_save] == [3, 5, 8]
    assert [control.should_training_stop for control in controls] == [False] * 7 + [True]


def test_a_resumed_run_counts_on_from_its_checkpoint(now):
    clock, state = TrainingClock(3, 12), trainer_state()
    state.global_step = 4
    state.log_history = [{"step": 4, "train_seconds": 40.0, "train_cpu_seconds": 30.0}, {"step": 4, "other": 1}]
    clock.start()
    now.wall += 50  # loading
    clock.on_train_begin(None, state, None)
    step(clock, state, now)
    assert clock.seconds == 41.0
    assert clock.cpu_seconds == 30.5
