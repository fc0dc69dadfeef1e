"""The fake Hub behaves, for `huggingface_hub`, like the Hub."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.fake_hub import FakeHub


LARGE = bytes(range(256)) * 400


def test_every_hub_call_of_a_test_goes_to_loopback(fake_hub: FakeHub) -> None:
    assert constants.ENDPOINT == fake_hub.endpoint
    assert constants.HF_HUB_DISABLE_XET


def test_download_by_branch_tag_and_commit(fake_hub: FakeHub, may_write: None) -> None:
    first = fake_hub.add_files("org/x", {"config.json": b"{}", "model.safetensors": LARGE})
    second = fake_hub.add_files("org/x", {"config.json": b'{"v": 2}', "sub/notes.txt": b"hello"})
    HfApi().create_tag("org/x", tag="v1", revision=first)

    assert Path(hf_hub_download("org/x", "config.json")).read_bytes() == b'{"v": 2}'
    assert Path(hf_hub_download("org/x", "config.json", revision="v1")).read_bytes() == b"{}"
    assert Path(hf_hub_download("org/x", "model.safetensors", revision=first)).read_bytes() == LARGE
    folder = Path(snapshot_download("org/x", revision=second))
    assert folder.name == second
    assert (folder / "sub" / "notes.txt").read_bytes() == b"hello"
    assert HfApi().model_info("org/x", revision="v1").sha == first
    assert {branch.name for branch in HfApi().list_repo_refs("org/x").branches} == {"main"}


def test_what_is_missing_has_the_hub_s_own_errors(fake_hub: FakeHub) -> None:
    fake_hub.add_files("org/x", {"config.json": b"{}"})
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("org/x", "no-such-file.json")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("org/x", "config.json", revision="no-such-revision")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("org/no-such-repo", "config.json")


def test_an_interrupted_download_resumes_from_where_it_broke(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    fake_hub.add_files("org/x", {"model.safetensors": LARGE})
    fake_hub.cut_off_downloads("model.safetensors", after_bytes=1000)
    assert Path(hf_hub_download("org/x", "model.safetensors")).read_bytes() == LARGE
    assert len(fake_hub.requested("GET", "/cdn/")) == 2


def test_push_and_push_again(fake_hub: FakeHub, may_write: None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(LARGE)
    api = HfApi()
    api.create_repo("org/new")
    api.upload_folder(repo_id="org/new", folder_path=tmp_path)
    assert fake_hub.files("org/new")["model.safetensors"] == LARGE

    api.upload_folder(repo_id="org/new", folder_path=tmp_path)
    assert len(fake_hub.requested("PUT", "/lfs-upload/")) == 1  # unchanged files stay where they are
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("org/new")


def test_nobody_writes_without_permission(fake_hub: FakeHub, may_only_read: None) -> None:
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi().create_repo("org/new")
    assert fake_hub.repos == {}
