"""The benchmark of memory."""

import sys

import numpy as np
import pytest

from benchmarks import memory
from tests.benchmarks.support import tiny_arguments


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
def test_peaks_of_a_process():
    large = 80_000_000
    before, peak, seconds = memory.around(lambda: np.ones(large, np.uint8).sum(), "wall")
    assert large * 0.9 < peak - before < large * 2
    assert seconds > 0
    before, peak, _ = memory.around(lambda: None, "wall")  # an earlier peak is forgotten
    assert peak - before < large / 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
def test_every_system_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    result = memory.measure(tiny_arguments(tmp_path, monkeypatch, lengths=[4.0]))
    for table in result.tables:
        assert set(table.values) == {memory.DIRECTLY, memory.FROM_TRANSCRIPT, memory.LIMIT}
        assert all(table.median(name, 4.0) >= 0 for name in table.values)
