"""The campaign sees every kind of fault: areas that are wrong on purpose."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.fuzz import campaign
from tests.fuzz.campaign import Area, Silent, judge, run_apart
from tests.fuzz.report import _filled, fault_tests
from transformers_aura import load_audio


def ask(how: str) -> None:
    match how:
        case "silent":
            raise Silent("half of it")
        case "unclear":
            raise KeyError("role")
        case "slow":
            sum(range(10**7))
        case "hungry":
            global kept
            kept = bytearray(b"x" * (64 << 20))
        case "refused" | "unnamed":
            load_audio(b"no recording")


def area(how: str) -> Area:
    names = ("the date",) if how == "unnamed" else ("bytes given as audio",)
    return Area("test", lambda: st.just(how), ask, lambda given: names, share=1.0)


@pytest.mark.parametrize("how", ["answered", "refused", "silent", "unclear", "slow", "hungry"])
def test_each_outcome_is_told_apart(how, monkeypatch):
    if how == "slow":  # else a busy machine could be slow at anything
        monkeypatch.setattr(campaign, "CPU_SECONDS", 0.1)
    monkeypatch.setattr(campaign, "MEGABYTES", 32.0)
    assert judge(area(how), how)[0] == how


def test_a_refusal_must_name_what_was_given():
    outcome, message = judge(area("unnamed"), "unnamed")
    assert outcome == "unclear"
    assert "bytes given as audio" in message


def test_an_error_of_another_package_is_no_refusal():
    def ask_numpy(given):
        import numpy

        numpy.zeros(3).reshape(2, 2)

    outcome, message = judge(Area("test", st.none, ask_numpy, lambda given: ("reshape",), share=1.0), None)
    assert outcome == "unclear"
    assert "reshape" in message


def test_a_campaign_in_a_process_of_its_own_counts_every_input():
    tally = run_apart("samples", first_seed=0, inputs=250)
    assert tally.inputs == 250
    assert tally.counts["answered"] > 20
    assert tally.counts["refused"] > 20


def test_a_table_replaces_the_one_before():
    page = "# Page\n<!-- campaign: begin -->\nold\n<!-- campaign: end -->\nrest\n"
    assert _filled(page, "campaign", "new") == "# Page\n<!-- campaign: begin -->\nnew\n<!-- campaign: end -->\nrest\n"
    with pytest.raises(ValueError, match="no mark"):
        _filled("# Page", "campaign", "new")


def test_tests_that_inject_a_fault_are_counted(tmp_path):
    (tmp_path / "test_two.py").write_text(
        "import pytest\n"
        "@pytest.mark.fault('disk')\n@pytest.mark.parametrize('n', [1, 2])\ndef test_full(n): ...\n"
        "def test_other(): ...\n"
    )
    assert fault_tests(tmp_path) == {"disk": 2}
