from itertools import islice

import pytest

from tests.distillation.streams.support import write_json_lines, write_tar, write_tars
from transformers_aura.distillation.recipe import DataSection, DataSource
from transformers_aura.distillation.streams import loader
from transformers_aura.distillation.streams.loader import StreamLoader
from transformers_aura.distillation.streams.sources import load_stream


def collate(rows):
    if any(row["transcript"] == "broken" for row in rows):
        raise ValueError("this clip cannot be read.")
    return {"texts": [row["transcript"] for row in rows]}


def loader_of(folder, workers=2, **settings):
    stream = load_stream(DataSection([DataSource(str(folder))], stream=True, shuffle_buffer=4), seed=1)
    return StreamLoader(stream, collate, batch_size=2, num_workers=workers, **settings)


def texts(batches):
    return [batch["texts"] for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_behind_the_batch_that_was_taken_not_the_one_that_was_read(tmp_path, workers):
    every = write_tars(tmp_path, [7, 2, 5])
    whole = texts(loader_of(tmp_path, workers))
    assert sorted(text for batch in whole for text in batch) == sorted(every)
    for taken in (1, 2, 5, len(whole)):
        stopped = loader_of(tmp_path, workers)
        assert texts(islice(stopped, taken)) == whole[:taken]
        resumed = loader_of(tmp_path, workers)
        resumed.load_state_dict(stopped.state_dict())
        resumed.set_epoch(0)
        assert texts(resumed) == whole[taken:]
        resumed.set_epoch(1)
        second = texts(resumed)
        assert len(second) == len(whole)
        assert second != whole


def test_a_state_of_another_run_is_refused_with_its_reason(tmp_path):
    write_tars(tmp_path, [3, 3])
    state = loader_of(tmp_path, 2).state_dict()
    for settings, reason in (({"workers": 0}, "of 2 workers, not 1"), ({"world_size": 2}, "of 1 processes, not 2")):
        with pytest.raises(ValueError, match=reason):
            loader_of(tmp_path, **settings).load_state_dict(state)
    write_tars(tmp_path, [3, 3, 3])
    with pytest.raises(ValueError, match="of other sources"):
        loader_of(tmp_path, 2).load_state_dict(state)


def test_a_row_that_cannot_be_collated_is_named_and_not_by_a_traceback(tmp_path):
    path = write_tar(
        tmp_path / "a.tar", {str(n): {"flac": b"", "txt": b"broken" if n == 5 else b"fine"} for n in range(8)}
    )
    with pytest.raises(ValueError, match=f"^{path}, 5: this clip cannot be read.$"):
        list(loader_of(tmp_path, 1))


def test_few_shards_are_said_in_numbers(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loader.logger, "warning", said.append)
    write_tars(tmp_path, [3, 3, 3])
    loader_of(tmp_path, 2, world_size=2).warn_of_few_shards()
    assert "has 3 shard(s) for 4 readers (2 process(es) x 2 worker(s))" in said[0]
    loader_of(tmp_path, 1, world_size=3).warn_of_few_shards()
    write_json_lines(tmp_path / "lines", 2)
    loader_of(tmp_path / "lines", 2).warn_of_few_shards()
    assert len(said) == 1
