import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from transformers_aura.decoding.alphabet import CharacterAlphabet
from transformers_aura.decoding.text_statistics import TextStatistics


TEXTS = ["The cat sat.", "The cat is Ötzi's cat.", "Über die Maße"]
TOKEN_IDS = [[1, 2, 3, 4], [1, 2, 5, 6, 2, 4], [7, 8]]


@pytest.fixture
def statistics():
    return TextStatistics.count(TEXTS, TOKEN_IDS, CharacterAlphabet(" abcdehistuzmrßöü'"), 12, 10)


def test_a_file_holds_all_of_it(statistics, tmp_path):
    statistics.save(tmp_path / "counted.safetensors")
    again = TextStatistics.load(tmp_path / "counted.safetensors", 12)
    assert again.end == 10
    assert again.lexicon.words == statistics.lexicon.words
    assert {word: list(forms) for word, forms in again.lexicon.forms.items()} == statistics.lexicon.forms
    assert "Ötzi's" in {form for forms in again.lexicon.forms.values() for form in forms}
    contexts = [grid.ravel() for grid in np.meshgrid(*[np.arange(12)] * 3)]
    assert np.array_equal(again.ngram.log_probabilities(*contexts), statistics.ngram.log_probabilities(*contexts))
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "counted.safetensors").read_bytes()


def test_counts_of_another_llm_are_refused(statistics, tmp_path):
    statistics.save(tmp_path / "counted.safetensors")
    with pytest.raises(
        ValueError,
        match=r"counted\.safetensors was counted on the tokens of an LLM with 12 tokens, this student's has 13",
    ):
        TextStatistics.load(tmp_path / "counted.safetensors", 13)


def test_a_damaged_file_is_named(statistics, tmp_path):
    file = tmp_path / "counted.safetensors"
    statistics.save(file)
    arrays = load_file(file)
    del arrays["trigrams"]
    save_file(arrays, file)
    with pytest.raises(ValueError, match=r"counted\.safetensors cannot be read .*aura count-text"):
        TextStatistics.load(file, 12)
    file.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="cannot be read as text statistics"):
        TextStatistics.load(file, 12)
