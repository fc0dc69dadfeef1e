"""Files that an evaluation reads: sets of one's own, and the results of earlier runs."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.damage import TEXT_DAMAGES, Damage, damages, holder_of, paths_of
from tests.fuzz.manifests import ODD, Manifest
from transformers_aura.evaluation.benchmarks import load_benchmark
from transformers_aura.evaluation.figures import Figure
from transformers_aura.evaluation.results import FORMAT, RESULTS_FILE, Results
from transformers_aura.evaluation.statistics import Interval


RESULTS = {
    "format": FORMAT,
    **asdict(
        Results(
            facts={"seed": 0},
            systems={"student": {"model": "student"}},
            figures=[
                Figure("student", "orders", "clean", "slots", "all", 0.5, 10, 1, Interval(0.2, 0.8, "bootstrap"))
            ],
            failures=[
                {"system": "student", "benchmark": "orders", "condition": "clean", "item": "1", "error": "cut off"}
            ],
        )
    ),
}
VALUES = (None, 0, -1, 0.5, math.nan, math.inf, True, "", [], {}, [1], {"a": 1})


@dataclass(frozen=True)
class EvaluationFile:
    """A set's manifest, or a results file with one value changed or its bytes damaged."""

    manifest: Manifest | None
    place: int
    value: Any
    damage: Damage | None

    def results(self) -> bytes:
        content = json.loads(json.dumps(RESULTS))
        if self.damage is not None:
            return self.damage.do(json.dumps(content).encode())
        paths = list(paths_of(content))
        path = paths[self.place % len(paths)]
        holder_of(content, path)[path[-1]] = self.value
        return json.dumps(content).encode()


def strategy() -> st.SearchStrategy[EvaluationFile]:
    words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
    value = words | st.sampled_from(ODD)
    good = st.fixed_dictionaries(
        {"audio": st.just("a.wav"), "answer": words}, optional={"question": words, "name": words}
    )
    keys = ("audio", "answer", "answers", "question", "name", "needed", "groups", "seconds", "context", "slots", "transcript", "source", "anwser")  # fmt: skip
    odd = st.dictionaries(st.sampled_from(keys), value, max_size=4)
    damage = damages(TEXT_DAMAGES, (0.0, 0.05, 0.3))
    mixed = st.builds(dict, st.fixed_dictionaries({"audio": st.just("a.wav"), "answer": words}) | st.just({})) | odd
    changed = st.tuples(good, odd, st.booleans()).map(lambda parts: {**parts[0], **parts[1]} if parts[2] else parts[0])
    manifest = st.builds(
        Manifest, st.lists(changed | changed | mixed | st.sampled_from(ODD), max_size=3).map(tuple), st.sampled_from((".jsonl", ".jsonl", ".csv", ".json")),
        st.sampled_from(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), st.lists(damage, max_size=1).map(tuple),
    )  # fmt: skip
    return (
        st.builds(EvaluationFile, manifest, st.just(0), st.none(), st.none())
        | st.builds(EvaluationFile, st.none(), st.integers(0, 200), st.sampled_from(VALUES), st.none())
        | st.builds(EvaluationFile, st.none(), st.just(0), st.none(), damage)
    )


def ask(file: EvaluationFile) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if file.manifest is None:
            path = Path(folder) / RESULTS_FILE
            path.write_bytes(file.results())
            results = Results.load(Path(folder))
        else:
            path = Path(folder) / f"rows{file.manifest.suffix}"
            path.write_bytes(file.manifest.data())
            items = load_benchmark(str(path)).items
    if file.manifest is None:
        for figure in results.figures:
            if type(figure.value) not in (int, float) or type(figure.num_items) is not int:
                raise Silent(f"a figure of {figure.value!r} over {figure.num_items!r} items")
        return
    for item in items:
        if not all(
            isinstance(text, str) for text in (*item.accepted, item.name, item.question or "", item.text or "")
        ):
            raise Silent(f"the item {item}")
        if item.audio is None or (item.seconds is not None and not 0 <= item.seconds < math.inf):
            raise Silent(f"the item {item}, of {item.seconds} s")


def names(file: EvaluationFile) -> tuple[str, ...]:
    return (RESULTS_FILE,) if file.manifest is None else (f"rows{file.manifest.suffix}",)


AREA = Area("sets of one's own and results of an evaluation", strategy, ask, names, share=0.05)
