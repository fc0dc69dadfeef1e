"""Tables of a result: ratios, Markdown, JSON, plots."""

import pytest

from benchmarks.results import Ratio, Result, Table, draw, read_results, with_unit


def table_of_two() -> Table:
    table = Table("Times", "s", "seconds of audio", "fast")
    table.add(3, {"slow": [3.0, 9.0, 4.0], "fast": [1.0, 3.0, 2.0]})
    table.add(10.0, {"fast": [1.5]})
    return table


def test_a_ratio_is_taken_within_each_round():
    table = table_of_two()
    assert table.ratio("slow", "fast", 3) == Ratio(3.0, 2.5, 3.0)
    assert table.ratio("slow", "fast", "10") is None
    assert table.median("slow", 3) == 4.0
    assert table.rounds == "1 to 3"
    table.add(30, {"slow": [1.0, 2.0], "fast": [1.0]})
    with pytest.raises(ValueError, match="zip"):
        table.ratio("slow", "fast", 30)


def test_the_reference_stands_in_its_unit_and_the_others_as_ratios():
    assert table_of_two().to_markdown().splitlines() == [
        "| system | 3 | 10 |",
        "| --- | ---: | ---: |",
        "| fast (= 1) | 2.00 s | 1.50 s |",
        "| slow | x 3.00 (2.50 to 3.00) |  |",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (15.2e9, "bytes", "15.2 GB"),
        (4.08e9, "operations", "4.08 G"),
        (3, "breaks", "3 breaks"),
        (0, "bytes", "0 bytes"),
    ],
)
def test_numbers_have_their_units(value, unit, text):
    assert with_unit(value, unit) == text


def test_a_result_is_read_as_it_was_written_and_says_where_it_comes_from(tmp_path):
    machine = {"processor": "P", "instructions": "AVX2", "cores": 2, "accelerator": None, "load": 0.1}
    result = Result(
        "first_token",
        "Title.",
        "python -m benchmarks first_token",
        machine=machine | {"torch": "2.13", "transformers": "5.24"},
        settings={"student": "s", "threads": 2, "dtype": "int8", "device": "cuda:0", "clock": "processor"},
        date="2026-01-01",
        tables=[table_of_two()],
        notes=["A note."],
    )
    file = result.write(tmp_path / "new")
    assert file.name == "first_token-2t-int8-cuda-of-s.json"
    assert read_results(tmp_path / "absent", tmp_path / "new") == {file.stem: result}
    text = result.to_markdown()
    for part in (
        "`python -m benchmarks first_token`",
        "2 threads, int8, 1 to 3 rounds, time of the processor",
        "A note.",
    ):
        assert part in text
    assert Result("operations", is_counted=True).file_stem == "operations"


def test_plots_of_numbers_and_of_names(tmp_path):
    table = table_of_two()
    draw(table, tmp_path / "line.png")
    table.add("import", {"slow": [1.0], "fast": [2.0]})
    draw(table, tmp_path / "bars.png")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("line.png", "bars.png"))
