"""Benchmarks: public sets by name, streamed from the Hub, and any folder or manifest of the same columns.

A local copy of a public set is a folder with the rows in `manifest.jsonl` or `*.parquet`, columns as on the Hub: `sd-qa=my/folder`. A set of
one's own is a folder or JSONL manifest with the columns of [`MANIFEST_KEYS`], recordings beside it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .items import Item, Task


MANIFEST_KEYS = ("name", "audio", "task", "question", "answer", "answers", "needed", "transcript", "translation",
                 "slots", "context", "source", "groups", "seconds")  # fmt: skip
"""Columns of a set of one's own. `audio`, and one of `answer(s)`, `slots`, `translation`, `transcript` (what is wanted, unless `task` says
so), are needed. `groups` is a dict (`{"accent": "aus"}`)."""

SD_QA_ACCENTS = ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf")
ORDER_QUESTION = "What was ordered? Answer in JSON."


class BenchmarkError(ValueError):
    """A benchmark that is not there, or rows that are not what they should be. The message names the row."""


@dataclass(frozen=True)
class Benchmark:
    """Where items come from, and how they are scored.

    Attributes:
        name: what it is called in results.
        scorers: names of scorers (see `scorers.registry`), the first one the headline.
        description: one sentence for the report.
        read: makes items of a row; a row may hold several (one recording an accent), or none.
        repo, config, split: the set on the Hub; `None` for one's own.
        accents: columns with audio, where there are several.
    """

    name: str
    scorers: tuple[str, ...]
    description: str
    read: Callable[[dict[str, Any], int], Iterator[Item]] = field(repr=False)
    repo: str | None = None
    config: str | None = None
    split: str = "test"
    accents: tuple[str, ...] = ()


def _answers(value: Any) -> tuple[str, ...]:
    """Accepted answers in any of the forms that sets use: a string, a list, or SQuAD's `{"text": [...]}`."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = value.get("text")
    if isinstance(value, str):
        value = [value]
    return tuple(dict.fromkeys(str(answer).strip() for answer in value or () if str(answer).strip()))


def _read_sd_qa(row: dict[str, Any], number: int) -> Iterator[Item]:
    name = str(row.get("id", number))
    accepted = _answers(row["answers"])
    for accent in SD_QA_ACCENTS if accepted else ():
        if row.get(accent) is None:
            continue
        yield Item(
            name=f"{name}/{accent}",
            task="answer",
            audio=row[accent],
            accepted=accepted,
            text=row.get("question"),
            groups={"accent": accent},
            source=name,
        )


def _read_voicebench(row: dict[str, Any], number: int) -> Iterator[Item]:
    accepted = _answers(row.get("reference") or row.get("answer") or row.get("output"))
    if accepted:
        yield Item(str(row.get("key", number)), "answer", row["audio"], accepted, text=row.get("prompt"))


def _read_heysquad(with_context: bool) -> Callable[[dict[str, Any], int], Iterator[Item]]:
    def read(row: dict[str, Any], number: int) -> Iterator[Item]:
        accepted = _answers(row.get("answers"))
        if accepted and not row.get("is_impossible"):
            yield Item(
                name=str(row.get("id", number)),
                task="answer",
                audio=row["audio"],
                accepted=accepted,
                text=row.get("question"),
                context=row["context"] if with_context else None,
            )

    return read


def _read_transcript(text: str, name: str, speaker: str | None = None, accent: str | None = None) -> Any:
    def read(row: dict[str, Any], number: int) -> Iterator[Item]:
        groups = {"accent": str(row[accent])} if accent and row.get(accent) else {}
        yield Item(
            name=str(row.get(name, number)),
            task="transcript",
            audio=row["audio"],
            accepted=(row[text],),
            text=row[text],
            groups=groups,
            source=str(row[speaker]) if speaker and row.get(speaker) is not None else "",
        )

    return read


def _read_covost(row: dict[str, Any], number: int) -> Iterator[Item]:
    yield Item(
        name=str(row.get("id", number)),
        task="translation",
        audio=row["audio"],
        accepted=(row["translation"],),
        question="Translate the audio into German.",
        text=row.get("sentence"),
    )


def _read_barista(row: dict[str, Any], number: int) -> Iterator[Item]:
    slots = row["slots"] if isinstance(row["slots"], str) else json.dumps(row["slots"], sort_keys=True)
    yield Item(
        name=str(row.get("name") or Path(str(row["audio"])).name),
        task="slots",
        audio=row["audio"],
        accepted=(slots,),
        question=ORDER_QUESTION,
        text=row.get("transcript"),
        groups=dict(row.get("groups") or {}),
    )


def read_own(row: dict[str, Any], number: int) -> Iterator[Item]:
    """An item of one's own set; see [`MANIFEST_KEYS`].

    Raises:
        BenchmarkError: an unknown column, or nothing that could be right.
    """
    unknown = sorted(key for key in row if key not in MANIFEST_KEYS)
    if unknown:
        close = difflib.get_close_matches(unknown[0], MANIFEST_KEYS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise BenchmarkError(f"unknown column '{unknown[0]}'.{suggestion} Columns are {', '.join(MANIFEST_KEYS)}.")
    if row.get("audio") is None:
        raise BenchmarkError("no audio")
    task, accepted = _wanted(row)
    yield Item(
        name=str(row.get("name") or row.get("source") or number),
        task=task,
        audio=row["audio"],
        accepted=accepted,
        question=row.get("question") or (ORDER_QUESTION if task == "slots" else None),
        text=row.get("transcript"),
        context=row.get("context"),
        needed=int(row.get("needed") or 1),
        groups={key: str(value) for key, value in (row.get("groups") or {}).items()},
        source=str(row.get("source") or ""),
        seconds=row.get("seconds"),
    )


def _wanted(row: dict[str, Any]) -> tuple[Task, tuple[str, ...]]:
    slots = row.get("slots")
    candidates: dict[Task, tuple[str, ...]] = {
        "slots": () if slots is None else (slots if isinstance(slots, str) else json.dumps(slots, sort_keys=True),),
        "answer": _answers(row.get("answers")) or _answers(row.get("answer")),
        "translation": _answers(row.get("translation")),
        "transcript": _answers(row.get("transcript")),
    }
    task = row.get("task") or next((name for name, accepted in candidates.items() if accepted), None)
    if task not in candidates or not candidates[task]:
        raise BenchmarkError(
            "no accepted answer: a row needs `answer`, `answers`, `slots`, `translation` or `transcript`"
            + (f" ({row['task']!r} is asked for)" if row.get("task") else "")
        )
    return task, candidates[task]


QA_SCORERS = ("contains", "exact_match", "squad_f1")

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("sd-qa", QA_SCORERS, "Spoken questions, each by speakers of eleven accents of English (SD-QA, dev).",
                  _read_sd_qa, "WillHeld/SD-QA", split="dev", accents=SD_QA_ACCENTS),
        Benchmark("voicebench-sd-qa", QA_SCORERS, "SD-QA as VoiceBench has it.",
                  _read_voicebench, "hlt-lab/voicebench", "sd-qa", split="usa"),
        Benchmark("voicebench-openbookqa", QA_SCORERS, "Multiple-choice questions read aloud (VoiceBench).",
                  _read_voicebench, "hlt-lab/voicebench", "openbookqa"),
        Benchmark("voicebench-mmsu", QA_SCORERS, "Multiple-choice questions of many subjects read aloud (VoiceBench).",
                  _read_voicebench, "hlt-lab/voicebench", "mmsu"),
        Benchmark("voicebench-bbh", QA_SCORERS, "Reasoning tasks read aloud (VoiceBench).",
                  _read_voicebench, "hlt-lab/voicebench", "bbh"),
        Benchmark("heysquad", QA_SCORERS, "Human-spoken SQuAD questions that have an answer, without the paragraph.",
                  _read_heysquad(False), "yijingwu/HeySQuAD_human", split="validation"),
        Benchmark("heysquad-context", QA_SCORERS, "Human-spoken SQuAD questions that have an answer, with the paragraph in writing.",
                  _read_heysquad(True), "yijingwu/HeySQuAD_human", split="validation"),
        Benchmark("librispeech", ("wer", "cer"), "Read English (LibriSpeech test-clean).",
                  _read_transcript("text", "id", "speaker_id"), "openslr/librispeech_asr", "clean"),
        Benchmark("librispeech-other", ("wer", "cer"), "Read English of harder speakers (LibriSpeech test-other).",
                  _read_transcript("text", "id", "speaker_id"), "openslr/librispeech_asr", "other"),
        Benchmark("common-voice", ("wer", "cer"), "Sentences read by volunteers (Common Voice, English).",
                  _read_transcript("sentence", "path", "client_id", "accent"), "mozilla-foundation/common_voice_17_0", "en"),
        Benchmark("covost2", ("bleu",), "English speech, German text (CoVoST 2).",
                  _read_covost, "facebook/covost2", "en_de"),
        Benchmark("barista", ("slots", "slots_strict"), "Orders spoken by real people, answered as one JSON object.", _read_barista),
    )
}  # fmt: skip
"""The public sets, by name."""

OWN_SCORERS: dict[Task, tuple[str, ...]] = {
    "answer": QA_SCORERS,
    "transcript": ("wer", "cer"),
    "translation": ("bleu",),
    "slots": ("slots", "slots_strict"),
}


@dataclass(frozen=True)
class LoadedBenchmark:
    """A benchmark with its items.

    Attributes:
        benchmark: what it is.
        items: unique by name.
        origin: where they came from, with the commit of a Hub set, for the result file.
    """

    benchmark: Benchmark
    items: list[Item]
    origin: dict[str, Any]


def load_benchmark(written: str, limit: int | None = None, revision: str | None = None) -> LoadedBenchmark:
    """A benchmark by its written form.

    Args:
        written: the name of a public set (`sd-qa`), one with a local copy (`sd-qa=folder`), or the folder or manifest of one's own.
        limit: the first so many rows.
        revision: commit, branch or tag of a set on the Hub; the newest without it. What it resolves to is kept in `origin`.

    Raises:
        BenchmarkError: there is no such benchmark, or it holds no item.
    """
    name, _, folder = written.partition("=")
    if name in BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if folder:
            rows, origin = _local_rows(Path(folder)), {"folder": Path(folder).name}
        elif benchmark.repo is None:
            raise BenchmarkError(f"'{name}' is on no Hub: say where it lies, as in '{name}=folder'.")
        else:
            rows, origin = _hub_rows(benchmark, revision)
    elif Path(written).exists():
        path = Path(written)
        benchmark = Benchmark(path.stem, (), "A set of one's own.", read_own)
        rows, origin = _local_rows(path), {"folder": path.name}
    else:
        close = difflib.get_close_matches(name, BENCHMARKS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise BenchmarkError(
            f"'{written}' is neither a benchmark nor a folder or manifest here.{suggestion} There are {', '.join(BENCHMARKS)}."
        )
    items: dict[str, Item] = {}
    for number, row in enumerate(islice(rows, limit), start=1):
        try:
            for item in benchmark.read(row, number):
                if item.name in items:
                    raise BenchmarkError(f"there are two items '{item.name}'")
                items[item.name] = item
        except KeyError as error:
            raise BenchmarkError(f"{written}, row {number}: no column {error}; there are {', '.join(row)}.") from error
        except ValueError as error:
            raise BenchmarkError(f"{written}, row {number}: {error}") from error
    if not items:
        raise BenchmarkError(f"{written} holds no item with an accepted answer.")
    if not benchmark.scorers:
        task = next(iter(items.values())).task
        if other := next((item for item in items.values() if item.task != task), None):
            raise BenchmarkError(
                f"{written}: items of '{task}' and '{other.task}' ({other.name}) need sets of their own."
            )
        benchmark = Benchmark(benchmark.name, OWN_SCORERS[task], benchmark.description, benchmark.read)
    return LoadedBenchmark(benchmark, list(items.values()), origin)


def _local_rows(path: Path) -> Iterator[dict[str, Any]]:
    manifest = path / "manifest.jsonl" if path.is_dir() else path
    if manifest.is_file() and manifest.suffix == ".jsonl":
        yield from _manifest_rows(manifest)
        return
    shards = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    if not shards:
        raise BenchmarkError(f"{path} holds neither manifest.jsonl nor *.parquet.")
    import pyarrow.parquet

    for shard in shards:
        for batch in pyarrow.parquet.ParquetFile(shard).iter_batches(batch_size=64):
            yield from (_without_empty_paths(row) for row in batch.to_pylist())


def _manifest_rows(manifest: Path) -> Iterator[dict[str, Any]]:
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise BenchmarkError(f"{manifest}, line {number} is not JSON: {error}") from error
            for column in ("audio", *SD_QA_ACCENTS):
                if isinstance(row.get(column), str) and "://" not in row[column]:
                    row[column] = str(manifest.parent / row[column])
            yield row


def _without_empty_paths(row: dict[str, Any]) -> dict[str, Any]:
    """Audio columns as `load_audio` takes them: `datasets` writes both `bytes` and `path`, one of them null or a name of long ago."""
    for column, value in row.items():
        if isinstance(value, dict) and value.get("bytes") is not None:
            row[column] = {"bytes": value["bytes"]}
    return row


def _hub_rows(benchmark: Benchmark, revision: str | None) -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
    try:
        import datasets
    except ImportError as error:
        raise BenchmarkError(
            f"'{benchmark.name}' is streamed with datasets: pip install 'transformers-aura[evaluation]'."
        ) from error
    from huggingface_hub import HfApi

    assert benchmark.repo is not None
    commit = HfApi().dataset_info(benchmark.repo, revision=revision).sha
    stream = datasets.load_dataset(
        benchmark.repo, benchmark.config, split=benchmark.split, revision=commit, streaming=True
    )
    for column in benchmark.accents or ("audio",):
        stream = stream.cast_column(column, datasets.Audio(decode=False))
    origin = {"repo": benchmark.repo, "config": benchmark.config, "split": benchmark.split, "commit": commit}
    return (_without_empty_paths(dict(row)) for row in stream), origin
