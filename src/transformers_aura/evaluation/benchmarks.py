"""Benchmarks: public sets by name, streamed from the Hub, and any folder or manifest of the same columns.

A local copy of a public set is a manifest, a Parquet file or a folder with `manifest.jsonl` or `*.parquet`, columns as on the Hub:
`sd-qa=my/folder`; `common-voice=` takes Common Voice's own tables too. A set of one's own is a folder or manifest (JSON lines, a JSON array, CSV
or TSV) with the columns of [`MANIFEST_KEYS`], recordings beside it.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..decoding.scripts import is_written_without_blanks
from ..extras import import_extra
from ..hub_access import explain
from ..processing.audio_source import is_path
from ..processing.manifests import (
    COMMON_VOICE_COLUMNS,
    SUFFIXES,
    as_text,
    audio_beside,
    describe,
    find_manifest,
    listed,
    read_manifest,
)
from ..processing.text_files import TextFileError
from .items import Item, Task


MANIFEST_KEYS = ("name", "audio", "task", "question", "answer", "answers", "needed", "transcript", "translation",
                 "slots", "context", "source", "groups", "seconds")  # fmt: skip
"""Columns of a set of one's own. `audio`, and one of `answer(s)`, `slots`, `translation`, `transcript` (what is wanted, unless `task` says
so), are needed. `groups` is a dict (`{"accent": "aus"}`)."""

SD_QA_ACCENTS = ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf")
ORDER_QUESTION = "What was ordered? Answer in JSON."


class BenchmarkError(ValueError):
    """A benchmark that is not there, or rows that are not what they should be. The message names the file and the line or row."""


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
    """Accepted answers in any of the forms that sets use: text or a number, a list, or SQuAD's `{"text": [...]}`."""
    if isinstance(value, Mapping):
        value = value.get("text")
    answers = value if isinstance(value, (list, tuple)) else [value]
    texts = (as_text(answer, "answer") for answer in answers)
    return tuple(dict.fromkeys(text.strip() for text in texts if text and text.strip()))


def _name(row: dict[str, Any], column: str, number: int) -> str:
    """What a row calls itself, else its number."""
    return str(number if row.get(column) is None else row[column])


def _text(row: dict[str, Any], column: str) -> str | None:
    return as_text(row.get(column), column)


def _needed_text(row: dict[str, Any], column: str) -> str:
    text = as_text(row[column], column)
    if text is None:
        raise BenchmarkError(f"no '{column}'")
    return text


def _number(row: dict[str, Any], column: str) -> float | None:
    value = row.get(column)
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if value is not None and (number is None or not math.isfinite(number)):
        raise BenchmarkError(f"'{column}' must be a number, not {describe(value)}")
    return number


def _groups(row: dict[str, Any]) -> dict[str, str]:
    groups = row.get("groups") or {}
    if not isinstance(groups, Mapping):
        raise BenchmarkError(f'\'groups\' must be an object ({{"accent": "aus"}}), not {describe(groups)}')
    return {str(key): as_text(value, f"groups.{key}") or "" for key, value in groups.items()}


def _slots(value: Any) -> str:
    """The labelled slots as the JSON object that a system is to answer."""
    try:
        slots = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        slots = None
    if not isinstance(slots, Mapping):
        raise BenchmarkError(f"'slots' must be a JSON object, not {describe(value)}")
    return value if isinstance(value, str) else json.dumps(slots, sort_keys=True)


def _read_sd_qa(row: dict[str, Any], number: int) -> Iterator[Item]:
    name = _name(row, "id", number)
    accepted = _answers(row["answers"])
    for accent in SD_QA_ACCENTS if accepted else ():
        if row.get(accent) is None:
            continue
        yield Item(
            name=f"{name}/{accent}",
            task="answer",
            audio=row[accent],
            accepted=accepted,
            text=_text(row, "question"),
            groups={"accent": accent},
            source=name,
        )


def _read_voicebench(row: dict[str, Any], number: int) -> Iterator[Item]:
    accepted = _answers(row.get("reference") or row.get("answer") or row.get("output"))
    if accepted:
        yield Item(_name(row, "key", number), "answer", row["audio"], accepted, text=_text(row, "prompt"))


def _read_heysquad(with_context: bool) -> Callable[[dict[str, Any], int], Iterator[Item]]:
    def read(row: dict[str, Any], number: int) -> Iterator[Item]:
        accepted = _answers(row.get("answers"))
        if accepted and not row.get("is_impossible"):
            yield Item(
                name=_name(row, "id", number),
                task="answer",
                audio=row["audio"],
                accepted=accepted,
                text=_text(row, "question"),
                context=_needed_text(row, "context") if with_context else None,
            )

    return read


def _read_transcript(text: str, name: str, speaker: str | None = None, accents: tuple[str, ...] = ()) -> Any:
    def read(row: dict[str, Any], number: int) -> Iterator[Item]:
        said = _needed_text(row, text)
        accent = next((str(row[column]) for column in accents if row.get(column)), None)
        yield Item(
            name=_name(row, name, number),
            task="transcript",
            audio=row["audio"],
            accepted=(said,),
            text=said,
            groups={} if accent is None else {"accent": accent},
            source=str(row[speaker]) if speaker and row.get(speaker) is not None else "",
        )

    return read


def _read_covost(row: dict[str, Any], number: int) -> Iterator[Item]:
    yield Item(
        name=_name(row, "id", number),
        task="translation",
        audio=row["audio"],
        accepted=(_needed_text(row, "translation"),),
        question="Translate the audio into German.",
        text=_text(row, "sentence"),
    )


def _read_barista(row: dict[str, Any], number: int) -> Iterator[Item]:
    audio = row["audio"]
    own_name = Path(audio).name if isinstance(audio, str) and is_path(audio) else number
    yield Item(
        name=str(row.get("name") or own_name),
        task="slots",
        audio=audio,
        accepted=(_slots(row["slots"]),),
        question=ORDER_QUESTION,
        text=_text(row, "transcript"),
        groups=_groups(row),
    )


def read_own(row: dict[str, Any], number: int) -> Iterator[Item]:
    """An item of one's own set; see [`MANIFEST_KEYS`].

    Raises:
        BenchmarkError: an unknown column, or nothing that could be right.
    """
    if row.keys() >= COMMON_VOICE_COLUMNS:
        yield from BENCHMARKS["common-voice"].read(row, number)
        return
    unknown = sorted(key for key in row if key not in MANIFEST_KEYS)
    if unknown:
        close = difflib.get_close_matches(unknown[0], MANIFEST_KEYS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise BenchmarkError(
            f"unknown column '{listed(unknown[:1])}'.{suggestion} Columns are {', '.join(MANIFEST_KEYS)}."
        )
    if row.get("audio") is None:
        raise BenchmarkError("no audio")
    task, accepted = _wanted(row)
    yield Item(
        name=str(row.get("name") or row.get("source") or number),
        task=task,
        audio=row["audio"],
        accepted=accepted,
        question=_text(row, "question") or (ORDER_QUESTION if task == "slots" else None),
        text=_text(row, "transcript"),
        context=_text(row, "context"),
        needed=int(_number(row, "needed") or 1),
        groups=_groups(row),
        source=str(row.get("source") or ""),
        seconds=_number(row, "seconds"),
    )


def _wanted(row: dict[str, Any]) -> tuple[Task, tuple[str, ...]]:
    candidates: dict[Task, tuple[str, ...]] = {
        "slots": () if row.get("slots") is None else (_slots(row["slots"]),),
        "answer": _answers(row.get("answers")) or _answers(row.get("answer")),
        "translation": _answers(row.get("translation")),
        "transcript": _answers(row.get("transcript")),
    }
    task = _text(row, "task") or next((name for name, accepted in candidates.items() if accepted), None)
    if task not in candidates or not candidates[task]:
        raise BenchmarkError(
            "no accepted answer: a row needs `answer`, `answers`, `slots`, `translation` or `transcript`"
            + (f" ('{listed([task or ''])}' is asked for)" if row.get("task") else "")
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
        Benchmark("common-voice", ("wer", "cer"), "Sentences read by volunteers (Common Voice; English on the Hub).",
                  _read_transcript("sentence", "path", "client_id", ("accent", "accents")), "mozilla-foundation/common_voice_17_0", "en"),
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


OWN_NAMES: dict[Task, str] = {
    "answer": "answers",
    "transcript": "transcripts",
    "translation": "translations",
    "slots": "slots",
}
"""What a part of a set with rows of several tasks is called: `rows-answers`."""


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


def load_benchmark(
    written: str, limit: int | None = None, revision: str | None = None, instruction: str | None = None
) -> LoadedBenchmark:
    """The one benchmark of a written form; see [`load_benchmarks`].

    Raises:
        BenchmarkError: there is no such benchmark, it holds no item, or rows of several tasks.
    """
    loaded = load_benchmarks(written, limit, revision, instruction)
    if len(loaded) > 1:
        names = ", ".join(each.benchmark.name for each in loaded)
        raise BenchmarkError(
            f"{written} holds rows of several tasks, which are sets of their own ({names}): `load_benchmarks` takes them all."
        )
    return loaded[0]


def load_benchmarks(
    written: str, limit: int | None = None, revision: str | None = None, instruction: str | None = None
) -> list[LoadedBenchmark]:
    """A benchmark by its written form; a set of one's own with rows of several tasks is one benchmark a task, each with its own scorers.

    Args:
        written: the name of a public set (`sd-qa`), one with a local copy (`sd-qa=folder`), or the folder or manifest of one's own.
        limit: the first so many rows.
        revision: commit, branch or tag of a set on the Hub; the newest without it. What it resolves to is kept in `origin`.
        instruction: the words that ask for a transcript, where a row has none; each system has its own without them.

    Returns:
        one benchmark; of `rows.jsonl` with transcripts and answers `rows-transcripts` and `rows-answers`.

    Raises:
        BenchmarkError: there is no such benchmark, or it holds no item.
    """
    name, _, folder = written.partition("=")
    rows: Iterable[tuple[str, dict[str, Any]]]
    if name in BENCHMARKS:
        benchmark = BENCHMARKS[name]
        if folder:
            rows, origin = _local_rows(Path(folder), benchmark.split), {"folder": Path(folder).name}
        elif benchmark.repo is None:
            raise BenchmarkError(f"'{name}' is not on the Hub: name the folder of your copy, as in '{name}=folder'.")
        else:
            hub_rows, origin = _hub_rows(benchmark, revision)
            rows = ((f"{benchmark.repo}, row {number}", row) for number, row in enumerate(hub_rows, start=1))
    elif os.path.exists(written):
        path = Path(written).resolve()
        benchmark = Benchmark(path.name if path.is_dir() else path.stem, (), "A set of one's own.", read_own)
        rows, origin = _local_rows(path, benchmark.split), {"folder": path.name}
    else:
        close = difflib.get_close_matches(name, BENCHMARKS, n=1)
        suggestion = f" Did you mean '{close[0]}'?" if close else ""
        raise BenchmarkError(
            f"'{listed([written])}' is neither a benchmark nor a folder or manifest here.{suggestion} There are {', '.join(BENCHMARKS)}."
        )
    items: dict[str, Item] = {}
    for number, (place, row) in enumerate(islice(rows, limit), start=1):
        try:
            for item in benchmark.read(row, number):
                if item.name in items:
                    raise BenchmarkError(f"there are two items '{item.name}'")
                if item.task == "transcript" and item.question is None:
                    item = replace(item, question=instruction)
                items[item.name] = item
        except KeyError as error:
            raise BenchmarkError(f"{place}: no column {error}; there are {listed(row)}.") from error
        except ValueError as error:
            raise BenchmarkError(f"{place}: {error}") from error
    if not items:
        raise BenchmarkError(f"{written} holds no item with an accepted answer.")
    if benchmark.scorers:
        return [LoadedBenchmark(_with_words_to_count(benchmark, items.values()), list(items.values()), origin)]
    of_tasks: dict[Task, list[Item]] = {}
    for item in items.values():
        of_tasks.setdefault(item.task, []).append(item)
    loaded = []
    for task, of_task in of_tasks.items():
        name = f"{benchmark.name}-{OWN_NAMES[task]}" if len(of_tasks) > 1 else benchmark.name
        own = replace(benchmark, name=name, scorers=OWN_SCORERS[task])
        loaded.append(LoadedBenchmark(_with_words_to_count(own, of_task), of_task, origin))
    return loaded


def _with_words_to_count(benchmark: Benchmark, items: Iterable[Item]) -> Benchmark:
    """The benchmark; scored by characters alone, where its transcripts are written without blanks between words."""
    if "wer" in benchmark.scorers and is_written_without_blanks(" ".join(item.accepted[0] for item in items)):
        return replace(benchmark, scorers=("cer",))
    return benchmark


def _local_rows(path: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a manifest, a Parquet file or a folder, each with its place in words."""
    manifest = find_manifest(path, split) if path.is_dir() else path if path.suffix.lower() in SUFFIXES else None
    if manifest is not None:
        yield from _manifest_rows(manifest)
        return
    shards = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.suffix == ".parquet" else []
    if not shards:
        raise BenchmarkError(f"{path} holds neither manifest.jsonl nor {split}.tsv nor *.parquet.")
    parquet = import_extra("pyarrow.parquet", "evaluation", f"Reading {path.name}")
    for shard in shards:
        number = 0
        try:
            for batch in parquet.ParquetFile(shard).iter_batches(batch_size=64):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{shard}, row {number}", _without_empty_paths(row)
        except (ValueError, OSError) as error:  # pyarrow's errors are kinds of these
            raise BenchmarkError(f"{shard} cannot be read: {error}") from error


def _manifest_rows(manifest: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        for line, row in read_manifest(manifest):
            place = f"{manifest}, line {line}"
            for column in ("audio", *SD_QA_ACCENTS):
                if column in row:
                    try:
                        row[column] = audio_beside(manifest, row[column])
                    except ValueError as error:
                        raise BenchmarkError(f"{place}: '{column}': {error}.") from error
            yield place, row
    except TextFileError as error:
        raise BenchmarkError(str(error)) from error


def _without_empty_paths(row: dict[str, Any]) -> dict[str, Any]:
    """Audio columns as `load_audio` takes them: `datasets` writes both `bytes` and `path`, one of them null or a name of long ago."""
    for column, value in row.items():
        if isinstance(value, dict) and value.get("bytes") is not None:
            row[column] = {"bytes": value["bytes"]}
    return row


def _hub_rows(benchmark: Benchmark, revision: str | None) -> tuple[Iterator[dict[str, Any]], dict[str, Any]]:
    datasets = import_extra("datasets", "evaluation", f"'{benchmark.name}' is streamed from the Hub, which")
    from huggingface_hub import HfApi

    assert benchmark.repo is not None
    try:
        commit = HfApi().dataset_info(benchmark.repo, revision=revision).sha
        stream = datasets.load_dataset(
            benchmark.repo, benchmark.config, split=benchmark.split, revision=commit, streaming=True
        )
    except Exception as error:  # of the Hub, of the way to it, of the set's own files
        raise BenchmarkError(f"'{benchmark.name}': {explain(error, benchmark.repo) or error}") from error
    for column in benchmark.accents or ("audio",):
        stream = stream.cast_column(column, datasets.Audio(decode=False))
    origin = {"repo": benchmark.repo, "config": benchmark.config, "split": benchmark.split, "commit": commit}
    return (_without_empty_paths(dict(row)) for row in stream), origin
