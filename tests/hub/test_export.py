"""On a disk a checkpoint is there completely, or not at all."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.repocard import metadata_load
from safetensors import SafetensorError
from transformers import AutoModel, AutoProcessor

from tests.support.fake_hub import FakeHub
from tests.support.published import STUDENT_ID, logits_of, publish_student
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.hub import HubError, TrainingSummary, merge_to_folder
from transformers_aura.hub.export import new_folder


pytestmark = pytest.mark.numerical


def test_merged_checkpoint_loads_without_its_base_and_hears_the_same(fake_hub: FakeHub, tmp_path: Path) -> None:
    student = publish_student(fake_hub, tmp_path)
    out = merge_to_folder(STUDENT_ID, tmp_path / "merged", revision=student.commit)
    fake_hub.clear()
    merged = AutoModel.from_pretrained(out)
    processor = AutoProcessor.from_pretrained(out)
    assert not merged.config.is_compact
    assert (out / "README.md").exists()
    # Row 0 has audio; a merged checkpoint feels the adapter on text-only rows too.
    expected = logits_of(student.model, student.processor)[0]
    terms = num_terms(student.model, positions=len(expected))
    assert_equal_but_for_rounding(logits_of(merged, processor)[0], expected, terms)
    with pytest.raises(ValueError, match="merged checkpoint already"):
        merge_to_folder(out, tmp_path / "again")


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keep.txt").write_text("mine")
    with pytest.raises(HubError, match="exists already"), new_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "keep.txt").read_text() == "mine"
    with pytest.raises(HubError, match="exists already"):  # before anything is loaded
        merge_to_folder("org/nobody", tmp_path / "out")


@pytest.mark.fault("disk")
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        KeyboardInterrupt(),
    ],
)
def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    expected, said = (
        (KeyboardInterrupt, None) if isinstance(error, KeyboardInterrupt) else (HubError, "disk filled up")
    )
    with pytest.raises(expected, match=said), new_folder(tmp_path / "out") as folder:
        (folder / "model.safetensors").write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_small_is_refused_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with (
        pytest.raises(HubError, match=r"10\.0 MB left, but 15\.2 GB are needed"),
        new_folder(tmp_path / "out", 15_200_000_000),
    ):
        pass


def test_a_merged_checkpoint_keeps_what_is_known_of_the_training(fake_hub: FakeHub, tmp_path: Path) -> None:
    student = publish_student(fake_hub, tmp_path)
    TrainingSummary(languages=["de"], num_steps=12, limits=["It only knows tones."]).save(student.folder)
    out = merge_to_folder(student.folder, tmp_path / "merged")
    assert metadata_load(out / "README.md")["language"] == ["de"]
    assert "It only knows tones." in (out / "README.md").read_text()
    assert TrainingSummary.load(out) == TrainingSummary.load(student.folder)
