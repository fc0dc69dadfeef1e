"""The page in docs, from a report."""

import pytest

from aura_research.measure.publish import publish
from tests.evaluation.support import right_on
from tests.evaluation.test_evaluation import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    evaluate(folder, [right_on(range(9), "aura")], conditions=("clean", "gain:-6", "gain:-12"))
    return folder


def test_the_page_holds_the_figures_and_its_own_pictures(folder, tmp_path):
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    (page.parent / "results").mkdir()
    (page.parent / "results" / "old.png").write_bytes(b"")
    publish(folder, page)
    text = page.read_text()
    assert "| aura | 12 | 0 | 75.0 % " in text
    assert "![quiz-gain](results/quiz-gain.png)" in text
    assert sorted(path.name for path in (page.parent / "results").iterdir()) == ["quiz-by-accent.png", "quiz-gain.png"]
    assert "examples/" not in text, "recordings are not published"
    assert "| aura | q9 | answer 9 | No idea. |" in text
    assert "None of this has been run" in text


def test_recordings_of_every_part_of_a_measurement_lose_their_links(tmp_path):
    (tmp_path / "results.md").write_text(
        "# Results\n\n| [a.flac](orders/examples/a.flac) | [b.flac](examples/b.flac) |\n"
    )
    publish(tmp_path, tmp_path / "page.md")
    assert "| a.flac | b.flac |" in (tmp_path / "page.md").read_text()
