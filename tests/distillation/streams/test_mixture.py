from collections import Counter
from dataclasses import dataclass
from itertools import islice

import pytest

from transformers_aura.distillation.examples import AUGMENTATION_SEED_KEY
from transformers_aura.distillation.streams.mixture import StreamedRows, StreamedSource


@dataclass(frozen=True)
class Numbers:
    """A shard of numbers that counts how many rows were read of it."""

    name: str
    begin: int
    end: int

    def rows(self, start, step):
        for number in range(self.begin + start, self.end, step):
            yield f"{self.name}, {number}", {"audio": number}


def source(name, lengths, **settings):
    shards, begin = [], 0
    for index, length in enumerate(lengths):
        shards.append(Numbers(f"{name}{index}", begin, begin + length))
        begin += length
    return StreamedSource(name, shards, lambda row, place: {**row, "transcript": name}, **settings)


def read(stream, readers, epoch=0):
    """What each reader gets, as (source, number)."""
    return [
        [(row["transcript"], row["audio"]) for row, _, _ in stream.read(epoch, reader, readers)]
        for reader in range(readers)
    ]


def everything(*sources):
    return Counter((each.name, n) for each in sources for shard in each.shards for n in range(shard.begin, shard.end))


@pytest.mark.parametrize("readers", [1, 2, 3, 4, 7])
def test_each_row_has_one_reader_however_many_shards_there_are(readers):
    sources = [source("a", [5, 1, 8, 3]), source("b", [10]), source("c", [2, 2, 2, 2, 2, 2, 2, 2, 2], repeat=2)]
    stream = StreamedRows(sources, seed=3, buffer_size=4)
    found = Counter(pair for part in read(stream, readers) for pair in part)
    assert found == everything(*sources[:2]) + everything(sources[2]) + everything(sources[2])


def test_orders_differ_between_epochs_and_seeds_but_not_between_runs():
    sources = [source("a", [20, 20, 20])]
    stream = StreamedRows(sources, seed=1, buffer_size=16)
    (first,) = read(stream, 1)
    assert read(stream, 1) == [first]
    assert sorted(first) != first
    orders = {tuple(part) for epoch in range(3) for part in read(stream, 1, epoch)}
    assert len(orders | {tuple(read(StreamedRows(sources, seed=2, buffer_size=16), 1)[0])}) == 4


def test_a_reader_goes_on_behind_every_row():
    sources = [source("a", [7, 5, 9]), source("b", [4], repeat=3)]
    stream = StreamedRows(sources, seed=5, buffer_size=6)
    whole = list(stream.read(2, 1, 2))
    assert len({row[AUGMENTATION_SEED_KEY] for row, _, _ in whole}) == len(whole)
    for taken, (_, _, place) in enumerate(whole, start=1):
        assert list(stream.read(2, 1, 2, place)) == whole[taken:]


def test_going_on_reads_no_more_than_a_window_again(monkeypatch):
    stream = StreamedRows([source("a", [50] * 20)], buffer_size=10)
    *_, (_, _, place) = islice(stream.read(0), 707)
    read_again = []
    rows = Numbers.rows
    monkeypatch.setattr(
        Numbers, "rows", lambda *arguments: (read_again.append(row) or row for row in rows(*arguments))
    )
    next(stream.read(0, place=place))
    assert len(read_again) == 10


def test_weights_hold_to_the_end_and_sources_begin_anew():
    sources = [source("a", [60, 60], weight=3.0), source("b", [4, 4], weight=1.0)]
    (rows,) = read(StreamedRows(sources, buffer_size=8), 1)
    for start in range(0, len(rows) - 8, 8):
        assert Counter(name for name, _ in rows[start : start + 8]) == {"a": 6, "b": 2}
    seen = Counter(rows)
    assert len(rows) == 160, "until the longer one has been seen whole"
    assert all(seen[pair] == 1 for pair in everything(sources[0]))
    assert {seen[pair] for pair in everything(sources[1])} == {5}


def test_a_source_without_a_row_for_a_reader_ends_nothing():
    sources = [source("a", [1], weight=1.0), source("b", [8, 8], weight=1.0)]
    parts = read(StreamedRows(sources, buffer_size=2), 2)
    assert [sum(name == "b" for name, _ in part) for part in parts] == [8, 8]
    assert not any(name == "a" for name, _ in parts[1])
