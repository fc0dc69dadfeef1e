import logging
import shutil

import pytest

from tests.distillation.support import tiny_trainer
from transformers_aura.distillation.checkpoint_files import (
    CHECKSUMS_FILE_NAME,
    CheckpointError,
    check_checkpoint,
    checkpoint_to_resume,
    last_complete_checkpoint,
)
from transformers_aura.distillation.heads import HEADS_FILE_NAME


FILES = ("model.safetensors", HEADS_FILE_NAME, "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tiny_trainer(folder, save_strategy="steps", save_steps=1, max_steps=2).train()
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def flip(content):
    """One bit, in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {
    "empty": (lambda content: b"", "is empty"),
    "truncated": (lambda content: content[: len(content) // 2], r"\(\d+ bytes\) is not what was written|truncated"),
    "flipped": (flip, r"\(\d+ bytes\) is not what was written"),
    "html": (lambda content: b"<html>404</html>", r"\(16 bytes\) is not what was written|not of its format"),
}


@pytest.mark.fault("resume")
@pytest.mark.parametrize("has_checksums", [True, False], ids=["with checksums", "of an earlier version"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_taken(run, kind, has_checksums):
    spoil, message = DAMAGES[kind]
    newest = run / "checkpoint-2"
    files = FILES
    if not has_checksums:
        (newest / CHECKSUMS_FILE_NAME).unlink()
        if kind == "flipped":  # of the others nobody can tell
            files, message = (
                ("optimizer.pt", "scheduler.pt", "rng_state.pth"),
                "checksum of its part .* differs|not of its format",
            )
    for name in files:
        content = (newest / name).read_bytes()
        (newest / name).write_bytes(spoil(content))
        with pytest.raises(
            CheckpointError, match=rf"checkpoint-2 is damaged: {name} .*({message}).*resume_from_checkpoint=True"
        ):
            checkpoint_to_resume(run, str(newest))
        assert checkpoint_to_resume(run, True) == str(run / "checkpoint-1"), name
        (newest / name).write_bytes(content)
    check_checkpoint(newest)


@pytest.mark.fault("resume")
@pytest.mark.parametrize(
    "spoil", [lambda text: text[: len(text) // 2], lambda text: "", lambda text: text[: text.index("\n") + 1]]
)
def test_damaged_checksums_vouch_for_nothing(run, spoil):
    checksums = run / "checkpoint-2" / CHECKSUMS_FILE_NAME
    checksums.write_text(spoil(checksums.read_text()))
    assert last_complete_checkpoint(run) == str(run / "checkpoint-1")


@pytest.mark.fault("resume")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone(run, name):
    (run / "checkpoint-2" / name).unlink()
    with pytest.raises(CheckpointError, match=rf"checkpoint-2 .*{name}"):
        checkpoint_to_resume(run, run / "checkpoint-2")
    assert checkpoint_to_resume(run, True) == str(run / "checkpoint-1")


def test_a_checkpoint_of_an_earlier_version_is_taken_with_a_warning(run, caplog):
    (run / "checkpoint-2" / CHECKSUMS_FILE_NAME).unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoint_to_resume(run, True) == str(run / "checkpoint-2")
    assert "checkpoint-2 has no SHA256SUMS" in caplog.text


def test_what_does_not_matter_to_a_resume_is_free(run):
    (run / "checkpoint-2" / "README.md").write_text("mine")
    (run / "checkpoint-2" / "config.json").unlink()
    (run / "checkpoint-latest").mkdir()
    assert checkpoint_to_resume(run, True) == str(run / "checkpoint-2")
    assert checkpoint_to_resume(run, False) is None


@pytest.mark.fault("resume")
def test_nothing_is_left_to_go_on_from(run, caplog):
    (run / "checkpoint-1" / "optimizer.pt").write_bytes(b"")
    (run / "checkpoint-2" / "trainer_state.json").unlink()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(CheckpointError, match=r"no complete checkpoint in .*Begin anew"),
    ):
        checkpoint_to_resume(run, True)
    assert "checkpoint-1 is damaged: optimizer.pt is empty" in caplog.text
    assert "checkpoint-2 is incomplete" in caplog.text
    assert last_complete_checkpoint(run / "nowhere") is None
