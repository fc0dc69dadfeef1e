"""The table of docs/distributed.md is what its command prints."""

from pathlib import Path

import pytest

from benchmarks.sharded_training import SETUPS, compute, markdown


DOCS = Path(__file__).parents[1] / "docs" / "distributed.md"


def test_the_table_of_the_docs_is_computed_anew():
    computed = [compute(setup) for setup in SETUPS]
    assert markdown(computed) in DOCS.read_text(encoding="utf-8")
    small, large = computed
    assert small.sharded.num_base_parameters == 7_615_616_512
    assert large.sharded.num_base_parameters == 70_553_706_496
    for each in computed:
        assert sum(each.memory.values()) < 80e9
        # A frozen weight takes part three times: forward, again for backward, and for the gradient of its input; two operations each.
        layers = each.sharded.gathered_bytes / 2
        tokens = each.rows.count * (125 + each.rows.prompt_tokens + each.rows.answer_tokens)
        assert each.cost.operations["base LLM"] == pytest.approx(6 * layers * tokens, rel=0.05)
