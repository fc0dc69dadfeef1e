"""A trained student becomes a folder that may ship: small, and without a path of the machine that made it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aura_research import package_student as package_student_module
from aura_research.package_student import main, package_student
from aura_research.places import RECIPES
from tests.support.fake_hub import FakeHub
from tests.support.packaged import BASE, NAME, problems_of
from tests.support.published import publish_base, save_student
from tools.real_models import MANIFEST
from transformers_aura import AuraConfig, packaged_students
from transformers_aura.decoding.alphabet import LATIN_ALPHABET
from transformers_aura.decoding.text_statistics import TEXT_STATISTICS_FILE_NAME
from transformers_aura.distillation.recipe import load_recipe
from transformers_aura.hub import HubError, TrainingSummary


STUDENTS = packaged_students()


@pytest.fixture
def trained(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(package_student_module, "counted_texts", lambda: ["Who spoke?"])
    publish_base(fake_hub, tmp_path / "base")
    return save_trained_student(tmp_path / "trained", tmp_path / "rows.jsonl")


def test_a_packaged_student_is_small_and_names_nothing_local(trained: Path, tmp_path: Path) -> None:
    packaged = tmp_path / "hub_cards" / NAME
    package_student(trained, packaged, base=BASE, license="apache-2.0", results_text="Measured by hand.")
    assert problems_of(packaged) == []
    weights, original = load_file(packaged / "model.safetensors"), load_file(trained / "model.safetensors")
    assert all(torch.equal(weights[name], original[name].to(torch.bfloat16)) for name in original)
    card = (packaged / "README.md").read_text(encoding="utf-8")
    for said in (
        f'packaged_student("{NAME}")',
        "Measured by hand.",
        "- source: rows.jsonl",
        "license: apache-2.0",
    ):
        assert said in card
    assert "None were recorded" not in card
    assert not (packaged / "training_summary.json").exists()
    assert (packaged / TEXT_STATISTICS_FILE_NAME).exists()


def test_the_base_is_what_a_converted_folder_is_a_copy_of(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"place on this machine.*--base-model"):
        edit_config(trained, base_model=str(tmp_path / "base"))
        package_student(trained, tmp_path / "out")
    (tmp_path / "base" / MANIFEST).write_text(json.dumps({"hub_id": "org/original", "copy_of": BASE}))
    package_student(trained, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["base_model"] == BASE["base_model"]


@pytest.mark.skipif("aura-smollm2-135m" not in STUDENTS, reason="no student comes with this checkout")
def test_the_packaged_student_is_what_the_recipes_of_its_stages_say() -> None:
    config = AuraConfig.from_pretrained(STUDENTS["aura-smollm2-135m"])
    first, fourth, last = (
        load_recipe(RECIPES / f"smollm2-135m-{stage}.yaml").model for stage in ("cpu", "cpu-stage4", "gpu-stage7")
    )
    assert config.character_ctc_alphabet == first.character_ctc_alphabet
    assert config.subword_ctc_layer == fourth.subword_ctc_layer
    assert config.answer_from == last.answer_from


@pytest.mark.skipif("aura-smollm2-135m" not in STUDENTS, reason="no student comes with this checkout")
def test_the_counts_of_the_packaged_student_are_those_of_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = STUDENTS["aura-smollm2-135m"]
    copy = tmp_path / "student"
    shutil.copytree(student, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr("sys.argv", ["package_student", "--text-statistics", str(copy)])
    assert main() == 0
    assert (copy / TEXT_STATISTICS_FILE_NAME).read_bytes() == (student / TEXT_STATISTICS_FILE_NAME).read_bytes()


def save_trained_student(folder: Path, data: Path) -> Path:
    """A tiny student of `BASE_ID`, with the summary that a training run on `data` leaves."""
    save_student(folder, character_ctc_alphabet=LATIN_ALPHABET, subword_ctc_layer=2)
    recipe = f"name: tiny\ndata:\n  train:\n    - source: {data}\n"
    TrainingSummary(teacher="[org/whisper](https://huggingface.co/org/whisper)", recipe=recipe).save(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["_name_or_path"] = str(data.parent)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def edit_config(folder: Path, **values: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
