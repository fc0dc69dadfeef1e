"""Counted text goes into a student's folder, and comes along when the student is loaded."""

from pathlib import Path

import pytest
from safetensors import SafetensorError

from tests.support.tiny import tiny_processor
from tests.support.tiny_models import tiny_student
from transformers_aura import AuraForSpeechQA
from transformers_aura.cli.main import main
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from transformers_aura.hub import HubError
from transformers_aura.hub.text_statistics import add_text_statistics


def saved_student(folder: Path, **settings: object) -> Path:
    student = folder / "student"
    tiny_student(folder / "base", **settings).save_pretrained(student)
    tiny_processor().save_pretrained(student)
    return student


def test_the_command_counts_lines_and_the_student_loads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = saved_student(tmp_path, character_ctc_alphabet=LATIN_ALPHABET, subword_ctc_layer=2)
    texts = tmp_path / "texts.txt"
    texts.write_text("Who spoke?\n\n  Who listened?  \n")
    with pytest.raises(SystemExit) as stopped:
        main(["count-text", str(student), str(texts)])
    assert stopped.value.code == 0, capsys.readouterr().err
    statistics = AuraForSpeechQA.from_pretrained(student).text_statistics
    assert statistics is not None
    assert {form for forms in statistics.lexicon.forms.values() for form in forms} == {"Who", "spoke", "listened"}


@pytest.mark.fault("disk")
def test_on_a_full_disk_the_earlier_counts_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = saved_student(tmp_path, character_ctc_alphabet=LATIN_ALPHABET, subword_ctc_layer=2)
    before = add_text_statistics(student, ["Who spoke?"]).read_bytes()

    def fill_up(self: TextStatistics, path: Path) -> None:
        path.write_bytes(before[:10])
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(TextStatistics, "save", fill_up)
    with pytest.raises(OSError, match=f"No space left on device: '{student}'"):
        add_text_statistics(student, ["Who listened?"])
    assert (student / TEXT_STATISTICS_FILE_NAME).read_bytes() == before


def test_nothing_to_count_and_nothing_to_count_for_are_errors(tmp_path: Path) -> None:
    with pytest.raises(HubError, match="no character CTC head"):
        add_text_statistics(saved_student(tmp_path / "without"), ["Who?"])
    student = saved_student(tmp_path / "with", character_ctc_alphabet=LATIN_ALPHABET)
    with pytest.raises(HubError, match="no text to count"):
        add_text_statistics(student, [" ", ""])
