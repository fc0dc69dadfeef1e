"""Files of a repo that are not what they should be: each is named, with what to do."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from tests.support.fake_hub import FakeHub
from transformers_aura.repo_files import (
    DamagedFileError,
    check_small_files,
    damage_of,
    naming_damaged_files,
    refuse_pickles,
    repo_file,
)


pytestmark = pytest.mark.fault("loading")

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"
HTML_PAGE = b"\n<!DOCTYPE html><html><body>Please log in</body></html>"


def safetensors(folder):
    save_file({"weight": torch.arange(6.0)}, folder / "model.safetensors")
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", lambda whole: whole, None),
        ("model.safetensors", lambda whole: b"", "is empty"),
        ("model.safetensors", lambda whole: whole[:-4], r"has \d+ bytes, its header speaks of \d+"),
        ("model.safetensors", lambda whole: whole + b"more", r"has \d+ bytes, its header speaks of \d+"),
        ("model.safetensors", lambda whole: whole[:20], "ends in its header"),
        ("model.safetensors", lambda whole: b"\x00" * 64, "has no header"),
        ("model.safetensors", lambda whole: whole[:8] + b"?" + whole[9:], "damaged header"),
        ("model.safetensors", lambda whole: LFS_POINTER, "pointer of Git LFS.*`git lfs pull`"),
        ("model.safetensors", lambda whole: HTML_PAGE, "HTML or XML page"),
        ("config.json", lambda whole: b'{"a": 1}', None),
        ("tokenizer.json", lambda whole: b'{"model": {}, "added_tokens": []}', None),
        ("tokenizer.json", lambda whole: b'{"version": "1.0"}', "holds no tokenizer"),
        ("config.json", lambda whole: b'{"a": 1', "is no JSON .*line 1"),
        ("config.json", lambda whole: b'{"a": "\xff"}', "is no JSON .*utf-8"),
        ("config.json", lambda whole: b"[1]", "holds no JSON object, but a list"),
        ("tokenizer.json", lambda whole: HTML_PAGE, "HTML or XML page"),
        ("model.gguf", lambda whole: b"GGUF\x03", None),
        ("model.gguf", lambda whole: b"GGML\x03", "is no GGUF file"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, name, content, message):
    whole = safetensors(tmp_path)
    (tmp_path / name).write_bytes(content(whole))
    if message is None:
        assert damage_of(tmp_path / name) is None
        return
    with pytest.raises(DamagedFileError, match=rf"{name} .*{message}"), naming_damaged_files(tmp_path, [name]):
        raise RuntimeError("expected value at line 1 column 1")


def test_an_error_without_a_damaged_file_stays_what_it_is(tmp_path):
    safetensors(tmp_path)
    with pytest.raises(RuntimeError, match="other"), naming_damaged_files(tmp_path, ["model.safetensors", "no.json"]):
        raise RuntimeError("other")
    with pytest.raises(RuntimeError, match="other"), naming_damaged_files("org/nobody", ["config.json"]):
        raise RuntimeError("other")
    check_small_files(tmp_path, ["no.json"])


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (
            {"a": "model-1.safetensors", "b": "pytorch_model.bin"},
            r"index\.json names pytorch_model\.bin, .*pickle.*save_pretrained",
        ),
        ({"a": "model.pt"}, "names model.pt"),
        ({"a": "../model.safetensors"}, "lies outside of its folder"),
        ({"a": 1}, "has no `weight_map`"),
        ({}, "has no `weight_map`"),
    ],
)
def test_an_index_of_pickles_is_refused(tmp_path, weight_map, message):
    write_index(tmp_path, weight_map)
    with pytest.raises(DamagedFileError, match=message):
        refuse_pickles(tmp_path)


def test_weights_that_are_pickles_are_refused(tmp_path):
    with pytest.raises(DamagedFileError, match="holds no weights as safetensors"):
        refuse_pickles(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(
        DamagedFileError, match=r"it has pytorch_model\.bin, a format \(pickle\) .*use_safetensors=False"
    ):
        refuse_pickles(tmp_path)
    safetensors(tmp_path)  # is what is read, and the pickle beside it is not
    refuse_pickles(tmp_path)


def test_a_shard_of_an_index_is_named(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(safetensors(tmp_path)[:-3])
    (tmp_path / "model.safetensors").unlink()
    write_index(tmp_path, {"a": "model-1.safetensors"})
    index = naming_damaged_files(tmp_path, ["model.safetensors.index.json"])
    with pytest.raises(DamagedFileError, match=r"model-1\.safetensors has"), index:
        raise RuntimeError("incomplete metadata")


@pytest.mark.fault("hub")
@pytest.mark.parametrize(("name", "content"), [("model.safetensors", b"large"), ("config.json", b'{"small": 1}')])
def test_a_file_in_the_cache_is_what_was_published(fake_hub: FakeHub, name, content):
    fake_hub.add_files("org/repo", {name: content})
    path = repo_file("org/repo", name)
    assert repo_file("org/repo", name) == path
    assert repo_file("org/repo", "other.json", is_needed=False) is None
    blob = os.path.realpath(path)
    with open(blob, "r+b") as file:
        file.write(b"x")
    with pytest.raises(
        DamagedFileError, match=rf"{name} is not the file that was published.*Delete {blob} and load again"
    ):
        repo_file("org/repo", name)


@pytest.mark.fault("hub")
def test_a_download_of_another_content_is_refused(fake_hub: FakeHub):
    fake_hub.add_files("org/repo", {"model.safetensors": b"what was pushed"})
    (digest,) = [key for key, content in fake_hub.blobs.items() if content == b"what was pushed"]
    fake_hub.blobs[digest] = b"what a proxy says"[:15]
    with pytest.raises(DamagedFileError, match="is not the file that was published"):
        repo_file("org/repo", "model.safetensors")
