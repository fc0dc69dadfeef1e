"""What the demos print, and the picture of the training one."""

import pytest

from demo.figure import draw
from demo.report import share_right


def test_a_share_is_printed_with_its_interval():
    assert share_right(15, 148) == "15 of 148 = 10% (6% to 16%)"


def test_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    name = "cosine/student_4_teacher_0"
    warm_up = {"step": 10, "cosine": 0.1, "cosine_loss": 0.9, "mse_loss": 1.1, name: 0.1}
    joint = warm_up | {"step": 20, "lm_loss": 3.0, name: 0.4}
    draw(tmp_path / "demo.png", [warm_up, joint], [[0.1, 0.2]] * 3, [[0.3, 0.4]] * 3)
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
