"""Students that ship with the package: what is in them, and how they are found by name."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, pipeline

import transformers_aura
from tests.cli.test_main import run
from tests.support.fake_hub import FakeHub
from tests.support.packaged import BASE, NAME, local_path_in, problems_of
from tests.support.published import logits_of, publish_base, save_student
from tests.support.tiny import tone
from tools.real_models import MANIFEST
from transformers_aura import (
    AuraForSpeechQA,
    AuraProcessor,
    package_data,
    packaged_student,
    packaged_students,
)
from transformers_aura.hub import save_model_card


STUDENTS = packaged_students()


@pytest.mark.parametrize("name", STUDENTS or [None])
def test_every_packaged_student_is_what_would_be_pushed(name: str | None) -> None:
    if name is None:
        pytest.skip("No student is packaged yet: hub_cards holds the card's template only.")
    assert problems_of(STUDENTS[name]) == []


@pytest.fixture
def packaged(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that comes with the student `NAME`; the working directory is an empty one."""
    publish_base(fake_hub, tmp_path / "base")
    cards = tmp_path / "hub_cards"
    save_student(cards / NAME)
    edit_config(cards / NAME, **BASE)  # no revision: what is in the cache is not enough without the Hub
    save_model_card(cards / NAME, repo_id=NAME, packaged=True)
    monkeypatch.setattr(package_data, "package_data_folder", lambda name: cards)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return cards / NAME


class TestFolder:
    def test_nothing_is_wrong_with_a_saved_student(self, packaged: Path) -> None:
        assert problems_of(packaged) == []
        assert f'packaged_student("{NAME}")' in (packaged / "README.md").read_text(encoding="utf-8")

    def test_what_does_not_belong_into_a_package_is_found(self, packaged: Path, tmp_path: Path) -> None:
        damages = {
            "lacks ['README.md']": lambda folder: (folder / "README.md").unlink(),
            "no part of a student: ['optimizer.pt']": lambda folder: (folder / "optimizer.pt").write_bytes(b"pickle"),
            "no hub id: /home/me/base": lambda folder: edit_config(folder, base_model="/home/me/base"),
            "config.json names a path": lambda folder: edit_config(folder, base_revision="/home/me/base"),
            "weights of its base": lambda folder: add_tensor(folder, "model.language_model.norm.weight", 8),
            "more than 32000000": lambda folder: add_tensor(folder, "model.embed_audio.extra", 9_000_000),
            "pipeline_tag": lambda folder: (folder / "README.md").write_text("---\ntags: []\n---\n"),
        }
        for number, (problem, damage) in enumerate(damages.items()):
            folder = shutil.copytree(packaged, tmp_path / f"damaged-{number}")
            damage(folder)
            assert any(problem in found for found in problems_of(folder)), (problem, problems_of(folder))

    def test_local_paths_are_told_from_urls_and_relative_ones(self) -> None:
        assert local_path_in('"/home/me/x"') == "/home/me/x"
        assert local_path_in("https://host/home/me outputs/data/x org/data") is None


class TestByName:
    def test_our_classes_take_the_name(self, packaged: Path) -> None:
        by_name = AuraForSpeechQA.from_pretrained(NAME), AuraProcessor.from_pretrained(NAME)
        by_folder = AutoModel.from_pretrained(packaged), AutoProcessor.from_pretrained(packaged)
        assert torch.equal(logits_of(*by_name), logits_of(*by_folder))

    def test_pipeline_takes_its_folder_and_a_base_elsewhere(
        self, packaged: Path, tmp_path: Path, fake_hub: FakeHub
    ) -> None:
        fake_hub.clear()
        answerer = pipeline(
            "audio-question-answering",
            model=packaged_student(NAME),
            model_kwargs={"base_model_name_or_path": tmp_path / "base"},
        )
        audio = {"array": tone(0.6), "sampling_rate": 16000}
        assert answerer(audio, max_new_tokens=2)[0]["answer"] is not None

    def test_a_folder_of_that_name_goes_first(self, packaged: Path) -> None:
        Path(NAME).mkdir()
        with pytest.raises(ValueError, match=r"aura-tiny holds no config\.json"):
            AuraForSpeechQA.from_pretrained(NAME)

    def test_an_unknown_name_lists_the_known_ones(self, packaged: Path) -> None:
        with pytest.raises(FileNotFoundError, match=f"'aura-big' .* there is {NAME}"):
            packaged_student("aura-big")

    @pytest.mark.parametrize("name", ["aura-tinny", "aura-tin"])
    def test_a_misspelt_name_is_not_asked_of_the_hub(self, packaged: Path, fake_hub: FakeHub, name: str) -> None:
        asked = len(fake_hub.requests)
        with pytest.raises(FileNotFoundError, match=f"No student called '{name}' .* Did you mean '{NAME}'"):
            AuraForSpeechQA.from_pretrained(name)
        assert len(fake_hub.requests) == asked

    def test_without_any_the_message_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(package_data, "package_data_folder", lambda name: tmp_path)
        with pytest.raises(FileNotFoundError, match="there is none"):
            packaged_student(NAME)

    def test_ask_and_merge_take_the_name(
        self, packaged: Path, fake_hub: FakeHub, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        soundfile.write("question.wav", tone(0.7), 16000)
        code, out, err = run(capsys, "ask", NAME, "question.wav", "--max-new-tokens", "4", "--json")
        assert code == 0, err
        assert json.loads(out)
        code, _, err = run(capsys, "merge", NAME, "merged")
        assert code == 0, err
        assert AutoModel.from_pretrained("merged").config.base_model is None

    def test_without_a_hub_a_copy_of_the_base_answers_at_once(
        self,
        packaged: Path,
        fake_hub: FakeHub,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fake_hub.clear()
        monkeypatch.setenv("AURA_CACHE", str(tmp_path / "cache"))
        soundfile.write("question.wav", tone(0.7), 16000)
        command = ("ask", NAME, "question.wav", "--max-new-tokens", "2")
        code, _, err = run(capsys, *command)
        assert code == 1
        assert "--base-model" in err
        assert run(capsys, *command, "--base-model", str(tmp_path / "base"))[0] == 0

        (tmp_path / "cache" / "models").mkdir(parents=True)
        copy = (tmp_path / "base").rename(tmp_path / "cache" / "models" / "base")
        (copy / MANIFEST).write_text(json.dumps({"copy_of": BASE}))
        assert run(capsys, *command)[0] == 0
        assert run(capsys, "merge", NAME, "merged")[0] == 0


def edit_config(folder: Path, **values: str | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def add_tensor(folder: Path, name: str, size: int) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, name: torch.zeros(size)}, folder / "model.safetensors", metadata={"format": "pt"})


def test_public_names() -> None:
    assert transformers_aura.packaged_student is packaged_student
