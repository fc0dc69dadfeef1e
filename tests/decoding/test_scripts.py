import pytest

from transformers_aura.decoding.scripts import is_written_without_blanks, joined


@pytest.mark.parametrize("text", ["コーヒーをください", "我要一杯咖啡", "ขอกาแฟหนึ่งแก้ว", " いくさだをコヒー"])
def test_scripts_without_blanks(text: str) -> None:
    assert is_written_without_blanks(text)


@pytest.mark.parametrize("text", ["", "Kaffee", "кофе, пожалуйста", "커피 주세요", "हिन्दी", "Sony の TV set"])
def test_scripts_with_blanks(text: str) -> None:
    assert not is_written_without_blanks(text)


def test_texts_are_joined_as_their_script_asks() -> None:
    assert joined(["ein", "", "Kaffee"]) == "ein Kaffee"
    assert joined(["珈琲を", "ください"]) == "珈琲をください"
    assert joined(["Kaffee", "ください"]) == "Kaffee ください"
