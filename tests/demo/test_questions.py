"""The spoken questions that come with the repository."""

import json
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from transformers_aura.evaluation.scorers.containment import Containment
from transformers_aura.evaluation.scorers.interface import Reference


FOLDER = Path(__file__).parents[2] / "demo" / "questions"


def test_every_question_has_its_recording_and_an_answer_that_the_llm_knows() -> None:
    rows = [json.loads(line) for line in (FOLDER / "manifest.jsonl").read_text().splitlines()]
    assert {row["audio"] for row in rows} == {path.name for path in FOLDER.glob("*.flac")}
    assert len({row["question"] for row in rows}) == 12
    assert set(Counter(row["voice"] for row in rows).values()) == {2}
    for row in rows:
        info = soundfile.info(FOLDER / row["audio"])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert info.duration == pytest.approx(row["seconds"], abs=0.01)
        right = Containment(first_sentence=True).statistics(row["text_answer"], Reference(tuple(row["accepted"])))
        assert right == (1.0, 1.0)
