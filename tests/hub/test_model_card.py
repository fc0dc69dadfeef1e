"""The model card fills itself, and what it says is true."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load

from tests.support.fake_hub import FakeHub
from tests.support.published import BASE_ID, STUDENT_ID, publish_student
from tests.support.tiny_models import tiny_language_model
from transformers_aura.decoding.alphabet import CharacterAlphabet
from transformers_aura.decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from transformers_aura.hub import HubError, Result, TrainingSummary, add_results, save_model_card
from transformers_aura.hub.repo_folder import human_bytes


SUMMARY = TrainingSummary(
    teacher="openai/whisper-tiny.en",
    data=["4,900 spoken orders"],
    datasets=["org/orders"],
    losses={"cosine": 0.25, "lm": 0.01},
    loss_weights={"cosine": 1.0, "lm": 1.0},
    num_steps=1200,
    duration_seconds=300.0,
    recipe="name: orders\n",
    results=[
        Result("accuracy", 0.9, "spoken orders, held out", 120, (0.83, 0.95), "make demo"),
        Result("wer", 0.15, "spoken questions", 40),
    ],
    limits=["It knows the menu of one café."],
    languages=["en"],
)


@pytest.fixture
def folder(fake_hub: FakeHub, tmp_path: Path) -> Path:
    return publish_student(fake_hub, tmp_path).folder


def test_metadata_is_what_the_hub_reads(folder: Path) -> None:
    metadata = metadata_load(save_model_card(folder, SUMMARY, repo_id=STUDENT_ID))
    assert metadata["pipeline_tag"] == "audio-text-to-text"
    assert {"audio-question-answering", "aura"} <= set(metadata["tags"])
    assert (metadata["base_model"], metadata["base_model_relation"]) == (BASE_ID, "adapter")
    assert metadata["license"] == "apache-2.0"  # the base model's own
    assert metadata["datasets"] == ["org/orders"]
    assert metadata["language"] == ["en"]
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert [(result.metric_type, result.metric_value) for result in results] == [("accuracy", 0.9), ("wer", 0.15)]


def test_text_says_what_was_trained_and_how_large_it_is(folder: Path) -> None:
    text = save_model_card(folder, SUMMARY, repo_id=STUDENT_ID).read_text(encoding="utf-8")
    num_bytes = (folder / "model.safetensors").stat().st_size
    num_base_parameters = sum(parameter.numel() for parameter in tiny_language_model().parameters())
    for said in (
        f"({num_bytes:,} bytes)",
        f"| parameters of the language model | {num_base_parameters:,} |",
        "openai/whisper-tiny.en",
        "rank 4, alpha 4, first 2 of 3 layers",
        "12.5 audio tokens a second",
        "| cosine | 1.0 | 0.2500 |",
        "1,200 optimizer steps in 5.0 minutes",
        "| accuracy | 0.9 | 0.83 – 0.95 | 120 | spoken orders, held out |",
        "| wer | 0.15 | not computed | 40 | spoken questions |",
        "It knows the menu of one café.",
        "name: orders",
        "2606.11033",
        f'model="{STUDENT_ID}"',
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("heads", "said", "transcripts", "questions"),
    [
        ({}, "an audio patch embedding and LoRA.", None, None),
        (
            {"character_ctc_alphabet": " ab"},
            "LoRA and a character CTC head.",
            "(on the patch embedding); the base LLM scores",
            "audio",
        ),
        ({"subword_ctc_layer": 2}, "LoRA and a subword CTC head.", 'first 2 layers (`method="greedy"`)', "audio"),
        (
            {"character_ctc_alphabet": " ab", "subword_ctc_layer": 1, "answer_from": "transcript"},
            "LoRA, a character CTC head and a subword CTC head.",
            "and the subword CTC head (after the first 1 layers); the base LLM scores the best texts",
            "transcript",
        ),
    ],
)
def test_card_names_the_ctc_heads(
    folder: Path, heads: dict[str, Any], said: str, transcripts: str | None, questions: str | None
) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | heads))
    text = save_model_card(folder).read_text(encoding="utf-8")
    assert said in text
    assert ("| transcripts |" in text) == (transcripts is not None)
    assert transcripts is None or transcripts in text
    assert ("| questions |" in text) == (questions is not None)
    assert questions is None or f"| questions | answered from the {questions} by default" in text


def test_card_tells_counted_text_from_weights(folder: Path) -> None:
    config = folder / "config.json"
    heads = {"character_ctc_alphabet": " eht", "subword_ctc_layer": 2}
    config.write_text(json.dumps(json.loads(config.read_text()) | heads))
    without = save_model_card(folder).read_text(encoding="utf-8")
    statistics = TextStatistics.count(["the"], [[5]], CharacterAlphabet(" eht"), 300, 7)
    statistics.save(folder / TEXT_STATISTICS_FILE_NAME)
    with_text = save_model_card(folder).read_text(encoding="utf-8")
    assert (
        with_text.replace("), the subword", ") and the subword").replace(" and counted text; the", "; the")
        == without
        != with_text
    )


def test_nothing_is_claimed_that_is_not_known(folder: Path) -> None:
    text = save_model_card(folder).read_text(encoding="utf-8")
    assert "None were recorded" in text
    assert "## Training" not in text
    assert "None |" not in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize("results", [SUMMARY.results, []])
def test_words_of_ones_own_follow_the_results(folder: Path, results: list[Result]) -> None:
    summary = replace(SUMMARY, results=results, results_text="Heard in a **quiet** room.\n\n- one seed\n")
    text = save_model_card(folder, summary, packaged=True).read_text(encoding="utf-8")
    assert "\n\nHeard in a **quiet** room.\n\n- one seed\n\n## Limits\n" in text
    assert ("| accuracy | 0.9 |" in text) == bool(results)
    assert "None were recorded" not in text
    assert f'packaged_student("{folder.name}")' in text
    assert "\n\n\n" not in text.partition("## Results")[2]


def test_licence_can_be_given(folder: Path) -> None:
    assert metadata_load(save_model_card(folder, license="mit"))["license"] == "mit"


def test_card_of_a_merged_checkpoint(fake_hub: FakeHub, tmp_path: Path) -> None:
    student = publish_student(fake_hub, tmp_path)
    merged = tmp_path / "merged"
    student.model.merge().save_pretrained(merged)
    card = save_model_card(merged, base_model=BASE_ID)
    metadata = metadata_load(card)
    assert (metadata["base_model"], metadata["base_model_relation"]) == (BASE_ID, "finetune")
    assert "full checkpoint" in card.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(999, "999 bytes"), (24_500_000, "24.5 MB"), (15_200_000_000, "15.2 GB")]
)
def test_human_bytes(num_bytes: int, text: str) -> None:
    assert human_bytes(num_bytes) == text


@pytest.mark.fault("hub")
@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"results": 5}', '{"results": [], "unheard": 1}', '{"results": [{}]}']
)
def test_a_damaged_summary_of_the_training_is_named(folder: Path, content: str) -> None:
    SUMMARY.save(folder)
    (file,) = (file for file in folder.iterdir() if file.read_bytes().startswith(b'{\n  "teacher"'))
    file.write_text(content)
    with pytest.raises(HubError, match=rf"{file.name} is damaged .*Remove it"):
        add_results(folder, [Result("accuracy", 0.5, "real people", 12)])


def test_results_that_come_later_join_the_card(folder: Path) -> None:
    SUMMARY.save(folder)
    better = Result("accuracy", 0.95, "spoken orders, held out", 240, (0.91, 0.97))
    text = add_results(folder, [better, Result("accuracy", 0.5, "real people", 12)]).read_text(encoding="utf-8")
    assert "| accuracy | 0.95 | 0.91 – 0.97 | 240 | spoken orders, held out |" in text
    assert "| accuracy | 0.5 | not computed | 12 | real people |" in text
    assert "| wer | 0.15 |" in text
    assert "0.83" not in text
    assert "It knows the menu of one café." in text  # what the training said is still there
    assert TrainingSummary.load(folder).results[1] == better
