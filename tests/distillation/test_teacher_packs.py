import numpy as np
import pytest
import torch
from safetensors import safe_open

from transformers_aura.distillation.teacher_cache import TeacherStateCache
from transformers_aura.distillation.teacher_packs import PackWriter, TeacherStatePacks


def states_of(number):
    return torch.full((2, 1 + number % 4, 3), float(number), dtype=torch.float16)


def clip(number):
    return np.full(10, number, dtype=np.float32)


def key(number):
    return number.to_bytes(4, "big") * 5


def test_clips_of_several_packs_are_found_by_their_keys(tmp_path):
    writer = PackWriter(tmp_path, pack_bytes=100)
    for number in range(40):
        writer.add(key(number), states_of(number))
    assert writer.get(key(39)) is None or torch.equal(writer.get(key(39)), states_of(39))
    writer.flush()
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    packs = TeacherStatePacks(tmp_path)
    assert len(packs) == writer.num_clips == 40
    for number in range(40):
        assert torch.equal(packs.get(key(number)), states_of(number))
    assert packs.get(key(99)) is None
    assert packs.get(key(3)[:8] + bytes(12)) is None, "another key that begins alike"


@pytest.mark.fault("training")
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_damaged_packs_are_computed_again(tmp_path, damage):
    cache = TeacherStateCache(tmp_path, layers=[0])
    with cache.writing_packs():
        for number in range(3):
            cache.put(clip(number), states_of(number))
            assert torch.equal(cache.get(clip(number)), states_of(number)), "before it is on disk"
    (path,) = tmp_path.glob("pack-*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
        lost = {0, 1, 2}
    else:
        with safe_open(path, "pt") as file:
            begin = content.rindex(states_of(1).transpose(0, 1).contiguous().numpy().tobytes())
            assert file.get_tensor("ends").tolist() == [1, 3, 6]
        content[begin] ^= 1
        path.write_bytes(content)
        lost = {1}
    cache = TeacherStateCache(tmp_path, layers=[0])
    assert {number for number in range(3) if cache.get(clip(number)) is None} == lost
    with cache.writing_packs() as writer:
        for number in lost:
            cache.put(clip(number), states_of(number))
    assert writer.num_clips == len(lost)
    for number in range(3):
        assert torch.equal(TeacherStateCache(tmp_path, layers=[0]).get(clip(number)), states_of(number))
    assert TeacherStateCache(tmp_path, layers=[1]).get(clip(0)) is None
