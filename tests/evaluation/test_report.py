import pytest

from tests.evaluation.support import right_on
from tests.evaluation.test_evaluation import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    systems = [right_on(range(9), "student"), right_on(range(12), "gold", needs_text=True)]
    evaluate(folder, systems, conditions=("clean", "gain:-6", "gain:-12", "shuffled"))
    return folder


def test_a_row_a_system_a_column_a_scorer(folder):
    report = (folder / "results.md").read_text()
    assert "| system | n | failed | contains | exact_match | squad_f1 |" in report
    assert "| student | 12 | 0 | 75.0 % (46.8 % to 91.1 %) | 0.0 % " in report
    assert "| benchmark | condition | student | gold |" in report
    rows = [line.split(" | ")[:3] for line in report.splitlines() if line.startswith("| quiz (contains) |")]
    assert [condition for _, condition, _ in rows] == ["clean", "gain:-6", "gain:-12", "shuffled", "gain:all"]
    assert rows[0][2].startswith("75.0 %")
    assert "| system | even | odd |" in report
    tested = [line.split(" | ")[0] for line in report.splitlines() if "student - gold" in line]
    assert tested == ["| clean", "| shuffled", "| gain:all"], "of the headline scorer, all amounts together"
    assert "3 of 12" in report, "what gold gets and the student misses"
    assert "[q9](examples/quiz_q9.flac)" in report


def test_pictures_are_drawn_and_shown(folder):
    report = (folder / "results.md").read_text()
    for name in ("quiz-gain.png", "quiz-by-accent.png", "quiz-lost.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in report


def test_folders_of_the_machine_stay_out_of_the_report(tmp_path):
    student = right_on(range(3), "student")
    student.identity = {"base": "/home/me/models/base", "fingerprint": "a" * 400, "weights": "b" * 64}
    evaluate(tmp_path, [student])
    report = (tmp_path / "results.md").read_text()
    assert '{"base": "base", "fingerprint": "aaaaaaaaaaaaaaaa...", "weights": "' + "b" * 64 in report
    assert "/home/me" not in report
    assert "/home/me" in (tmp_path / "results.json").read_text()
