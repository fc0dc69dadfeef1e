"""What a student answers in an evaluation."""

import json
from pathlib import Path

import pytest
import torch
from transformers import EarlyStoppingCallback, EvalPrediction

from tests.distillation.support import HEAD_WEIGHTS, HEADS, audio, tiny_rows, tiny_trainer
from transformers_aura.distillation.early_stopping import PatientCallback
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.evaluation.training_metrics import AnswerMetrics
from transformers_aura.pipelines.audio_question_answering import AudioQuestionAnsweringPipeline
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


MAX_NEW_TOKENS = 5
SUBWORD_HEAD, SUBWORD_WEIGHT = {"subword_ctc_layer": 1}, {"subword_ctc_weight": 0.5}


def answered_one_by_one(trainer: AuraTrainer, rows: list, **settings) -> list[str]:
    """What the pipeline, and `transcribe` for transcripts, answer to each row alone."""
    pipe = AudioQuestionAnsweringPipeline(trainer.model.eval(), trainer.processing_class)
    head = trainer.model.config.subword_ctc_layer is not None
    texts = []
    for row in rows:
        if head and not row.get("answer"):
            chat = [{"role": "user", "content": [{"type": "audio", "audio": row["audio"]}]}]
            inputs = trainer.processing_class.apply_chat_template(
                chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
            method = "greedy" if trainer.model.config.character_ctc_alphabet is None else "beam_search"
            (transcript,) = trainer.model.transcribe(
                **inputs, tokenizer=trainer.processing_class.tokenizer, method=method
            )
            texts.append(transcript.text)
            continue
        question = row.get("question") if row.get("answer") else TRANSCRIPTION_INSTRUCTION
        asked = {"audio": row["audio"]} | ({} if question is None else {"question": question})
        result = pipe(asked, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, **settings)
        texts.append(result[0]["answer"].strip() if result[0].get("heard") is not False else "")
    return texts


@pytest.mark.parametrize(
    ("student", "settings"),
    [
        ({}, {}),
        (SUBWORD_HEAD, SUBWORD_WEIGHT),
        ({**SUBWORD_HEAD, "answer_from": "transcript"}, SUBWORD_WEIGHT),
        ({**HEADS, "answer_from": "transcript"}, HEAD_WEIGHTS),
    ],
    ids=["directly", "transcripts by CTC", "answers from transcripts", "nothing is heard"],
)
def test_predict_gives_the_texts_that_each_row_alone_gets_in_the_order_of_the_dataset(
    tmp_path: Path, student: dict, settings: dict
) -> None:
    class Rows(list):
        seconds = (5, 4, 3, 2, 1, 6, 7)  # read in another order

    rows = Rows(tiny_rows(7))
    trainer = tiny_trainer(
        tmp_path, student=student, generation_max_new_tokens=MAX_NEW_TOKENS, per_device_eval_batch_size=3, **settings
    )
    seen: list[EvalPrediction] = []
    trainer.compute_metrics = lambda prediction: seen.append(prediction) or {"figure": 0.5}
    output = trainer.predict(rows)
    assert output.predictions == answered_one_by_one(trainer, rows)
    assert output.label_ids == [row.get("answer") or row["transcript"] for row in rows]
    assert output.metrics["test_figure"] == 0.5
    assert "test_lm_loss" in output.metrics
    (prediction,) = seen
    assert [asked["row"] for asked in prediction.inputs] == list(range(7))
    assert [asked["task"] for asked in prediction.inputs] == [
        "answer" if row.get("answer") else "transcript" for row in rows
    ]


def test_rows_without_audio_and_without_answers_are_answered_too(tmp_path: Path) -> None:
    rows = [{"audio": None, "question": "Who?", "answer": "I."}, *tiny_rows(2)]
    trainer = tiny_trainer(tmp_path, student={"lora_scope": "always"}, generation_max_new_tokens=2)
    text = trainer.predict(rows).predictions[0]
    pipe = AudioQuestionAnsweringPipeline(trainer.model, trainer.processing_class)
    assert text == pipe({"question": "Who?"}, max_new_tokens=2, do_sample=False)[0]["answer"].strip()
    alone = tiny_trainer(tmp_path, "alone", supervision="distillation", generation_max_new_tokens=2)
    output = alone.predict([{"audio": audio(0.4)}])
    assert (len(output.predictions), output.label_ids) == (1, [None])


def test_a_student_whose_weights_are_of_two_types_answers(tmp_path: Path) -> None:
    """A base LLM in bfloat16, what is trained in float32."""
    trainer = tiny_trainer(
        tmp_path, student={**HEADS, "dtype": torch.bfloat16}, generation_max_new_tokens=2, **HEAD_WEIGHTS
    )
    assert len(trainer.predict(tiny_rows(3)).predictions) == 3


class Falling:
    """Figures that get worse from evaluation to evaluation."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        self.calls += 1
        return {"wer": 0.1 * self.calls}


def test_the_best_word_error_rate_is_the_lowest_and_stops_a_training_early(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        eval_dataset=tiny_rows(6),
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        max_steps=6,
        metric_for_best_model="eval_wer",
        load_best_model_at_end=True,
        generation_max_new_tokens=2,
        callbacks=[EarlyStoppingCallback(2)],
        compute_metrics=Falling(),
    )
    trainer.train()
    assert trainer.state.global_step == 3, "the second that is no better ends it"
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-1")
    assert [entry["eval_wer"] for entry in trainer.state.log_history if "eval_wer" in entry] == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    samples = [json.loads(line) for line in (tmp_path / "run" / "_sample_answers.jsonl").read_text().splitlines()]
    assert [(each["step"], each["row"]) for each in samples] == [
        (step, row) for step in (1, 2, 3) for row in (0, 1, 3, 4)
    ]
    assert samples[0].keys() == {"step", "evaluation", "row", "task", "question", "transcript", "expected", "text"}


@pytest.mark.parametrize(
    ("metric", "greater"), [("eval_wer", False), ("cer", False), ("eval_noisy_wer", False), ("eval_exact_match", True), ("eval_answer", True), ("eval_loss", False)]
)  # fmt: skip
def test_which_way_a_metric_is_better(tmp_path: Path, metric: str, greater: bool) -> None:
    settings = {"report_to": "none", "use_cpu": True, "metric_for_best_model": metric}
    assert AuraTrainingArguments(str(tmp_path), **settings).greater_is_better is greater
    assert AuraTrainingArguments(str(tmp_path), greater_is_better=True, **settings).greater_is_better is True


def test_scorers_of_an_evaluation_score_the_trainers_answers(tmp_path: Path) -> None:
    rows = tiny_rows(6)
    trainer = tiny_trainer(tmp_path, eval_dataset=rows, generation_max_new_tokens=3, compute_metrics=AnswerMetrics())
    metrics = trainer.evaluate()
    assert metrics["eval_wer"] > 0
    assert 0 <= metrics["eval_exact_match"] <= 1
    trainer.compute_metrics = None
    assert "eval_wer" not in trainer.evaluate(), "nothing is generated where nobody asks for it"


@pytest.mark.parametrize(("callback", "steps"), [(EarlyStoppingCallback, 3), (PatientCallback, 5)])
def test_of_evaluations_that_are_as_good_the_last_counts_and_patience_begins_with_the_answers(
    tmp_path: Path, callback: type[EarlyStoppingCallback], steps: int
) -> None:
    trainer = tiny_trainer(
        tmp_path,
        eval_dataset=tiny_rows(2),
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        max_steps=8,
        distillation_warmup_steps=3,
        metric_for_best_model="eval_wer",
        load_best_model_at_end=True,
        generation_max_new_tokens=2,
        callbacks=[callback(2)],
        compute_metrics=lambda prediction: {"wer": 1.0},
    )
    trainer.train()
    assert trainer.state.global_step == steps
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{steps}")
