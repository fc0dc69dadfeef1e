"""Two processes with two workers each on streams: each row once an epoch, no process waits for another's rows, and a run that was killed goes on as if it had not been."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.distillation.streams.support import write_json_lines, write_parquet, write_tars


SCRIPT = Path(__file__).with_name("streamed_run.py")


def start(folder: Path, name: str, processes: int = 2, **settings) -> subprocess.CompletedProcess:
    """A run under torchrun."""
    settings = {"folder": str(folder), "output": str(folder / name), "workers": 2, **settings}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [*command, str(SCRIPT), json.dumps(settings)], env=environment, capture_output=True, text=True, timeout=240
    )


def run(folder: Path, name: str, processes: int = 2, **settings) -> list[dict]:
    """What each process of a run says."""
    result = start(folder, name, processes, **settings)
    assert result.returncode == 0, result.stderr[-6000:]
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(processes)]


def of_epoch(results: list[dict], epoch: int) -> list[str]:
    return [text for result in results for at, _, texts in result["seen"] if at == epoch for text in texts]


def test_each_row_once_an_epoch_and_a_killed_run_goes_on(tmp_path):
    # 9 + 2 + 1 + 6 rows in four tars and 5 + 4 in two tables: readers have unequal shares, and two read each table.
    rows = write_tars(tmp_path / "tars", [9, 2, 1, 6]) + write_parquet(tmp_path / "tables", [5, 4])
    sources = [{"source": str(tmp_path / "tars")}, {"source": str(tmp_path / "tables")}]
    settings = {"sources": sources, "steps": 14, "save_steps": 3}
    whole = run(tmp_path, "whole", **settings)
    steps = [[(epoch, step) for epoch, step, _ in result["seen"]] for result in whole]
    assert steps[0] == steps[1]
    first_of_second = next(step for epoch, step in steps[0] if epoch == 1)
    assert 0 < first_of_second < 14
    assert Counter(of_epoch(whole, 0)) == Counter(rows)
    if any(epoch == 2 for epoch, _ in steps[0]):
        assert Counter(of_epoch(whole, 1)) == Counter(rows)
    assert of_epoch(whole, 1) != of_epoch(whole, 0)[: len(of_epoch(whole, 1))]
    assert whole[0]["weights"] == whole[1]["weights"]

    killed = start(tmp_path, "killed", **settings, kill_after=6)
    assert killed.returncode != 0
    resumed = run(tmp_path, "killed", **settings, resume=True)
    for before, after in zip(whole, resumed, strict=True):
        assert after["seen"] == [entry for entry in before["seen"] if entry[1] >= 6]
        assert after["weights"] == before["weights"]
        assert after["epochs"] == before["epochs"]


def test_a_process_without_rows_waits_for_none_and_other_numbers_of_workers_fall_back(tmp_path):
    # One row: three of four readers have none. With accumulation, the last step of an epoch is not whole.
    rows = write_json_lines(tmp_path / "lines", 1)
    settings = {"sources": [{"source": str(tmp_path / "lines")}], "steps": 3, "accumulation": 2, "save_steps": 2}
    results = run(tmp_path, "one", **settings)
    assert [of_epoch(results, epoch) for epoch in range(3)] == [rows] * 3
    sharded = run(tmp_path, "sharded", **settings, more={"fsdp": "full_shard"})
    assert [of_epoch(sharded, epoch) for epoch in range(3)] == [rows] * 3

    result = start(
        tmp_path,
        "one",
        processes=1,
        **{**settings, "workers": 0, "steps": 5},
        resume=str(tmp_path / "one" / "checkpoint-2"),
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "does not tell where this run is in its stream (the state is of 2 processes, not 1)" in result.stderr
