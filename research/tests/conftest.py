"""The research project's tests stand on the product's: the same Hub on loopback, the same tiny models."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import fake_hub, may_only_read, may_write, pytest_unconfigure
from tests.support.fake_hub import FakeHub
from tests.support.published import publish_base, save_student
from tests.support.training import write_corpus


__all__ = ["fake_hub", "may_only_read", "may_write", "pytest_unconfigure"]


@pytest.fixture
def student_to_lighten(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student with two convolution blocks and both CTC heads; a corpus of twelve clips and a noise stand beside it."""
    monkeypatch.setattr("aura_research.lighten_patch_embedding.acted_folder", lambda: tmp_path / "absent")
    publish_base(fake_hub, tmp_path / "base")
    save_student(
        tmp_path / "student",
        conv_blocks=2,
        conv_block_type="kernel",
        character_ctc_alphabet=" abc",
        subword_ctc_layer=1,
    )
    write_corpus(tmp_path / "corpus", num_train=12, shortest_seconds=1.0)
    (tmp_path / "corpus" / "noise").mkdir()
    noise = np.random.default_rng(0).standard_normal(16000) * 0.1
    soundfile.write(tmp_path / "corpus" / "noise" / "kitchen.flac", noise, 16000)
    return tmp_path / "student"
