"""Benchmarks that need no more than a tiny student: batches, loading, graph breaks, large shapes (here small ones)."""

import pytest
from transformers import AutoConfig

from benchmarks import generation, graph_breaks, large, loading
from benchmarks.first_token import CASCADE, DIRECTLY, LIMIT, MERGED
from benchmarks.peers import LAYOUTS
from benchmarks.shapes import RandomSystems, Shapes
from tests.benchmarks.support import tiny_arguments


def test_batches_of_questions_are_answered_with_as_many_tokens(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch, batch_sizes=[1, 2], length=1.0, tokens=4)
    whole, decoding = generation.measure(arguments).tables
    assert set(whole.values) == set(decoding.values) == {LIMIT, MERGED, DIRECTLY, CASCADE}
    assert whole.case_names == decoding.case_names == ["1", "2"]
    systems = generation.Systems(arguments.student, arguments.base_model)
    for run in generation.runs_of(systems, 2, 1.0).values():
        assert len(run(3)) == 2


def test_loading_and_importing_are_timed(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch)
    monkeypatch.setattr(loading, "imports_of", lambda: {loading.TRANSFORMERS: lambda: None})
    load, imports = loading.measure(arguments).tables
    assert set(load.values) == {loading.LANGUAGE_MODEL, loading.STUDENT, loading.MERGED, loading.CASCADE}
    assert imports.case_names == ["import"]


@pytest.mark.slow
def test_graph_breaks_are_counted(tmp_path, monkeypatch):
    result = graph_breaks.measure(tiny_arguments(tmp_path, monkeypatch))
    (table,) = result.tables
    assert result.is_counted
    assert set(table.values) == {graph_breaks.UNMERGED, graph_breaks.MERGED}
    assert table.case_names == ["prefill", "decoding"]
    assert all(values[0] >= 0 for by_case in table.values.values() for values in by_case.values())
    assert "breaks" in table.to_markdown()


@pytest.fixture
def small_shapes(tmp_path, monkeypatch):
    """As large as the tiny models, in the place of Qwen2.5-7B's."""
    arguments = tiny_arguments(tmp_path, monkeypatch, lengths=[1, 31], shapes="qwen2.5-7b")
    student = AutoConfig.from_pretrained(arguments.student)
    shapes = Shapes("small", student, AutoConfig.from_pretrained(tmp_path / "whisper"))
    monkeypatch.setitem(large.SHAPES, "qwen2.5-7b", lambda name: shapes)
    return arguments, shapes


def test_large_shapes_go_the_same_way_when_they_are_small(small_shapes):
    arguments, _ = small_shapes
    (table,) = large.measure(arguments).tables
    assert set(table.values) == {LIMIT, MERGED, CASCADE, *(layout.name for layout in LAYOUTS)}
    assert table.case_names == ["1", "31"]


def test_weights_of_random_systems_are_those_of_their_models(small_shapes):
    arguments, shapes = small_shapes
    systems = RandomSystems(arguments.student, shapes=shapes)
    weights = large.weights_of(systems)
    merged = systems.merged_model
    assert weights[MERGED] == 4 * sum(parameter.numel() for parameter in merged.parameters())
    assert systems.language_model.model is merged.model.language_model
    assert weights[CASCADE] > weights[LIMIT]
