"""What the commands that write texts share."""

import sys
from pathlib import Path

import pytest

from aura_research.texts.writing import texts_to_leave_out, write_texts


def test_texts_are_a_line_each_and_counted(tmp_path, capsys):
    write_texts(tmp_path / "texts.txt", ["Who came?", "Who came first – and who left?"])
    assert (tmp_path / "texts.txt").read_text(encoding="utf-8") == "Who came?\nWho came first – and who left?\n"
    assert "texts.txt: 2 texts, 5 distinct words" in capsys.readouterr().out


def test_what_is_reserved_is_left_out_without_the_quiz_too(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["names"])
    reserved = texts_to_leave_out(Path("names.txt"))
    assert reserved.holds("What is the supreme law of the land?")
    assert not reserved.holds("What is a hammer used for?")
    monkeypatch.setattr(sys, "argv", ["names", "--quiz", "wheel"])
    with pytest.raises(SystemExit):
        texts_to_leave_out(Path("names.txt"))
