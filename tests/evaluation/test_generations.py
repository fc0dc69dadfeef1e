import os

import numpy as np
import pytest

from transformers_aura.evaluation.generations import Generation, GenerationFile, input_hash


def test_answers_are_found_again_if_the_same_went_in(tmp_path):
    path = tmp_path / "a" / "sd-qa.jsonl"
    file = GenerationFile(path)
    file.append(Generation("1", "in", "Zürich\n", 2.5))
    file.append(Generation("2", "in", "", error="it broke"))
    again = GenerationFile(path)
    assert again.find("1", "in") == Generation("1", "in", "Zürich\n", 2.5)
    assert again.find("1", "another input") is None
    assert again.find("2", "in") is None, "what failed is tried again"
    assert set(again.rows()) == {"1", "2"}


def test_half_a_line_of_a_killed_run_is_dropped_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "x.jsonl"
    file = GenerationFile(path)
    file.append(Generation("1", "in", "one"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"name": "2", "inp')
    file = GenerationFile(path)
    assert path.read_bytes() == whole
    file.append(Generation("2", "in", "two"))
    assert GenerationFile(path).find("2", "in").answer == "two"


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize(
    "line", ['{"name": "1", "text": "?"}', "[]", '{"name": ["1"], "input": "", "answer": ""}',
             '{"name": "1", "input": "", "answer": 5}', "\xff", "["],
)  # fmt: skip
def test_a_file_of_something_else_is_named(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text(f"{line}\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"x.jsonl, line 1, holds no answer of an evaluation"):
        GenerationFile(path)


@pytest.mark.fault("disk")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device that is always full is of Linux")
def test_a_full_disk_is_named(tmp_path):
    (tmp_path / "x.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*x\.jsonl'"):
        GenerationFile(tmp_path / "x.jsonl").append(Generation("1", "in", "one"))


def test_the_hash_tells_samples_and_every_text_apart():
    wave = np.zeros(8, np.float32)
    hashes = {
        input_hash(wave),
        input_hash(wave[:7]),
        input_hash(wave, "a", None),
        input_hash(wave, None, "a"),
        input_hash(wave, "a", "b"),
    }
    assert len(hashes) == 5
    assert input_hash(wave, "a") == input_hash(wave.astype(np.float64), "a")
