import errno
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.distillation.support import tiny_teacher, tiny_trainer
from transformers_aura.distillation.teacher_cache import TeacherStateCache


CLIP = np.linspace(-1, 1, 1000, dtype=np.float32)
STATES = torch.arange(24, dtype=torch.float16).reshape(2, 3, 4)


def test_round_trip_and_miss(tmp_path):
    cache = TeacherStateCache(tmp_path, layers=[0, 1])
    assert cache.get(CLIP) is None
    cache.put(CLIP, STATES)
    assert torch.equal(cache.get(CLIP), STATES)
    assert cache.get(CLIP * 0.5) is None
    assert torch.equal(TeacherStateCache(tmp_path, layers=[0, 1]).get(CLIP), STATES)


def test_a_changed_setting_never_finds_old_states(tmp_path):
    TeacherStateCache(tmp_path, layers=[0, 1], teacher="a").put(CLIP, STATES)
    assert TeacherStateCache(tmp_path, layers=[0, 2], teacher="a").get(CLIP) is None
    assert TeacherStateCache(tmp_path, layers=[0, 1], teacher="b").get(CLIP) is None


@pytest.mark.fault("training")
@pytest.mark.parametrize(
    "damage",
    ["truncated", "flipped", "shape", "empty", "garbage", "of another clip", "of another setting", "not finite"],
)
def test_damaged_entries_are_computed_again(tmp_path, caplog, damage):
    cache = TeacherStateCache(tmp_path)
    cache.put(CLIP, STATES)
    content = bytearray(cache.path(CLIP).read_bytes())
    if damage == "truncated":
        content = content[:-3]
    elif damage == "flipped":
        content[-1] ^= 1
    elif damage == "shape":
        content = content.replace(b"[2,3,4]", b"[3,2,4]")
    elif damage == "empty":
        content = bytearray()
    elif damage == "garbage":
        content = bytearray(b"\xff" * 100)
    elif damage == "not finite":
        cache.put(CLIP, STATES.masked_fill(STATES == 5, torch.nan))
        content = cache.path(CLIP).read_bytes()
    else:
        other, clip = (
            (cache, CLIP * 2) if damage == "of another clip" else (TeacherStateCache(tmp_path, layers=[1]), CLIP)
        )
        other.put(clip, STATES + 1)
        content = other.path(clip).read_bytes()
    cache.path(CLIP).write_bytes(content)
    assert cache.get(CLIP) is None
    assert "damaged; they are computed again" in caplog.text
    assert not cache.path(CLIP).exists()
    cache.put(CLIP, STATES)
    assert torch.equal(cache.get(CLIP), STATES)


@pytest.mark.fault("training")
def test_a_teacher_whose_states_are_not_finite_is_named(tmp_path):
    teacher = tiny_teacher()
    teacher.encoder.layers[1].fc2.bias.data[3] = float("inf")
    trainer = tiny_trainer(tmp_path, teacher=teacher, teacher_cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=r"teacher's states .* are not finite .*torch\.float32.*float32 or bfloat16"):
        trainer.train()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_full_disk_stops_the_writing_not_the_training(tmp_path, monkeypatch):
    cache = TeacherStateCache(tmp_path)
    cache.put(CLIP, STATES)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    cache.put(CLIP * 2, STATES)
    monkeypatch.undo()
    assert cache.get(CLIP * 2) is None
    assert torch.equal(cache.get(CLIP), STATES)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [cache.path(CLIP)], "no temporary file stays behind"
    cache.put(CLIP * 3, STATES)
    assert cache.get(CLIP * 3) is None


@pytest.mark.fault("disk")
def test_several_runs_share_a_folder_and_never_see_half_an_entry(tmp_path, caplog):
    clips = [CLIP * scale for scale in np.linspace(0.1, 1, 10, dtype=np.float32)]

    def run(number):
        cache = TeacherStateCache(tmp_path)
        for index in [*range(10), *range(10)][number:]:
            found = cache.get(clips[index])
            assert found is None or torch.equal(found, torch.full((2, 3000, 4), index).half())
            cache.put(clips[index], torch.full((2, 3000, 4), index))
        return cache

    with ThreadPoolExecutor(8) as threads:
        caches = list(threads.map(run, range(8)))
    assert all(torch.equal(caches[0].get(clip), torch.full((2, 3000, 4), i).half()) for i, clip in enumerate(clips))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(clips)
    assert not caplog.records


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="teacher_cache_dir"):
        TeacherStateCache(tmp_path / "file" / "cache")
