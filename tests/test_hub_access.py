"""What a person is told when the Hub gives nothing: why, and what to do."""

import os
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoConfig

from tests.cli.test_main import run
from tests.support.fake_hub import FakeHub
from tests.support.published import BASE_ID, STUDENT_ID, PublishedStudent, publish_student
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.hub_access import HubAccessError, explain
from transformers_aura.modeling.configuration_aura import AuraConfig


REFUSALS = [
    (401, "GatedRepo", "Access is restricted.", "is gated, and nobody is logged in here. Ask for access at https://huggingface.co/"),
    (401, "RepoNotFound", "Repository not found", "is not on the Hub, or it is private and nobody is logged in here"),
    (401, None, "Invalid credentials in Authorization header", "The Hub does not accept your token .* wrong or has expired"),
    (403, None, "Fine-grained token", r"does not let you have .* .it says: Fine-grained token."),
    (404, "RevisionNotFound", "Invalid rev id: x", "has no such revision on the Hub"),
    (429, None, "Rate limit", "too many were made .it says: Rate limit.. Wait some minutes"),
    (500, None, "Oops", "The Hub has a fault of its own .HTTP 500. .it says: Oops.. Try again later"),
    (503, None, "Down", "The Hub has a fault of its own .HTTP 503"),
]  # fmt: skip


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    return publish_student(fake_hub, tmp_path)


def forget_downloads() -> None:
    shutil.rmtree(Path(os.environ["HF_HOME"]) / "hub", ignore_errors=True)


@pytest.mark.fault("hub")
@pytest.mark.parametrize(("status", "code", "message", "said"), REFUSALS)
def test_a_refused_student_or_base_says_why(
    student: PublishedStudent, fake_hub: FakeHub, quick_retries: None, status: int, code: str, message: str, said: str
) -> None:
    fake_hub.refuse(status, code, message)
    for load in (AuraConfig, AuraForSpeechQA, AuraProcessor):
        with pytest.raises(HubAccessError, match=said) as caught:
            load.from_pretrained(STUDENT_ID)
        assert "connection" not in str(caught.value)
    fake_hub.accept()
    forget_downloads()  # saving the student had fetched its base
    fake_hub.refuse(status, code, message, paths=BASE_ID)
    with pytest.raises(FileNotFoundError, match=said) as not_found:
        AuraForSpeechQA.from_pretrained(STUDENT_ID)
    assert f"The base LLM of {STUDENT_ID} could not be loaded from {BASE_ID}: " in str(not_found.value)
    assert "connection" not in str(not_found.value)


@pytest.mark.fault("hub")
def test_gated_for_somebody_who_is_logged_in(
    student: PublishedStudent, fake_hub: FakeHub, may_only_read: None
) -> None:
    fake_hub.refuse(403, "GatedRepo")
    with pytest.raises(HubAccessError, match=rf"{STUDENT_ID} is gated, and your account has no access to it"):
        AuraConfig.from_pretrained(STUDENT_ID)


@pytest.mark.fault("hub")
def test_no_network_is_said_as_such(
    student: PublishedStudent, no_network: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_downloads()
    said = "cannot be reached for .*Network is unreachable. Check the connection, or give a folder on this machine"
    for load in (AuraConfig, AuraForSpeechQA, AuraProcessor):
        with pytest.raises(HubAccessError, match=said):
            load.from_pretrained(STUDENT_ID)
    with pytest.raises(FileNotFoundError, match=said):
        AuraForSpeechQA.from_pretrained(student.folder)
    code, out, err = run(capsys, "merge", STUDENT_ID, str(tmp_path / "merged"))
    assert (code, out) == (1, "")
    assert f"cannot be reached for {STUDENT_ID}" in err
    assert "was not expected here" not in err


@pytest.mark.fault("hub")
def test_the_stock_classes_keep_the_reason_as_their_cause(
    student: PublishedStudent, fake_hub: FakeHub, quick_retries: None
) -> None:
    fake_hub.refuse(503, message="Down")
    with pytest.raises(OSError, match="connect") as caught:  # the stock text
        AutoConfig.from_pretrained(STUDENT_ID)
    assert (explain(caught.value, STUDENT_ID) or "").startswith("The Hub has a fault of its own (HTTP 503)")


@pytest.mark.fault("hub")
def test_an_offline_machine_without_a_copy(student: PublishedStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_downloads()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = f"HF_HUB_OFFLINE is set, so the Hub is not asked, and {STUDENT_ID} is not in the cache"
    for load in (AuraConfig, AuraForSpeechQA, AuraProcessor):
        with pytest.raises(HubAccessError, match=said):
            load.from_pretrained(STUDENT_ID)


def test_what_is_not_the_hub_s_fault_stays_as_it_is(
    student: PublishedStudent, fake_hub: FakeHub, tmp_path: Path
) -> None:
    assert explain(ValueError("no")) is None
    assert explain(BrokenPipeError("the pager was closed")) is None
    fake_hub.add_files("org/empty", {"README.md": b"nothing"})
    for name in ("org/empty", tmp_path):
        with pytest.raises(ValueError, match=r"holds no config\.json, so it is no AuRA student"):
            AuraForSpeechQA.from_pretrained(name)
