import errno
import os

import numpy as np
import pytest

from transformers_aura.distillation.teacher_cache import TeacherStateCache


CLIP = np.linspace(-1, 1, 1000, dtype=np.float32)
STATES = np.arange(24, dtype=np.float16).reshape(2, 3, 4)


def test_round_trip_and_miss(tmp_path):
    cache = TeacherStateCache(tmp_path, layers=[0, 1])
    assert cache.get(CLIP) is None
    cache.put(CLIP, STATES)
    assert np.array_equal(cache.get(CLIP), STATES)
    assert cache.get(CLIP * 0.5) is None
    assert np.array_equal(TeacherStateCache(tmp_path, layers=[0, 1]).get(CLIP), STATES)


def test_a_changed_setting_never_finds_old_states(tmp_path):
    TeacherStateCache(tmp_path, layers=[0, 1], teacher="a").put(CLIP, STATES)
    assert TeacherStateCache(tmp_path, layers=[0, 2], teacher="a").get(CLIP) is None
    assert TeacherStateCache(tmp_path, layers=[0, 1], teacher="b").get(CLIP) is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage"])
def test_damaged_entries_are_computed_again(tmp_path, caplog, damage):
    cache = TeacherStateCache(tmp_path)
    cache.put(CLIP, STATES)
    content = bytearray(cache.path(CLIP).read_bytes())
    if damage == "truncated":
        content = content[:-3]
    elif damage == "flipped":
        content[-1] ^= 1
    elif damage == "empty":
        content = bytearray()
    else:
        content = bytearray(b"\xff" * 100)
    cache.path(CLIP).write_bytes(content)
    assert cache.get(CLIP) is None
    assert not cache.path(CLIP).exists()
    cache.put(CLIP, STATES)
    assert np.array_equal(cache.get(CLIP), STATES)


def test_a_full_disk_stops_the_writing_not_the_training(tmp_path, monkeypatch):
    cache = TeacherStateCache(tmp_path)
    cache.put(CLIP, STATES)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    cache.put(CLIP * 2, STATES)
    monkeypatch.undo()
    assert cache.get(CLIP * 2) is None
    assert np.array_equal(cache.get(CLIP), STATES)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [cache.path(CLIP)], "no temporary file stays behind"
    cache.put(CLIP * 3, STATES)
    assert cache.get(CLIP * 3) is None


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="teacher_cache_dir"):
        TeacherStateCache(tmp_path / "file" / "cache")
