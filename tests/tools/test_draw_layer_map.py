"""The likeness of layers, and what docs/how-aura-hears.md says of the packaged student's."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.draw_layer_map import layer_map, linear_cka


DOCS = Path(__file__).parents[2] / "docs"


def test_likeness_does_not_see_rotation_scale_and_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(200, 8, generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator))
    assert linear_cka(states, 3 * states @ rotation + 5) == pytest.approx(1)
    # By hand: centred (1, -1) and (1, 1, -1, -1) patterns share nothing, and half of what holds both is one of them.
    first, second = torch.tensor([[1.0], [-1], [1], [-1]]), torch.tensor([[1.0], [1], [-1], [-1]])
    assert linear_cka(first, second) == pytest.approx(0)
    assert linear_cka(first, torch.cat([first, second], dim=1)) == pytest.approx(1 / 2**0.5)
    assert np.allclose(layer_map([first, second], [first, second]), np.eye(2))


def test_the_page_says_what_was_measured() -> None:
    found = json.loads((DOCS / "images" / "layer_map.json").read_text())
    page = (DOCS / "how-aura-hears.md").read_text(encoding="utf-8")
    assert f"{found['audio_tokens']} audio tokens of the {found['recordings']} recordings" in page
    as_it_is = (
        np.argmax(found["with its LoRA"], axis=1) + 1
    )  # the nearest teacher layer of the patch embedding, then of each decoder layer
    without = np.argmax(found["with its LoRA set to zero"], axis=1) + 1
    (nearest,) = re.findall(r"The patch embedding is most like the teacher's layer (\d+)\.", page)
    (turn, last) = re.search(r"From layer (\d+) on, the student is most like layer (\d+), the last one", page).groups()
    assert as_it_is[0] == int(nearest)
    assert int(last) == len(found["with its LoRA"][0])
    assert set(as_it_is[int(turn) :]) == {int(last)}
    assert as_it_is[int(turn) - 1] != int(last)
    assert f"All layers stay most like layer {nearest}." in page
    assert set(without) == {int(nearest)}
