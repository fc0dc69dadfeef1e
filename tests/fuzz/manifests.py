"""Manifests of recordings, as people write them: JSONL, CSV, JSON, in several encodings, damaged."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.damage import TEXT_DAMAGES, Damage, damages
from transformers_aura.distillation.recipe import DataSource
from transformers_aura.distillation.recipe_data import load_rows


ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-32")
SUFFIXES = (".jsonl", ".jsonl", ".json", ".csv", ".tsv", ".txt")
ODD = (None, 3, 1.5, float("nan"), True, [], {}, ["a"], "", "\0")


@dataclass(frozen=True)
class Manifest:
    """A manifest file."""

    rows: tuple[Any, ...]
    suffix: str
    encoding: str
    damages: tuple[Damage, ...]

    def data(self) -> bytes:
        if self.suffix in (".csv", ".tsv"):
            file = io.StringIO()
            dicts = [row for row in self.rows if isinstance(row, dict)]
            fields = list(dict.fromkeys(key for row in dicts for key in row))
            writer = csv.DictWriter(file, fields, delimiter="," if self.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(dicts)
            text = file.getvalue()
        elif self.suffix == ".json":
            text = json.dumps(self.rows, ensure_ascii=False)
        else:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)
        data = text.encode(self.encoding, errors="replace")
        for damage in self.damages:
            data = damage.do(data) if data else data
        return data


def strategy() -> st.SearchStrategy[Manifest]:
    words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
    keys = st.sampled_from(("audio", "transcript", "question", "answer", "path", "sentence", "text", "seconds"))
    good = st.fixed_dictionaries(
        {"audio": st.just("a.wav"), "transcript": words}, optional={"answer": words, "question": words}
    )
    odd = st.dictionaries(keys, words | st.sampled_from(ODD), max_size=4)
    row = good | good | good | odd | st.sampled_from(ODD)
    damage = damages(TEXT_DAMAGES, (0.0, 0.05, 0.3))
    return st.builds(
        Manifest, st.lists(row, max_size=4).map(tuple), st.sampled_from(SUFFIXES), st.sampled_from(ENCODINGS),
        st.lists(damage, max_size=1).map(tuple),
    )  # fmt: skip


def ask(manifest: Manifest) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"rows{manifest.suffix}"
        file.write_bytes(manifest.data())
        rows = load_rows([DataSource(source=str(file))], "data.train")
        rows = [rows[index] for index in range(len(rows))]
    for row in rows:
        for key in ("transcript", "question", "answer"):
            if row.get(key) is not None and not isinstance(row[key], str):
                raise Silent(f"'{key}' is {row[key]!r}")
        if row.get("audio") is None and row.get("question") is None:
            raise Silent("a row with nothing in it")
        if manifest.encoding in ("latin-1", "cp1252", "utf-16", "utf-32") and not manifest.damages:
            written = {value for given in manifest.rows if isinstance(given, dict) for value in given.values()
                       if isinstance(value, str) and value.encode(manifest.encoding, "replace").decode(manifest.encoding) == value}  # fmt: skip
            if (
                row.get("transcript")
                and not any(row["transcript"].strip() == text.strip() for text in written)
                and "?" not in row["transcript"]
            ):
                raise Silent(f"the transcript reads {row['transcript']!r}")
    if manifest.suffix == ".jsonl" and not manifest.damages and len(rows) != len(manifest.rows):
        raise Silent(f"{len(rows)} of {len(manifest.rows)} rows")


def names(manifest: Manifest) -> tuple[str, ...]:
    return (f"rows{manifest.suffix}", "data.train")


AREA = Area("manifests in 5 formats and 6 encodings", strategy, ask, names, share=0.1)
