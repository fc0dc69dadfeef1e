"""The whole loop on real weights and real speech: compose, distil a few steps, save, load by the Auto classes, ask, merge."""

import copy
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor, pipeline, set_seed

from tools.real_models import real_model_folder
from transformers_aura import AuraForSpeechQA, AuraProcessor, AuraTeacher, AuraTrainer, AuraTrainingArguments


pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parent / "fixtures" / "speech"
ROWS = [
    {"audio": str(SPEECH / row["audio"]), "transcript": row["transcript"], "answer": row["slots"]["coffeeDrink"]}
    for row in map(json.loads, (SPEECH / "manifest.jsonl").read_text().splitlines())
][:3]


@pytest.fixture(scope="module")
def folders():
    try:
        return real_model_folder("smollm2-135m-instruct"), real_model_folder("whisper-tiny.en")
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def trained(folders, tmp_path_factory):
    """A student of 24 steps on three clips, its processor, its folder and the trainer's history."""
    llm, whisper = folders
    set_seed(0)
    teacher = AuraTeacher.from_pretrained(whisper, pad_to_seconds=5)
    student = AuraForSpeechQA.from_language_model_pretrained(llm, lora_rank=8, lora_num_layers=8)
    student.init_audio_embedding_from_teacher(teacher.encoder)
    processor = AuraProcessor.from_language_model_pretrained(llm)
    out = tmp_path_factory.mktemp("student")
    trainer = AuraTrainer(
        model=student,
        teacher=teacher,
        args=AuraTrainingArguments(
            out, max_steps=24, per_device_train_batch_size=3, learning_rate=2e-3, warmup_steps=3, logging_steps=5,
            random_gain_db=0.0, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
        ),
        train_dataset=[{key: row[key] for key in ("audio", "answer")} for row in ROWS],
        processing_class=processor,
    )  # fmt: skip
    trainer.train()
    trainer.save_model()
    return student.eval(), processor, out, [log for log in trainer.state.log_history if "lm_loss" in log]


@torch.no_grad()
def test_text_is_the_real_llm_bit_for_bit(folders, trained):
    student, processor, _, _ = trained
    base = AutoModelForCausalLM.from_pretrained(folders[0])
    chats = [
        [{"role": "user", "content": question}]
        for question in ("What is the capital of France?", "Name three colours, and say which one you like best.")
    ]
    inputs = processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert torch.equal(student(**inputs).logits, base(**inputs).logits)
    tokens = student.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert torch.equal(tokens, base.generate(**inputs, max_new_tokens=12, do_sample=False))
    assert "Paris" in processor.decode(tokens[0], skip_special_tokens=True)


def test_distillation_teaches_real_weights(trained):
    *_, history = trained
    assert history[-1]["cosine"] > history[0]["cosine"] + 0.2
    assert history[-1]["lm_loss"] < 0.5 * history[0]["lm_loss"]


def test_loaded_by_the_auto_classes_it_answers_as_it_did(trained):
    student, processor, out, _ = trained
    assert (out / "model.safetensors").stat().st_size < 16e6
    assert sum(path.stat().st_size for path in out.iterdir() if path.is_file()) < 25e6
    loaded, its_processor = AutoModel.from_pretrained(out), AutoProcessor.from_pretrained(out)
    clips = [row["audio"] for row in ROWS]
    before, after = (
        pipeline("audio-question-answering", model=model, processor=tools)(clips, batch_size=3, max_new_tokens=8)
        for model, tools in ((student, processor), (loaded, its_processor))
    )
    assert before == after
    single = pipeline("audio-question-answering", model=str(out))
    assert [single(clip, max_new_tokens=8) for clip in clips] == after


@torch.no_grad()
def test_merged_equals_unmerged_on_real_speech(trained):
    student, processor, _, _ = trained
    inputs = processor(text=f"{processor.audio_token} What is it?", audio=ROWS[0]["audio"], return_tensors="pt")
    # In double precision: in single, 30 layers of rounding hide errors as large as some that merging could make.
    student = copy.deepcopy(student).double()
    expected, found = student(**inputs).logits, student.merge()(**inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
