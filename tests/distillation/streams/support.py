"""Small sources of every kind that a stream is read from; each row's transcript is its own."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
from datasets import Audio, Dataset

from tests.support.tiny import tone


def flac(number: int) -> bytes:
    """A clip of its own length."""
    content = io.BytesIO()
    soundfile.write(content, tone(0.2 + 0.02 * (number % 7), 200 + 20 * number), 16000, format="FLAC")
    return content.getvalue()


def write_tar(path: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    """A tar of samples: by key, files by suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for key, files in samples.items():
            for suffix, content in files.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def write_tars(folder: Path, counts: Sequence[int], first: int = 0) -> list[str]:
    """Tars of so many samples each; returns all transcripts."""
    number, texts = first, []
    for index, count in enumerate(counts):
        samples = {}
        for _ in range(count):
            samples[f"clips/{number:04d}"] = {"flac": flac(number), "txt": f"tar {number}".encode()}
            texts.append(f"tar {number}")
            number += 1
        write_tar(folder / f"train-{index:03d}.tar", samples)
    return texts


def write_parquet(folder: Path, counts: Sequence[int]) -> list[str]:
    """Parquet files of so many rows each, in row groups of two; returns all transcripts."""
    folder.mkdir(parents=True, exist_ok=True)
    number, texts = 0, []
    for index, count in enumerate(counts):
        rows = []
        for _ in range(count):
            rows.append(
                {
                    "audio": {"bytes": flac(number), "path": None},
                    "transcript": f"table {number}",
                    "seconds": 0.2 + 0.02 * (number % 7),
                }
            )
            texts.append(f"table {number}")
            number += 1
        dataset = Dataset.from_list(rows).cast_column("audio", Audio(decode=False))
        dataset.to_parquet(folder / f"train-{index:03d}.parquet", batch_size=2)
    return texts


def write_json_lines(folder: Path, count: int) -> list[str]:
    """A manifest beside its recordings; returns all transcripts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        (folder / f"{number}.flac").write_bytes(flac(number))
        lines.append(json.dumps({"audio": f"{number}.flac", "transcript": f"line {number}"}) + "\n")
    (folder / "manifest.jsonl").write_text("".join(lines))
    return [f"line {number}" for number in range(count)]
