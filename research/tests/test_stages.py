"""The whole way of the packaged student on real weights and real speech: every stage goes on from what the one before it wrote."""

import json
from pathlib import Path

import pytest
from transformers import pipeline

import transformers_aura  # noqa: F401, registers the pipeline
from aura_research import train
from aura_research.corpus import Clip, write_shard
from aura_research.package_student import package_student
from aura_research.places import FIXTURES, REPOSITORY
from aura_research.texts.orders import ORDER_QUESTION
from tools.real_models import real_model_folder


pytestmark = pytest.mark.slow

SPEECH = FIXTURES.parent
PACKAGED = REPOSITORY / "hub_cards" / "aura-smollm2-135m"
PARTS = (
    "orders", "real_orders", "questions", "sentences", "everyday", "law", "names", "named_questions", "common_words",
    "scrambled", "prompts", "acted",
)  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A corpus of all parts: six spoken orders in each, as they would be of natural voices and of others. (A twentieth of both is a row.)"""
    for name in ("smollm2-135m-instruct", "whisper-tiny.en"):
        try:
            real_model_folder(name)
        except FileNotFoundError as error:
            pytest.skip(str(error))
    rows = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()][:6]
    folder = tmp_path_factory.mktemp("outputs")
    for part in PARTS:
        clips = [
            Clip(
                part, row["transcript"], ORDER_QUESTION if "orders" in part else None, json.dumps(row["slots"]),
                "a person", 1.0, 1.0, 1.0, number, str(SPEECH / row["audio"]),
            )
            for number, row in enumerate(rows)
        ]  # fmt: skip
        for voices in ("hibari", "kokoro"):
            write_shard(folder / "corpus" / part / f"train-{voices}-000.parquet", clips)
    return folder


def test_all_stages_run_one_after_the_other_and_make_a_student_of_the_packaged_shape(outputs, monkeypatch):
    settings = ["training.per_device_train_batch_size=1", "training.disable_tqdm=true"]
    given = [part for setting in settings for part in ("--set", setting)]
    monkeypatch.setattr("sys.argv", ["train", str(outputs), "--steps", "1", *given])
    train.main()
    student = outputs / "aura-smollm2-135m"
    package_student(student, outputs / "packaged", license="apache-2.0")
    made, packaged = (config_of(folder) for folder in (outputs / "packaged", PACKAGED))
    assert {key for key in made.keys() | packaged.keys() if made.get(key) != packaged.get(key)} == set()
    answerer = pipeline("audio-question-answering", model=str(student))
    (answer,) = answerer({"audio": str(SPEECH / "order_01.flac"), "question": ORDER_QUESTION}, max_new_tokens=4)
    assert isinstance(answer["answer"], str)


def config_of(student: Path) -> dict:
    """What `config.json` says of a student, but for the format of its numbers."""
    config = json.loads((student / "config.json").read_text())
    config["text_config"].pop("dtype")
    return {key: value for key, value in config.items() if key != "dtype"}
