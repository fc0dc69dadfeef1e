"""What reaches the Hub, what stays at home, and what a person is told when it does not work."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModel, AutoProcessor

from tests.support.fake_hub import FakeHub
from tests.support.published import BASE_ID, PublishedStudent, logits_of, publish_student
from transformers_aura import AuraForSpeechQA
from transformers_aura.decoding.alphabet import LATIN_ALPHABET, CharacterAlphabet
from transformers_aura.decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from transformers_aura.hub import HubError, push_to_hub, save_model_card
from transformers_aura.hub.repo_folder import RepoFolder, is_hub_id


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    return publish_student(fake_hub, tmp_path)


def test_push_and_load_back_exactly(student: PublishedStudent, fake_hub: FakeHub, may_write: None) -> None:
    (student.folder / "checkpoint-10").mkdir()
    (student.folder / "training_args.bin").write_bytes(b"a pickle")
    (student.folder / "optimizer.pt").write_bytes(b"a pickle")
    lines: list[str] = []
    pushed = push_to_hub(student.folder, "org/new", report=lines.append)

    files = fake_hub.files("org/new")
    assert {"README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= files.keys()
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert pushed.left_out == ("checkpoint-10/", "optimizer.pt", "training_args.bin")
    assert pushed.num_bytes == sum(len(files[name]) for name in pushed.files)
    assert "no base weights" in lines[0]
    assert "not uploaded: optimizer.pt" in lines

    model = AutoModel.from_pretrained("org/new", revision=pushed.commit)
    processor = AutoProcessor.from_pretrained("org/new", revision=pushed.commit)
    assert torch.equal(logits_of(model, processor), logits_of(student.model, student.processor))


def test_counted_text_is_saved_pushed_and_loaded(
    student: PublishedStudent, fake_hub: FakeHub, may_write: None
) -> None:
    model, tokenizer = student.model, student.processor.tokenizer
    texts = ["the cat", "the cat", "a cat"]
    model.text_statistics = TextStatistics.count(
        texts,
        tokenizer(texts).input_ids,
        CharacterAlphabet(LATIN_ALPHABET),
        model.config.text_config.vocab_size,
        tokenizer.eos_token_id,
    )
    num_bytes = RepoFolder.read(student.folder).num_bytes
    model.save_pretrained(student.folder)
    assert RepoFolder.read(student.folder).num_bytes == num_bytes  # that of the weights
    pushed = push_to_hub(student.folder, "org/new")
    assert TEXT_STATISTICS_FILE_NAME in pushed.files
    model.push_to_hub("org/another")
    for repo in ("org/new", "org/another"):
        assert (
            fake_hub.files(repo)[TEXT_STATISTICS_FILE_NAME]
            == (student.folder / TEXT_STATISTICS_FILE_NAME).read_bytes()
        )
        loaded = AuraForSpeechQA.from_pretrained(repo)
        assert loaded.text_statistics is not None
        assert loaded.text_statistics.lexicon.words == model.text_statistics.lexicon.words
        assert loaded.text_statistics.end == tokenizer.eos_token_id
    (student.folder / TEXT_STATISTICS_FILE_NAME).unlink()
    assert AuraForSpeechQA.from_pretrained(student.folder).text_statistics is None


def test_counts_of_another_llm_are_refused(student: PublishedStudent) -> None:
    TextStatistics.count(["the"], [[5]], CharacterAlphabet(LATIN_ALPHABET), 300, 7).save(
        student.folder / TEXT_STATISTICS_FILE_NAME
    )
    with pytest.raises(ValueError, match="an LLM with 300 tokens"):
        AuraForSpeechQA.from_pretrained(student.folder)


def test_the_base_is_never_uploaded_again(student: PublishedStudent, fake_hub: FakeHub, may_write: None) -> None:
    base_size = len(fake_hub.files(BASE_ID)["model.safetensors"])
    push_to_hub(student.folder, "org/new")
    sent = [request for request in fake_hub.requests if request.method in ("PUT", "POST")]
    assert sum(request.num_body_bytes for request in sent) < base_size
    assert not fake_hub.requested("POST", f"{BASE_ID}/commit")


def test_a_card_is_written_when_there_is_none(student: PublishedStudent, fake_hub: FakeHub, may_write: None) -> None:
    (student.folder / "README.md").unlink()
    push_to_hub(student.folder, "org/new")
    assert b'pipeline("audio-question-answering", model="org/new")' in fake_hub.files("org/new")["README.md"]
    assert not (student.folder / "README.md").exists()


def test_to_a_branch_of_a_repo_that_exists(student: PublishedStudent, fake_hub: FakeHub, may_write: None) -> None:
    push_to_hub(student.folder, "org/new")
    with pytest.raises(HubError, match=r"org/new exists already.*--update"):
        push_to_hub(student.folder, "org/new")
    (student.folder / "README.md").write_text("changed")
    push_to_hub(student.folder, "org/new", update=True, revision="trial")
    assert fake_hub.files("org/new", "trial")["README.md"] == b"changed"
    assert fake_hub.files("org/new", "main")["README.md"] != b"changed"


def test_nobody_is_logged_in(student: PublishedStudent) -> None:
    with pytest.raises(HubError, match="hf auth login"):
        push_to_hub(student.folder, "org/new")


def test_a_token_that_may_not_write(student: PublishedStudent, may_only_read: None) -> None:
    with pytest.raises(HubError, match="may not write to org"):
        push_to_hub(student.folder, "org/new")


@pytest.mark.fault("hub")
@pytest.mark.parametrize("paths", ["/api/models/org/tiny-qwen2", "/api/repos/create", "/commit/"])
@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "Log in|log in"), (403, "may not write to org|does not let you have"), (429, "too many"), (503, "fault of its own .HTTP 503")],
)  # fmt: skip
def test_what_the_hub_objects_to_is_said(
    student: PublishedStudent,
    fake_hub: FakeHub,
    may_write: None,
    quick_retries: None,
    status: int,
    paths: str,
    said: str,
) -> None:
    fake_hub.refuse(status, paths=paths)
    with pytest.raises(HubError, match=said) as caught:
        push_to_hub(student.folder, "org/new")
    assert "connection" not in str(caught.value)
    fake_hub.accept()
    push_to_hub(student.folder, "org/new", update=True)


@pytest.mark.fault("hub")
def test_a_lost_connection_is_said(student: PublishedStudent, may_write: None, no_network: None) -> None:
    with pytest.raises(HubError, match=rf"cannot be reached for {BASE_ID}: .*Check the connection"):
        push_to_hub(student.folder, "org/new")


def test_an_upload_that_breaks_off_publishes_nothing(
    student: PublishedStudent, fake_hub: FakeHub, may_write: None
) -> None:
    student_weights = student.folder / "model.safetensors"
    model = student.model
    with torch.no_grad():
        model.model.embed_audio.norm.weight.add_(1)  # so that these bytes are not on the Hub yet
    model.save_pretrained(student.folder)
    fake_hub.fail_uploads(507, "Insufficient Storage")
    with pytest.raises(HubError, match="Nothing was published"):
        push_to_hub(student.folder, "org/new")
    assert "model.safetensors" not in fake_hub.files("org/new")

    fake_hub.accept_uploads()
    push_to_hub(student.folder, "org/new", update=True)
    assert fake_hub.files("org/new")["model.safetensors"] == student_weights.read_bytes()


def test_a_base_in_a_local_folder_is_refused_unless_named(
    student: PublishedStudent, fake_hub: FakeHub, may_write: None, tmp_path: Path
) -> None:
    local = tmp_path / "local student"
    model = AuraForSpeechQA.from_language_model_pretrained(
        tmp_path / "base", lora_rank=4, lora_num_layers=2, conv_width=24
    )
    model.save_pretrained(local)
    student.processor.save_pretrained(local)
    save_model_card(local)
    with pytest.raises(HubError, match=r"local folder .*--base-model"):
        push_to_hub(local, "org/new")

    push_to_hub(local, "org/new", base_model=BASE_ID)
    assert json.loads(fake_hub.files("org/new")["config.json"])["base_model"] == BASE_ID
    assert json.loads((local / "config.json").read_text())["base_model"] != BASE_ID
    card = ModelCard(fake_hub.files("org/new")["README.md"].decode())
    assert card.data.base_model == BASE_ID
    assert f"[{BASE_ID}](https://huggingface.co/{BASE_ID})" in card.text
    assert "local folder" not in card.text
    assert str(tmp_path) not in str(card)
    loaded = AutoModel.from_pretrained("org/new")
    assert torch.equal(logits_of(loaded, student.processor), logits_of(model, student.processor))


def test_a_base_that_is_not_on_the_hub(student: PublishedStudent, fake_hub: FakeHub, may_write: None) -> None:
    del fake_hub.repos[BASE_ID]
    with pytest.raises(HubError, match=f"{BASE_ID} is not on the Hub"):
        push_to_hub(student.folder, "org/new")


def test_a_merged_checkpoint_only_when_asked_for(
    student: PublishedStudent, fake_hub: FakeHub, may_write: None, tmp_path: Path
) -> None:
    student.model.merge().save_pretrained(tmp_path / "merged")
    student.processor.save_pretrained(tmp_path / "merged")
    with pytest.raises(HubError, match="--full"):
        push_to_hub(tmp_path / "merged", "org/merged")
    push_to_hub(tmp_path / "merged", "org/merged", full=True)
    assert "model.safetensors" in fake_hub.files("org/merged")


def test_base_weights_in_a_compact_folder_are_refused(student: PublishedStudent, may_write: None) -> None:
    from safetensors.torch import load_file, save_file

    file = student.folder / "model.safetensors"
    save_file({**load_file(file), "model.language_model.norm.weight": torch.ones(32)}, file)
    with pytest.raises(HubError, match=r"model\.language_model\.norm\.weight"):
        push_to_hub(student.folder, "org/new")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no folder"),
        (lambda folder: folder.mkdir(), r"no config\.json"),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text('{"model_type": "qwen2"}')),
            "no AuRA student",
        ),
        (
            lambda folder: (folder.mkdir(), (folder / "config.json").write_text('{"model_type": "aura"}')),
            "no model.safet",
        ),
    ],
)
def test_a_folder_that_is_no_student(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "x")
    with pytest.raises(HubError, match=message):
        push_to_hub(tmp_path / "x", "org/new")


def test_a_truncated_file_is_named(student: PublishedStudent) -> None:
    file = student.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(HubError, match=r"model\.safetensors is damaged"):
        push_to_hub(student.folder, "org/new")


@pytest.mark.parametrize(
    ("name", "is_id"),
    [("org/name", True), ("/abs/path", False), ("./org/name", False), ("gpt2", False), ("a/b/c", False)],
)
def test_is_hub_id(name: str, is_id: bool) -> None:
    assert is_hub_id(name) is is_id
