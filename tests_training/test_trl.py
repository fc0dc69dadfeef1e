"""Students in TRL's trainers: what they learn from is what they hear, and equals what is computed by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from datasets import Dataset
from peft import LoraConfig

from tests.distillation.support import tiny_trainer
from tests.support.tiny import tone
from tests.support.tiny_models import tiny_student
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.distillation.objectives import OnPolicyObjective


trl = pytest.importorskip("trl", minversion="1.16")

from trl.experimental.gkd import GKDTrainer  # noqa: E402

from transformers_aura.trl import AuraDPOTrainer, AuraGRPOTrainer, AuraSFTTrainer  # noqa: E402


ANSWERS = ("yes", "no, never", "hi hi", "who?")
PAGE = Path(__file__).parents[1] / "docs" / "trl.md"


@pytest.fixture
def student(tmp_path: Path) -> AuraForSpeechQA:
    """Saved in `tmp_path / "student"`, with its processor."""
    student = tiny_student(tmp_path / "base")
    processor = AuraProcessor.from_language_model_pretrained(tmp_path / "base")
    student.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    student.save_pretrained(tmp_path / "student")
    processor.save_pretrained(tmp_path / "student")
    return AuraForSpeechQA.from_pretrained(tmp_path / "student")


@pytest.fixture
def processor(student: AuraForSpeechQA) -> AuraProcessor:
    return AuraProcessor.from_pretrained(student.name_or_path)


def prompts(folder: Path) -> list[list[dict[str, Any]]]:
    """Questions of different lengths, spoken; every other one with a text beside the audio."""
    chats = []
    for number in range(len(ANSWERS)):
        path = folder / f"{number}.flac"
        soundfile.write(path, tone(0.3 + 0.17 * number, 200 + 90 * number), 16000)
        parts = [{"type": "audio", "audio": str(path)}]
        parts += [{"type": "text", "text": "Is it so?"}] if number % 2 else []
        chats.append([{"role": "user", "content": parts}])
    return chats


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def in_parts(answer: list[dict[str, str]]) -> dict[str, Any]:
    """The message with its text as a part: `datasets` holds no lists beside strings in one column."""
    return {"role": "assistant", "content": [{"type": "text", "text": answer[0]["content"]}]}


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    """What all trainings have in common."""
    return {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": len(ANSWERS),
        "max_steps": 1,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **more,
    }


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def log_probability(student: AuraForSpeechQA, processor: AuraProcessor, prompt: list, answer: str) -> torch.Tensor:
    """Of the answer and the token that ends it, row by row and without padding, `(tokens,)`."""
    inputs = processor.apply_chat_template(
        prompt, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    answer_ids = processor.tokenizer(answer + "<|im_end|>", add_special_tokens=False, return_tensors="pt")["input_ids"]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer_ids], 1)
    del inputs["attention_mask"]
    with torch.no_grad():
        logits = student(**inputs).logits[0, -answer_ids.shape[1] - 1 : -1]
    return logits.log_softmax(-1).gather(1, answer_ids[0, :, None])[:, 0]


@pytest.mark.parametrize("form", ["prompt and completion", "messages"])
def test_sft_begins_at_the_loss_of_aura_trainer_and_teaches_what_hears(
    tmp_path: Path, student: AuraForSpeechQA, form: str
) -> None:
    pairs = list(zip(prompts(tmp_path), map(says, ANSWERS), strict=True))
    rows = [
        {"messages": [*prompt, in_parts(answer)]} if form == "messages" else {"prompt": prompt, "completion": answer}
        for prompt, answer in pairs
    ]
    reference = tiny_trainer(
        tmp_path,
        student=AuraForSpeechQA.from_pretrained(tmp_path / "student"),
        train_dataset=[
            {"audio": str(tmp_path / f"{number}.flac"), "answer": answer}
            | ({"question": "Is it so?"} if number % 2 else {})
            for number, answer in enumerate(ANSWERS)
        ],
        teacher=None,
        supervision="transcript",
        random_gain_db=0,
        max_steps=1,
    )
    reference.train()
    # by its folder, and with no argument but those of TRL
    trainer = AuraSFTTrainer(
        str(tmp_path / "student"),
        trl.SFTConfig(**settings(tmp_path, max_steps=20)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
    )
    before = {name: p.clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    expected = trainer.evaluate()["eval_loss"]
    trainer.train()
    losses = logged(trainer, "loss")
    assert losses[0] == pytest.approx(logged(reference, "lm_loss")[0], rel=1e-4)
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.8 * losses[0]
    moved = [
        name for name, p in trainer.model.named_parameters() if name in before and not torch.equal(before[name], p)
    ]
    assert any("embed_audio" in name for name in moved)
    assert any("lora" in name for name in moved)
    trainer.save_model(str(tmp_path / "trained"))
    again = AuraForSpeechQA.from_pretrained(tmp_path / "trained")
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, trainer.model.get_parameter(name)), name


def test_sft_refuses_what_it_could_not_do_right(tmp_path: Path, student: AuraForSpeechQA) -> None:
    rows = Dataset.from_list([{"prompt": prompt, "completion": says("yes")} for prompt in prompts(tmp_path)])
    with pytest.raises(ValueError, match="would teach the student to say audio positions"):
        AuraSFTTrainer(student, trl.SFTConfig(**settings(tmp_path, completion_only_loss=False)), train_dataset=rows)
    trainer = AuraSFTTrainer(student, trl.SFTConfig(**settings(tmp_path, max_length=8)), train_dataset=rows)
    with pytest.raises(
        ValueError, match=r"A row has \d+ tokens, `max_length` allows 8\. Rows with audio are never cut"
    ):
        trainer.train()
    rows = Dataset.from_list([{"messages": prompt} for prompt in prompts(tmp_path)])
    trainer = AuraSFTTrainer(student, trl.SFTConfig(**settings(tmp_path)), train_dataset=rows)
    with pytest.raises(ValueError, match="must end with a message of the assistant"):
        trainer.train()


def test_dpo_compares_what_is_heard(tmp_path: Path, student: AuraForSpeechQA, processor: AuraProcessor) -> None:
    rows = [
        {"prompt": prompt, "chosen": says(answer), "rejected": says(answer[::-1] + "!")}
        for prompt, answer in zip(prompts(tmp_path), ANSWERS, strict=True)
    ]
    trainer = AuraDPOTrainer(
        student,
        args=trl.DPOConfig(**settings(tmp_path, max_steps=8)),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
    )
    assert trainer.ref_model.lm_head.weight is student.lm_head.weight, "the base LLM is there once"
    expected = {
        kind: sum(
            log_probability(student, processor, row["prompt"], row[kind][0]["content"]).sum().item() for row in rows
        )
        / len(rows)
        for kind in ("chosen", "rejected")
    }
    trainer.train()
    for kind, mean in expected.items():
        assert logged(trainer, f"logps/{kind}")[0] == pytest.approx(mean, rel=1e-4)
    assert logged(trainer, "loss")[0] == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-4), (
        "the reference is the student itself"
    )
    margins = logged(trainer, "rewards/margins")
    assert margins[-1] > margins[0] + 0.01
    as_it_came = AuraForSpeechQA.from_pretrained(student.name_or_path)
    for name, parameter in as_it_came.named_parameters():
        assert torch.equal(parameter, trainer.ref_model.get_parameter(name)), name
    assert not torch.equal(student.model.embed_audio.proj.weight, as_it_came.model.embed_audio.proj.weight)


def test_a_further_adapter_is_trained_alone(
    tmp_path: Path, student: AuraForSpeechQA, processor: AuraProcessor
) -> None:
    rows = [
        {"prompt": prompt, "chosen": says(answer), "rejected": says("hm")}
        for prompt, answer in zip(prompts(tmp_path), ANSWERS, strict=True)
    ]
    trainer = AuraDPOTrainer(
        student,
        args=trl.DPOConfig(**settings(tmp_path, max_steps=3)),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=LoraConfig(target_modules=["o_proj"], r=2),
    )
    trainer.train()
    assert logged(trainer, "loss")[0] == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-4)
    assert logged(trainer, "rewards/margins")[-1] > 0
    for name, parameter in AuraForSpeechQA.from_pretrained(student.name_or_path).named_parameters():
        if ".o_proj." not in name:
            assert torch.equal(parameter, student.get_parameter(name)), name


def test_grpo_rewards_what_generate_says_to_the_audio(
    tmp_path: Path, student: AuraForSpeechQA, processor: AuraProcessor
) -> None:
    """Rows in groups of four samples, shuffled and split into batches: each keeps its own audio."""
    rows = [
        {"prompt": prompt, "transcript": answer} for prompt, answer in zip(prompts(tmp_path), ANSWERS, strict=True)
    ]
    seen: list[tuple[str, str]] = []

    def likes_e(completions: list, transcript: list[str], **columns: Any) -> list[float]:
        seen.extend((said[0]["content"], true) for said, true in zip(completions, transcript, strict=True))
        return [float(said[0]["content"].count("e")) for said in completions]

    trainer = AuraGRPOTrainer(
        student,
        likes_e,
        trl.GRPOConfig(
            **settings(
                tmp_path,
                max_steps=12,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=4,
                num_generations=4,
                max_completion_length=6,
                learning_rate=2e-2,
            )
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
    )
    inputs: list[dict[str, Any]] = []
    compute_loss = trainer._compute_loss

    def checked(model: Any, batch: dict[str, Any]) -> torch.Tensor:
        inputs.append(batch)
        return compute_loss(model, batch)

    trainer._compute_loss = checked
    per_token = trainer._get_per_token_logps_and_entropies
    found: list[torch.Tensor] = []

    def kept(*args: Any, **kwargs: Any) -> Any:
        output = per_token(*args, **kwargs)
        found.append(output[0].detach())
        if len(found) <= 4:  # of the first step, before the weights move
            assert_log_probabilities_of(student, inputs[-1], found[-1])
        return output

    trainer._get_per_token_logps_and_entropies = kept
    trainer.train()
    assert {true for _, true in seen} == set(ANSWERS)
    assert len(seen) == 12 * 16
    rewards = logged(trainer, "reward")
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3]), rewards
    audio_token = processor.audio_token_id
    assert not any((batch["completion_ids"] == audio_token).any() for batch in inputs)
    assert "image_token_id" not in student.config.to_dict()


def assert_log_probabilities_of(student: AuraForSpeechQA, batch: dict[str, Any], found: torch.Tensor) -> None:
    """Each row by itself, without padding, through the student's own forward."""
    for row, clips in enumerate(batch["clips"]):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        completion = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        assert len(clips) == 1
        with torch.no_grad():
            logits = student.base_model(input_ids=torch.cat([prompt, completion])[None], input_features=clips[0][None])
            logits = student.compute_logits(logits.last_hidden_state[0, len(prompt) - 1 : -1])
        expected = logits.log_softmax(-1).gather(1, completion[:, None])[:, 0]
        torch.testing.assert_close(found[row, : len(completion)], expected, rtol=1e-3, atol=1e-4)


def test_greedy_completions_of_grpo_are_those_of_generate(
    tmp_path: Path, student: AuraForSpeechQA, processor: AuraProcessor
) -> None:
    chats = prompts(tmp_path)
    said: list[str] = []

    def listen(completions: list, **columns: Any) -> list[float]:
        said.extend(answer[0]["content"] for answer in completions)
        return [0.0] * len(completions)

    trainer = AuraGRPOTrainer(
        student,
        listen,
        trl.GRPOConfig(
            **settings(
                tmp_path,
                num_generations=2,
                max_completion_length=6,
                generation_kwargs={"do_sample": False, "temperature": None, "top_p": None, "top_k": None},
            )
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in chats]),
        processing_class=processor,
    )
    expected = set()
    for chat in chats:
        inputs = processor.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        tokens = student.eval().generate(
            **inputs, max_new_tokens=6, do_sample=False, suppress_tokens=[processor.audio_token_id]
        )
        expected.add(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    trainer.train()
    assert said
    assert set(said) <= expected
    assert said[0::2] == said[1::2]


def test_grpo_refuses_what_trl_hands_no_audio(tmp_path: Path, student: AuraForSpeechQA) -> None:
    with pytest.raises(ValueError, match=r"`beta=0\.1` is not supported"):
        AuraGRPOTrainer(student, lambda **_: [], trl.GRPOConfig(**settings(tmp_path, num_generations=2, beta=0.1)))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_divergence_of_on_policy_distillation_is_that_of_trl(beta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(5, 17, generator=generator) for _ in range(2))
    expected = GKDTrainer.generalized_jsd_loss(student[None], teacher[None], beta=beta, reduction="sum")
    torch.testing.assert_close(OnPolicyObjective.divergences(student, teacher, beta).sum(), expected)


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_page_run(
    tmp_path: Path, student: AuraForSpeechQA, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(examples) == 3
    monkeypatch.chdir(tmp_path)
    soundfile.write("question.flac", tone(0.5), 16000)
    names: dict[str, Any] = {}
    exec(compile(examples[number], str(PAGE), "exec"), names)
    trained = AuraForSpeechQA.from_pretrained(names["trainer"].args.output_dir)
    assert type(trained) is AuraForSpeechQA
