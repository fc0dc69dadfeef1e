"""Scores during training, of the student that ships."""

from pathlib import Path

import pytest

from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.evaluation.benchmarks import load_benchmark
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.systems import AuraSystem
from transformers_aura.evaluation.training_metrics import AnswerMetrics


pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"


def test_word_errors_during_training_are_those_of_an_evaluation(tmp_path):
    try:
        base = str(real_model_folder("smollm2-135m-instruct"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    orders = load_benchmark(f"barista={SPEECH}", limit=6)
    rows = [{"audio": str(SPEECH / item.name), "transcript": item.text} for item in orders.items]
    (tmp_path / "said.jsonl").write_text(
        "\n".join(f'{{"audio": "{row["audio"]}", "transcript": "{row["transcript"]}"}}' for row in rows)
    )
    system = AuraSystem("aura-smollm2-135m", base_model=base, dtype="float32")
    results = Evaluation([system], [load_benchmark(str(tmp_path / "said.jsonl"))], [Condition()], tmp_path).run()
    (expected,) = (figure.value for figure in results.select(scorer="wer"))
    settings = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "per_device_eval_batch_size": 4}
    trainer = AuraTrainer(
        AuraForSpeechQA.from_pretrained("aura-smollm2-135m", base_model_name_or_path=base, dtype="float32"),
        args=AuraTrainingArguments(str(tmp_path / "run"), supervision="transcript", **settings),
        eval_dataset=rows,
        processing_class=AuraProcessor.from_pretrained("aura-smollm2-135m"),
        compute_metrics=AnswerMetrics(["wer"], "en"),
    )
    assert trainer.evaluate()["eval_wer"] == pytest.approx(expected)
    assert expected < 0.3
