"""A colleague has a Hub id and nothing else."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM, AutoProcessor, pipeline

from tests.support.fake_hub import FakeHub
from tests.support.published import (
    BASE_ID,
    STUDENT_ID,
    PublishedStudent,
    logits_of,
    publish_base,
    publish_student,
    save_student,
)
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model
from transformers_aura import AdapterMismatchError, AuraConfig, AuraForSpeechQA, AuraProcessor


@pytest.fixture
def published(fake_hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    student = publish_student(fake_hub, tmp_path)
    forget_downloads()
    return student


def forget_downloads() -> None:
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)


@pytest.mark.parametrize("auto_class", [AutoModel, AutoModelForMultimodalLM, AuraForSpeechQA])
def test_logits_are_those_before_publishing(published: PublishedStudent, auto_class: type) -> None:
    model = auto_class.from_pretrained(STUDENT_ID)
    processor = AutoProcessor.from_pretrained(STUDENT_ID)
    assert isinstance(model, AuraForSpeechQA)
    assert isinstance(processor, AuraProcessor)
    assert torch.equal(logits_of(model, processor), logits_of(published.model, published.processor))


def test_config_names_the_base_and_its_commit(published: PublishedStudent) -> None:
    config = AutoConfig.from_pretrained(STUDENT_ID)
    assert isinstance(config, AuraConfig)
    assert (config.base_model, config.base_revision) == (BASE_ID, published.base_commit)


def test_revision_dtype_and_device_map(published: PublishedStudent, fake_hub: FakeHub) -> None:
    config = (published.folder / "config.json").read_bytes()
    fake_hub.add_files(STUDENT_ID, {"config.json": config, "model.safetensors": b"not a student any more"})
    model = AutoModelForMultimodalLM.from_pretrained(
        STUDENT_ID, revision=published.commit, dtype=torch.bfloat16, device_map="cpu"
    )
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert model.device == torch.device("cpu")
    reference = {name: value.bfloat16() for name, value in published.model.state_dict().items()}
    for name, value in model.state_dict().items():
        assert torch.equal(value, reference[name]), name
    with pytest.raises(AdapterMismatchError, match=r"model\.safetensors"):
        AutoModelForMultimodalLM.from_pretrained(STUDENT_ID)


def test_pipeline_by_hub_id(published: PublishedStudent) -> None:
    answerer = pipeline("audio-question-answering", model=STUDENT_ID)
    audio = {"array": tone(0.7), "sampling_rate": 16000}
    assert isinstance(answerer(audio, max_new_tokens=3)[0]["answer"], str)


def test_the_base_may_move_on_but_the_student_stays_with_its_commit(
    published: PublishedStudent, fake_hub: FakeHub, tmp_path: Path
) -> None:
    before = logits_of(published.model, published.processor)
    fake_hub.add_folder(BASE_ID, save_tiny_language_model(tmp_path / "new base", seed=7))
    model = AutoModel.from_pretrained(STUDENT_ID)
    assert torch.equal(logits_of(model, published.processor), before)


def test_another_base_or_revision_is_an_error(published: PublishedStudent, fake_hub: FakeHub, tmp_path: Path) -> None:
    new_commit = fake_hub.add_folder(BASE_ID, save_tiny_language_model(tmp_path / "new base", seed=7))
    fake_hub.add_folder("org/other-base", tmp_path / "new base")
    with pytest.raises(AdapterMismatchError, match="org/other-base"):
        AuraForSpeechQA.from_pretrained(STUDENT_ID, base_model_name_or_path="org/other-base")

    config = AutoConfig.from_pretrained(STUDENT_ID)
    config.base_revision = new_commit
    with pytest.raises(AdapterMismatchError, match=published.base_commit[:7] + "|" + new_commit[:7]):
        AuraForSpeechQA.from_pretrained(STUDENT_ID, config=config)


def test_a_base_that_is_gone_is_named(published: PublishedStudent, fake_hub: FakeHub) -> None:
    del fake_hub.repos[BASE_ID]
    with pytest.raises(OSError, match=BASE_ID):
        AutoModel.from_pretrained(STUDENT_ID)


def test_an_interrupted_download_is_an_error_and_the_next_try_works(
    published: PublishedStudent, fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    fake_hub.cut_off_downloads("model.safetensors", after_bytes=500)
    fake_hub.cut_off_downloads("model.safetensors", after_bytes=0, times=6)
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|model\.safetensors"):
        AutoModel.from_pretrained(STUDENT_ID)

    model = AutoModel.from_pretrained(STUDENT_ID)
    assert torch.equal(logits_of(model, published.processor), logits_of(published.model, published.processor))


def test_offline_after_one_download(published: PublishedStudent, fake_hub: FakeHub) -> None:
    AutoModel.from_pretrained(STUDENT_ID)
    asked = len(fake_hub.requests)
    model = AutoModel.from_pretrained(STUDENT_ID, local_files_only=True)
    assert isinstance(model, AuraForSpeechQA)
    assert len(fake_hub.requests) == asked


def test_model_push_to_hub_uploads_the_adapter_only(fake_hub: FakeHub, may_write: None, tmp_path: Path) -> None:
    publish_base(fake_hub, tmp_path / "base")
    model, processor = save_student(tmp_path / "student")
    model.push_to_hub("org/pushed")
    processor.push_to_hub("org/pushed")
    base_size = (tmp_path / "base" / "model.safetensors").stat().st_size
    uploaded = fake_hub.files("org/pushed")
    card = uploaded["README.md"].decode()
    assert "pipeline_tag: audio-text-to-text" in card
    assert f"base_model: {BASE_ID}" in card
    assert len(uploaded["model.safetensors"]) < base_size
    assert not [
        request for request in fake_hub.requests if request.method == "PUT" and request.num_body_bytes >= base_size
    ]
    assert not fake_hub.requested("POST", f"/api/models/{BASE_ID}/commit")

    forget_downloads()
    loaded = AutoModel.from_pretrained("org/pushed")
    processor = AutoProcessor.from_pretrained("org/pushed")
    assert torch.equal(logits_of(loaded, processor), logits_of(model, processor))


def test_push_without_permission_says_so(fake_hub: FakeHub, may_only_read: None, tmp_path: Path) -> None:
    publish_base(fake_hub, tmp_path / "base")
    model, _ = save_student(tmp_path / "student")
    with pytest.raises(HfHubHTTPError, match="403"):
        model.push_to_hub("org/pushed")
