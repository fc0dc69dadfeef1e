"""What the common tests of transformers need before they are imported: no network, one thread a process, the tests themselves.

At the end of a run: how many tests of each case ran.
"""

import os
import sys
from collections import Counter, defaultdict

import pytest


os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
)

from transformers import testing_utils

from tests_peer.common_tests import STUBS, make_common_tests_importable


make_common_tests_importable()
sys.path.append(str(STUBS))  # the processor's tests import `fetch_hub_objects_for_ci` by that name alone

# Theirs load audio with librosa where a processor's own `load_audio` does not; this one's does, without it.
testing_utils.require_librosa = lambda test: test

_OUTCOMES = {"passed": "passed", "xfailed": "exempted", "failed": "failed", "error": "failed", "skipped": "not for it"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each test case; subtests do not count."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome, name in _OUTCOMES.items():
        for report in terminalreporter.stats.get(outcome, []):
            if isinstance(report, pytest.TestReport) and not hasattr(report, "context"):
                counts[report.nodeid.split("::")[1]][name] += 1
    terminalreporter.section("tests of each case")
    names = list(dict.fromkeys(_OUTCOMES.values()))
    terminalreporter.write_line(f"{'':34}" + "".join(f"{name:>12}" for name in names))
    for case, of_case in [*sorted(counts.items()), ("together", sum(counts.values(), Counter()))]:
        terminalreporter.write_line(f"{case:34}" + "".join(f"{of_case[name]:>12}" for name in names))
