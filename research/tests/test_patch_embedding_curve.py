"""A curve of lighter patch embeddings: each is taught once, and fewer blocks and longer steps cost fewer operations."""

import json
from pathlib import Path

import pytest

from aura_research import patch_embedding_curve
from aura_research.patch_embedding_curve import Shape, main
from transformers_aura import AuraAudioConfig, AuraConfig


def test_shapes_are_taught_once_and_compared(
    student_to_lighten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_embedding_curve, "SHAPES", (Shape(4, (0,)), Shape(8, ())))
    arguments = [str(student_to_lighten), str(tmp_path / "curve"), str(tmp_path / "corpus"), "--steps", "3"]
    main(arguments)
    found = json.loads((tmp_path / "curve" / "curve.json").read_text())
    assert [row["name"] for row in found["shapes"]] == [
        "1 block, 25 steps a second",
        "stem alone, 12.5 steps a second",
    ]
    one_block, stem = found["shapes"]
    assert found["whole"] > one_block["operations"] > stem["operations"] > 0
    assert min(row["embedding"] for row in found["shapes"]) > 0
    assert (tmp_path / "curve" / "curve.png").stat().st_size > 1000

    monkeypatch.setattr(
        patch_embedding_curve.lighten_patch_embedding, "main", lambda argv: pytest.fail("taught again")
    )
    main(arguments)


def test_operations_are_those_of_the_benchmark() -> None:
    """For the student that ships."""
    config = AuraConfig.from_pretrained(Path(__file__).parents[2] / "hub_cards" / "aura-smollm2-135m-light")
    assert isinstance(config.audio_config, AuraAudioConfig)
    assert patch_embedding_curve.operations_share(config) == pytest.approx(0.0777, abs=2e-4)
