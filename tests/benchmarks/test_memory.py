"""The benchmark of memory."""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

from benchmarks import memory
from tests.benchmarks.support import tiny_arguments


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
def test_peaks_of_a_process():
    large = 80_000_000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # this one may have freed memory to reuse
        before, peak, seconds = fresh.submit(memory.around, partial(_filled, large), "wall").result()
        assert large * 0.9 < peak - before < large * 2
        assert seconds > 0
        before, peak, _ = fresh.submit(
            memory.around, partial(_filled, 1), "wall"
        ).result()  # an earlier peak is forgotten
        assert peak - before < large / 2


def _filled(num_bytes):
    return int(np.ones(num_bytes, np.uint8).sum())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
def test_every_system_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch):
    result = memory.measure(tiny_arguments(tmp_path, monkeypatch, lengths=[4.0]))
    for table in result.tables:
        assert set(table.values) == {memory.DIRECTLY, memory.FROM_TRANSCRIPT, memory.LIMIT}
        assert all(table.median(name, 4.0) >= 0 for name in table.values)
