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


def changed(name, change):
    return lambda arrays: arrays | {name: change(arrays[name])}


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (changed("unigrams", lambda a: np.full_like(a, np.nan)), "`unigrams` are no logarithms"),
        (changed("bigram_backoffs", lambda a: np.full_like(a, -np.inf)), "`bigram_backoffs` are no logarithms"),
        (changed("trigram_log_probabilities", lambda a: a + 5), "`trigram_log_probabilities` are no logarithms"),
        (changed("word_log_probabilities", lambda a: a.astype(np.int8)), "`word_log_probabilities` are no logarithms"),
        (changed("unigrams", lambda a: a[:-1]), r"`unigrams` has the shape \(11,\), not \(12,\)"),
        (changed("bigrams", lambda a: a[::-1].copy()), "`bigrams` are no sorted keys"),
        (changed("bigrams", lambda a: a + 12**2), "`bigrams` are no sorted keys"),
        (changed("trigrams", lambda a: a.astype(np.float32)), "`trigrams` are no sorted keys"),
        (changed("word_lengths", lambda a: a + 1), "`word_lengths` do not divide"),
        (changed("word_symbols", lambda a: a * 0), "`word_symbols` are no characters"),
        (changed("word_forms", lambda a: a[:3]), "aura count-text"),
        (changed("end", lambda a: a + 100), "the end of a text has the id 110, but there are 12 tokens"),
    ],
)
def test_counts_that_no_text_gives_are_refused(statistics, tmp_path, edit, message):
    file = tmp_path / "counted.safetensors"
    statistics.save(file)
    save_file(edit(load_file(file)), file)
    with pytest.raises(ValueError, match=rf"counted\.safetensors cannot be read as text statistics.*{message}"):
        TextStatistics.load(file, 12)
