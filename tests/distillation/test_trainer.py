import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.trainer_utils import set_seed

from tests.distillation.support import audio, tiny_rows, tiny_teacher, tiny_trainer
from tests.support.tiny_models import FAMILIES
from tests.support.tolerance import assert_equal_but_for_rounding, assert_same_gradients, num_terms
from transformers_aura.distillation import student_losses
from transformers_aura.distillation.alignment import pool_teacher_states
from transformers_aura.distillation.heads import HEADS_FILE_NAME, DistillationHeads
from transformers_aura.distillation.student_losses import Terms
from transformers_aura.distillation.text_alignment import align_ctc
from transformers_aura.distillation.trainer import HISTORY_FILE_NAME, last_complete_checkpoint
from transformers_aura.modeling.modeling_aura import AuraForSpeechQA
from transformers_aura.processing.conversation import TRANSCRIPTION_INSTRUCTION


COMPONENTS = ("cosine_loss", "mse_loss", "lm_loss", "answer_kl_loss")


def trained_weights(trainer):
    weights = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    if trainer.heads is not None:
        weights |= {f"heads.{name}": tensor.clone() for name, tensor in trainer.heads.state_dict().items()}
    return weights


def step_logs(trainer, *names):
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [[entry[name] for name in ("loss", *names)] for entry in logs]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def assert_same_training(found, expected, before, terms, num_steps):
    """Two runs of plain gradient descent took the same steps, but for rounding: of the gradients, and of a weight in every step."""
    for name, weight in found.items():
        step, size = (float(values.abs().max()) for values in (weight - before[name], weight))
        scale = step + size * (num_steps / terms) ** 0.5
        assert_equal_but_for_rounding(weight, expected[name], 2 * terms, scale, what=name)


def terms_of(trainer, batch):
    """Numbers that are added up in a loss of the batch: on the way through student and teacher, and over the batch."""
    batch_size, length = batch["input_ids"].shape
    teacher = 0 if trainer.targets is None else num_terms(trainer.targets.teacher.encoder, positions=100)
    return num_terms(trainer.losses, positions=length) + teacher + batch_size * length


# ---- the loss ----


@pytest.mark.numerical
def test_loss_equals_a_computation_by_hand(tmp_path):
    trainer = tiny_trainer(tmp_path, answer_kl_weight=0.5, answer_kl_temperature=2.0, mse_weight=0.3, lm_weight=0.7)
    trainer._ensure_statistics()
    student, heads = trainer.model, trainer.heads
    rows = tiny_rows(5)
    batch = trainer.data_collator(rows)
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.losses, dict(batch))

    with torch.no_grad():
        outputs = student(
            **{name: batch[name] for name in ("input_ids", "attention_mask", "input_features", "input_features_mask")},
            output_hidden_states=True,
        )
        base = student.model.language_model(batch["gold_input_ids"], attention_mask=batch["gold_attention_mask"])
        gold_logits = student.lm_head(base.last_hidden_state)
        heard = trainer.targets.teacher(batch["waveforms"])
    assert heads.pairs == [(0, 0), (1, 2)]
    cosines, errors = [], []
    clip = -1
    for row in range(len(rows)):
        positions = (batch["input_ids"][row] == student.config.audio_token_id).nonzero().flatten()
        clip += 1
        for pair, (student_layer, teacher_layer) in enumerate(heads.pairs):
            frames = batch["input_features_mask"][clip].sum().view(1)
            target, _ = pool_teacher_states(heard.hidden_states[teacher_layer][clip : clip + 1], frames, 8)
            target = (target[0] - heads.target_mean[pair]) / heads.target_std[pair]
            prediction = heads.heads[pair](outputs.hidden_states[student_layer + 1][row, positions])
            assert prediction.shape == target.shape
            for p, t in zip(prediction, target, strict=True):
                cosines.append(1 - p @ t / (p.norm() * t.norm()))
                errors.append(((p - t) ** 2).mean())
    cross_entropies, divergences = [], []
    gold_row = -1
    for row in range(len(rows)):
        has_gold = "answer" in rows[row]
        gold_row += has_gold
        answer = (batch["labels"][row] != -100).nonzero().flatten()
        for index, position in enumerate(answer):
            log_p = outputs.logits[row, position - 1].log_softmax(-1)
            cross_entropies.append(-log_p[batch["labels"][row, position]])
            if has_gold:
                gold_position = (batch["gold_labels"][gold_row] != -100).nonzero().flatten()[index]
                log_p = (outputs.logits[row, position - 1] / 2).log_softmax(-1)
                log_q = (gold_logits[gold_row, gold_position - 1] / 2).log_softmax(-1)
                divergences.append(4 * (log_q.exp() * (log_q - log_p)).sum())
    means = [torch.stack(values).mean() for values in (cosines, errors, cross_entropies, divergences)]
    expected = means[0] + 0.3 * means[1] + 0.7 * means[2] + 0.5 * means[3]
    assert_equal_but_for_rounding(loss, expected, terms_of(trainer, batch))


@pytest.mark.numerical
@pytest.mark.parametrize("family", FAMILIES)
def test_language_modeling_term_equals_the_models_own_loss(tmp_path, family):
    trainer = tiny_trainer_of(tmp_path, family, supervision="transcript", teacher=None)
    batch = trainer.data_collator(tiny_rows(4))
    trainer.model.eval()
    with torch.no_grad():
        own = trainer.model(**batch).loss
        ours = trainer.compute_loss(trainer.losses, dict(batch))
    assert_equal_but_for_rounding(ours, own, terms_of(trainer, batch))


def tiny_trainer_of(folder, family, **settings):
    from tests.support.tiny_models import save_tiny_language_model

    save_tiny_language_model(folder / "base", family)
    return tiny_trainer(folder, **settings)


@pytest.mark.numerical
def test_padding_never_enters_and_a_batch_is_the_sum_of_its_rows(tmp_path):
    trainer = tiny_trainer(tmp_path, answer_kl_weight=1.0, random_gain_db=0)
    trainer._ensure_statistics()
    trainer.model.eval()
    terms = Terms(distillation=True, language_modeling=True, answer_kl=True)
    rows = tiny_rows(5)
    with torch.no_grad():
        batch = trainer.data_collator(rows)
        together = trainer._sums(trainer.losses, batch, terms)
        apart = sum(trainer._sums(trainer.losses, trainer.data_collator([row]), terms) for row in rows)
    for sum_, expected in zip(together, apart, strict=True):
        assert_equal_but_for_rounding(sum_, expected, terms_of(trainer, batch))


@pytest.mark.numerical
def test_distillation_only_runs_the_lower_layers_up_to_the_audio(tmp_path):
    trainer = tiny_trainer(tmp_path, layer_mapping=[[0, 1]])
    trainer._ensure_statistics()
    trainer.model.eval()
    batch = trainer.data_collator(tiny_rows(4))
    seen = []
    for index, layer in enumerate(trainer.model.model.language_model.layers):
        layer.register_forward_hook(lambda module, args, output, index=index: seen.append((index, args[0].shape[1])))
    with torch.no_grad():
        cheap = trainer._sums(trainer.losses, batch, Terms(True, False, False))
        assert seen == [
            (0, 1 + int((batch["input_ids"] == trainer.model.config.audio_token_id).nonzero()[:, 1].max()))
        ]
        whole = trainer._sums(trainer.losses, batch, Terms(True, True, False))
    for sum_, expected in zip(cheap[:2], whole[:2], strict=True):
        assert_equal_but_for_rounding(sum_, expected, terms_of(trainer, batch))
    assert cheap[2] == 0


@pytest.mark.numerical
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scope", ["rows", "audio", "always"])
def test_a_prompt_that_all_rows_share_runs_once_and_changes_nothing(tmp_path, monkeypatch, family, scope):
    monkeypatch.setattr(student_losses, "FEWEST_SHARED_TOKENS", 1)
    settings = {
        "answer_kl_weight": 0.5,
        "character_ctc_weight": 0.5,
        "subword_ctc_weight": 0.5,
        "text_state_weight": 0.5,
    }
    trainer = tiny_trainer_of(tmp_path, family, student={"lora_scope": scope}, **settings)
    trainer._ensure_statistics()
    torch.manual_seed(0)
    for name, parameter in trainer.model.named_parameters():
        if ".lora_B." in name:  # of a new student it is 0, and LoRA does nothing
            torch.nn.init.normal_(parameter, std=0.1)
    trainer.losses.eval()
    batch = trainer.data_collator(tiny_rows(5))
    lengths = []
    layer = trainer.model.model.language_model.layers[0]
    layer.register_forward_hook(lambda module, args, output: lengths.append(tuple(args[0].shape[:2])))

    def losses_and_gradients(share):
        trainer.losses.share_prompt = share
        trainer.losses.zero_grad()
        lengths.clear()
        loss = trainer.compute_loss(trainer.losses, dict(batch))
        loss.backward()
        return loss, {name: p.grad.clone() for name, p in trainer.losses.named_parameters() if p.grad is not None}

    expected, expected_gradients = losses_and_gradients(share=False)
    assert lengths[0] == tuple(batch["input_ids"].shape)
    loss, gradients = losses_and_gradients(share=True)
    assert lengths[0][0] == 1
    assert lengths[0][1] + lengths[1][1] == batch["input_ids"].shape[1]
    assert_equal_but_for_rounding(loss, expected, terms_of(trainer, batch))
    assert_same_gradients(gradients, expected_gradients, terms_of(trainer, batch))


def test_rows_that_begin_otherwise_or_hold_no_audio_share_no_prompt(tmp_path, monkeypatch):
    monkeypatch.setattr(student_losses, "FEWEST_SHARED_TOKENS", 2)
    trainer = tiny_trainer(tmp_path)
    batch = trainer.data_collator(tiny_rows(3))
    is_audio = batch["input_ids"] == trainer.model.config.audio_token_id
    shared = trainer.losses._num_shared_tokens
    num_shared = shared(batch["input_ids"], batch["attention_mask"], is_audio)
    assert num_shared == int(is_audio.nonzero()[:, 1].min())
    other = batch["input_ids"].clone()
    other[1, 2] += 1
    assert shared(other, batch["attention_mask"], is_audio) == 2
    other[1, 1] += 1
    assert shared(other, batch["attention_mask"], is_audio) == 0, "too few to be worth it"
    left_padded = batch["attention_mask"].clone()
    left_padded[2, 0] = 0
    assert shared(batch["input_ids"], left_padded, is_audio) == 0
    without_audio = is_audio.clone()
    without_audio[0] = False
    assert shared(batch["input_ids"], batch["attention_mask"], without_audio) == 0
    assert shared(batch["input_ids"][:1], batch["attention_mask"][:1], is_audio[:1]) == 0


# ---- trajectories ----


@pytest.mark.numerical
def test_gradient_accumulation_does_not_change_the_trajectory(tmp_path):
    # Plain gradient descent: Adam would make a whole step of a gradient that is nothing but rounding, and hide a wrong factor.
    settings = {"answer_kl_weight": 0.5, "max_steps": 3, "seed": 1, "optim": "sgd", "max_grad_norm": 0.0}
    whole = tiny_trainer(tmp_path, "whole", per_device_train_batch_size=8, **settings)
    before = trained_weights(whole)
    whole.train()
    split = tiny_trainer(tmp_path, "split", per_device_train_batch_size=1, gradient_accumulation_steps=8, **settings)
    split.train()
    terms = 3 * terms_of(whole, whole.data_collator(tiny_rows()))
    logs = (step_logs(trainer, *COMPONENTS, "cosine") for trainer in (split, whole))
    assert_equal_but_for_rounding(*logs, terms)
    assert_same_training(trained_weights(split), trained_weights(whole), before, terms, num_steps=3)


@pytest.mark.numerical
def test_ctc_loss_is_that_of_each_clip_alone(tmp_path):
    settings = {
        "supervision": "transcript",
        "lm_weight": 0.0,
        "character_ctc_weight": 2.0,
        "character_ctc_layers": [0, 2],
        "random_gain_db": 0.0,
    }
    trainer = tiny_trainer(tmp_path, teacher=None, **settings)
    rows = [row for row in tiny_rows(3) if "answer" in row] + [{"audio": audio(0.5), "transcript": "two 2"}]
    batch = trainer.data_collator(rows)
    trainer.losses.requires_grad_(False)
    loss, output = trainer.compute_loss(trainer.losses, dict(batch), return_outputs=True)
    sums, characters = 0.0, 0
    for row in rows[:-1]:  # nobody knows how the last one is said
        alone = trainer.data_collator([row])
        sums += float(trainer.compute_loss(trainer.losses, dict(alone), return_outputs=True)[1].sums[4])
        characters += len(row["transcript"].strip())
    assert output.counts[4] == characters
    assert_equal_but_for_rounding(loss, 2.0 * sums / characters, terms_of(trainer, batch))


@pytest.mark.numerical
def test_token_losses_equal_a_computation_by_hand(tmp_path):
    settings = {"supervision": "transcript", "lm_weight": 0.0, "subword_ctc_weight": 0.5, "subword_ctc_layer": 1}
    trainer = tiny_trainer(tmp_path, teacher=None, text_state_weight=2.0, text_state_layers=[1, 2], **settings)
    rows = [row | {"audio": audio(2.0 + 0.1 * index)} for index, row in enumerate(tiny_rows(5))]
    rows.append({"audio": audio(0.5), "answer": "yes"})  # no transcript
    batch = trainer.data_collator(rows)
    trainer.losses.eval().requires_grad_(False)
    loss = trainer.compute_loss(trainer.losses, dict(batch))

    student, head = trainer.model, trainer.subword_ctc_head
    embeddings = student.get_input_embeddings().weight
    inputs = ("input_ids", "attention_mask", "input_features", "input_features_mask")
    heard = student(**{name: batch[name] for name in inputs}, output_hidden_states=True).hidden_states
    ctc, distances, num_tokens = [], [], 0
    for row, length in enumerate(batch["transcript_token_lengths"].tolist()):
        if not length:
            continue
        positions = (batch["input_ids"][row] == student.config.audio_token_id).nonzero().flatten()
        state = head.norm(heard[1][row, positions])
        logits = torch.cat([head.blank(state), head.projection(state) @ embeddings.T], dim=-1)[None]
        tokens = batch["transcript_tokens"][row, :length]
        symbols = tokens[None] + 1
        lengths = torch.tensor([len(positions)]), torch.tensor([length])
        ctc.append(trainer.losses.ctc_loss(logits, lengths[0], symbols, lengths[1]))
        at = align_ctc(logits, lengths[0], symbols, lengths[1])[0]
        assert (at >= 0).all()
        beginning = batch["input_ids"][row, : positions[0]]
        read = student(torch.cat([beginning, tokens])[None], output_hidden_states=True).hidden_states
        for layer in (1, 2):
            target = read[layer][0, len(beginning) :]
            prediction = heard[layer][row, positions[at]]
            distances.append(((prediction - target).square().sum(-1) / target.square().sum(-1)).sum() / 2)
        num_tokens += length
    expected = (0.5 * sum(ctc) + 2.0 * sum(distances)) / num_tokens
    assert_equal_but_for_rounding(loss, expected.squeeze(), terms_of(trainer, batch))


@pytest.mark.parametrize("weight", ["character_ctc_weight", "subword_ctc_weight"])
def test_a_collator_that_leaves_out_what_a_loss_needs_is_refused(tmp_path, weight):
    own = tiny_trainer(tmp_path).data_collator
    with pytest.raises(ValueError, match=f"`{weight}=0.5` needs a data collator with `return_transcript_"):
        tiny_trainer(tmp_path, data_collator=own, **{weight: 0.5})


def test_tokens_are_learnt_by_the_layers_below_alone(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        teacher=None,
        supervision="transcript",
        lm_weight=0.0,
        subword_ctc_weight=1.0,
        subword_ctc_layer=1,
        text_state_weight=0.5,
        max_steps=40,
        learning_rate=1e-2,
    )
    for layer in trainer.model.model.language_model.layers[1:]:
        layer.register_forward_hook(
            lambda _, args, output: output if not torch.is_grad_enabled() else pytest.fail("ran")
        )
    trainer.train()
    losses = step_logs(trainer, "subword_ctc_loss", "text_state_loss")
    for term in (1, 2):
        assert losses[-1][term] < 0.7 * losses[0][term]
    assert trainer.evaluate(tiny_rows(5))["eval_subword_ctc_loss"] < losses[0][1]


@pytest.mark.numerical
@pytest.mark.parametrize("character_ctc_layers", [[0], [0, 2]])
def test_padding_to_few_shapes_changes_no_loss(tmp_path, character_ctc_layers):
    settings = {
        "random_gain_db": 0.0,
        "answer_kl_weight": 0.5,
        "character_ctc_weight": 0.5,
        "character_ctc_layers": character_ctc_layers,
    }
    settings |= {"subword_ctc_weight": 0.5, "text_state_weight": 0.5}
    plain = tiny_trainer(tmp_path, **settings)
    padded = tiny_trainer(tmp_path, pad_to_multiple_of=16, **settings)
    padded.losses.load_state_dict(plain.losses.state_dict())
    sums = []
    for trainer in (plain, padded):
        trainer._ensure_statistics()
        trainer.losses.eval().requires_grad_(False)
        batch = trainer.data_collator(tiny_rows(5))
        sums.append(trainer.compute_loss(trainer.losses, batch, return_outputs=True)[1].sums)
    assert batch["input_ids"].shape[1] % 16 == 0
    for found, expected in zip(sums[1], sums[0], strict=True):
        assert_equal_but_for_rounding(found, expected, terms_of(plain, batch))


def test_ctc_of_the_patch_embedding_alone(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        teacher=None,
        supervision="transcript",
        lm_weight=0.0,
        character_ctc_weight=1.0,
        character_ctc_layers=[0],
        max_steps=1,
    )
    before = trainer.model.model.embed_audio.proj.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, trainer.model.model.embed_audio.proj.weight)


@pytest.mark.numerical
def test_the_patch_embedding_alone_learns_without_the_llm(tmp_path):
    settings = {
        "lm_weight": 0.0,
        "character_ctc_weight": 1.0,
        "character_ctc_layers": [0],
        "layer_mapping": [[-1, 0], [-1, 1]],
        "optim": "sgd",  # Adam would make a whole step of a gradient that is nothing but rounding
    }
    whole = tiny_trainer(tmp_path, "whole", learning_rate=1e-3, max_steps=2, **settings)
    alone = tiny_trainer(
        tmp_path,
        "alone",
        learning_rate=0.0,
        audio_embedding_learning_rate=1e-3,
        heads_learning_rate=1e-3,
        max_steps=2,
        **settings,
    )
    before = trained_weights(alone)
    for layer in alone.model.model.language_model.layers:
        layer.register_forward_hook(lambda *_: pytest.fail("a layer of the LLM ran"))
    for trainer in (whole, alone):
        trainer.train()
    # LoRA has no part in these losses: at rest or not, the patch embedding learns the same.
    terms = ("cosine_loss", "mse_loss", "ctc_loss")
    size = terms_of(whole, whole.data_collator(tiny_rows()))
    assert_equal_but_for_rounding(step_logs(alone, *terms), step_logs(whole, *terms), size)
    assert_same_training(trained_weights(alone), trained_weights(whole), before, size, num_steps=2)
    for name, weight in trained_weights(alone).items():
        assert torch.equal(weight, before[name]) == ("lora_" in name), name


def test_a_later_stage_takes_over_the_heads(tmp_path):
    settings = {"character_ctc_weight": 0.5, "character_ctc_layers": [0, 1]}
    first = tiny_trainer(tmp_path, "first", max_steps=2, save_strategy="steps", save_steps=2, **settings)
    first.train()
    second = tiny_trainer(tmp_path, "second", subword_ctc_weight=0.5, **settings)
    untrained = second.subword_ctc_head.projection.weight.detach().clone()
    second.load_heads(tmp_path / "first" / "checkpoint-2")
    assert torch.equal(second.subword_ctc_head.projection.weight, untrained)  # the first stage had none
    for own, others in ((first.heads, second.heads), (first.transcript_heads, second.transcript_heads)):
        assert all(
            torch.equal(a, b) for a, b in zip(own.state_dict().values(), others.state_dict().values(), strict=True)
        )
    assert not second.heads.needs_statistics
    with pytest.raises(FileNotFoundError):
        second.load_heads(tmp_path)


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


@pytest.mark.parametrize("stop", [3, 4])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stop):
    # 8 rows in batches of 2: step 4 ends the first epoch. Everything random is on: order, gain, context.
    settings = {
        "per_device_train_batch_size": 2,
        "max_steps": 7,
        "save_strategy": "steps",
        "save_steps": stop,
        "answer_kl_weight": 0.5,
        "context_probability": 0.5,
        "context_texts": ["some words to stand before the audio", "others"],
        "distillation_warmup_steps": 2,
        "character_ctc_weight": 0.5,
        "character_ctc_layers": [0, 1],
        "subword_ctc_weight": 0.5,
        "text_state_weight": 0.5,
        "lr_scheduler_type": "cosine",
    }
    uninterrupted = tiny_trainer(tmp_path, "whole", **settings)
    uninterrupted.train()
    tiny_trainer(tmp_path, "killed", callbacks=[StopAfter(stop)], **settings).train()
    set_seed(12345)
    # Another teacher statistic would come out of these rows first; a resume must take the saved one.
    resumed = tiny_trainer(tmp_path, "killed", **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 7
    names = ("cosine_loss", "mse_loss", "ctc_loss", "subword_ctc_loss", "text_state_loss", "cosine", "grad_norm")
    assert step_logs(resumed, *names) == step_logs(uninterrupted, *names)
    assert_same_weights(trained_weights(resumed), trained_weights(uninterrupted))
    history = (tmp_path / "killed" / HISTORY_FILE_NAME).read_text().splitlines()
    steps = [entry["step"] for entry in map(json.loads, history) if "loss" in entry]
    assert steps == list(range(1, 8))


def test_workers_do_not_change_the_trajectory(tmp_path):
    settings = {"max_steps": 4, "per_device_train_batch_size": 4}
    alone = tiny_trainer(tmp_path, "alone", **settings)
    alone.train()
    helped = tiny_trainer(tmp_path, "helped", dataloader_num_workers=1, dataloader_persistent_workers=True, **settings)
    helped.train()
    assert step_logs(alone) == step_logs(helped)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, os.environ.get("PYTHONPATH", "")])}

    def run(name, *launcher):
        command = [sys.executable, *launcher, str(script), str(tmp_path), name]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr[-4000:]
        return json.loads((tmp_path / f"{name}.json").read_text())

    one = run("one")
    two = run("two", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert two["processes"] == 2
    for first, second in zip(one["logs"], two["logs"], strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() - {"epoch", "step"}:
            assert second[name] == pytest.approx(first[name], rel=1e-3, abs=1e-4), name
    for name, value in one["metrics"].items():
        assert two["metrics"][name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    for name, values in one["weights"].items():
        assert two["weights"][name] == pytest.approx(values, abs=1e-3), name


# ---- what is saved ----


def test_teacher_and_heads_stay_out_of_the_student(tmp_path):
    trainer = tiny_trainer(tmp_path, save_strategy="steps", save_steps=2, max_steps=2)
    trainer.train()
    trainer.save_model(tmp_path / "released")
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert (checkpoint / HEADS_FILE_NAME).is_file()
    released = {path.name for path in (tmp_path / "released").iterdir()}
    assert HEADS_FILE_NAME not in released
    assert not {name for name in released if name.endswith((".bin", ".pt", ".pth", ".pkl"))}  # no pickle
    assert {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    } <= released
    from safetensors.torch import load_file

    for folder in (checkpoint, tmp_path / "released"):
        keys = load_file(folder / "model.safetensors")
        assert all(".lora_" in key or "embed_audio" in key for key in keys)
    assert json.loads((tmp_path / "released" / "config.json").read_text())["use_cache"] is True
    in_optimizer = sum(p.numel() for group in trainer.optimizer.param_groups for p in group["params"])
    student = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    assert in_optimizer == student + sum(p.numel() for p in trainer.heads.parameters())
    # The student is what it was: saved by itself it has no heads either.
    assert not any("heads" in name for name in trainer.model.state_dict())
    reloaded = AuraForSpeechQA.from_pretrained(tmp_path / "released")
    weights = {name: p for name, p in reloaded.named_parameters() if ".lora_" in name or "embed_audio" in name}
    assert_same_weights(weights, {name: p for name, p in trainer.model.named_parameters() if name in weights})


def test_a_kept_subword_ctc_head_is_the_students_and_is_trained_on(tmp_path):
    settings = {"subword_ctc_weight": 0.5, "subword_ctc_layer": 1, "max_steps": 2}
    trainer = tiny_trainer(
        tmp_path,
        "first",
        save_strategy="steps",
        save_steps=2,
        keep_subword_ctc_head=True,
        answers_from_transcript=True,
        questions_by_ear=["What was ordered?"],
        **settings,
    )
    trainer.train()
    trainer.save_model()
    checkpoint = load_file(tmp_path / "first" / "checkpoint-2" / "model.safetensors")
    assert not any("subword_ctc_head" in name for name in checkpoint)  # it is the training's until the end
    student = AuraForSpeechQA.from_pretrained(tmp_path / "first")
    assert student.config.subword_ctc_layer == 1
    assert student.config.answers_from_transcript
    processor = trainer.processing_class
    assert student.config.transcription_prompt == processor.prompt_behind_audio(TRANSCRIPTION_INSTRUCTION)
    assert student.config.spoken_question_prompt == processor.prompt_behind_audio()
    assert student.config.questions_by_ear == [processor.beginning_behind_audio("What was ordered?")]
    trained = trainer.subword_ctc_head.projection.weight
    torch.testing.assert_close(student.model.subword_ctc_head.projection.weight, trained.to(student.dtype))

    further = tiny_trainer(
        tmp_path, "second", student, keep_subword_ctc_head=True, heads_learning_rate=0.01, **settings
    )
    assert further.subword_ctc_head is student.model.subword_ctc_head
    before = student.model.subword_ctc_head.projection.weight.detach().clone()
    further.train()
    assert not torch.equal(student.model.subword_ctc_head.projection.weight, before)
    with pytest.raises(ValueError, match="`subword_ctc_layer=2`, but the student's token head reads depth 1"):
        tiny_trainer(tmp_path, "third", student, **settings | {"subword_ctc_layer": 2})
    without = tiny_trainer(tmp_path, "fourth", student)
    assert without.model.model.subword_ctc_head is None
    assert without.model.config.transcription_prompt is without.model.config.questions_by_ear is None


def test_a_kept_character_ctc_head_is_the_students_and_is_trained_on(tmp_path):
    settings = {
        "subword_ctc_weight": 0.5,
        "subword_ctc_layer": 1,
        "character_ctc_weight": 0.5,
        "character_ctc_layers": "[1, 0]",
        "max_steps": 2,
    }
    trainer = tiny_trainer(tmp_path, "first", keep_subword_ctc_head=True, **settings)
    trainer.train()
    trainer.save_model()
    student = AuraForSpeechQA.from_pretrained(tmp_path / "first")
    assert student.config.character_ctc_alphabet
    trained = trainer.transcript_heads.heads[1].projection.weight
    torch.testing.assert_close(student.model.character_ctc_head.projection.weight, trained.to(student.dtype))

    further = tiny_trainer(
        tmp_path, "second", student, keep_subword_ctc_head=True, heads_learning_rate=0.01, **settings
    )
    assert further.transcript_heads.of_patch_embedding is student.model.character_ctc_head
    before = student.model.character_ctc_head.projection.weight.detach().clone()
    further.train()
    assert not torch.equal(student.model.character_ctc_head.projection.weight, before)
    without = tiny_trainer(tmp_path, "third", student, **settings | {"character_ctc_layers": "[1]"})
    assert without.model.model.character_ctc_head is None
    assert not without.model.config.character_ctc_alphabet


def test_heads_can_be_loaded_again(tmp_path):
    trainer = tiny_trainer(tmp_path, save_strategy="steps", save_steps=1, max_steps=1)
    trainer.train()
    heads = DistillationHeads.load(tmp_path / "run" / "checkpoint-1" / HEADS_FILE_NAME)
    assert heads.pairs == trainer.heads.pairs
    assert torch.equal(heads.target_std, trainer.heads.target_std)


def test_an_incomplete_checkpoint_is_an_error(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    tiny_trainer(tmp_path, **settings).train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    heads = (checkpoint / HEADS_FILE_NAME).read_bytes()
    (checkpoint / HEADS_FILE_NAME).unlink()
    with pytest.raises(FileNotFoundError, match=HEADS_FILE_NAME):
        tiny_trainer(tmp_path, **settings).train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / HEADS_FILE_NAME).write_bytes(heads)
    (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"optimizer\.pt.*interrupted"):
        tiny_trainer(tmp_path, **settings).train(resume_from_checkpoint=str(checkpoint))
    with pytest.raises(ValueError, match="no complete checkpoint"):
        tiny_trainer(tmp_path, **settings).train(resume_from_checkpoint=True)


def test_a_checkpoint_whose_writing_was_interrupted_is_passed_over(tmp_path):
    for step, state in ((9, "{}"), (10, '{"glo')):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
            (folder / name).touch()
        (folder / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-11").mkdir()
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")
    assert last_complete_checkpoint(tmp_path / "nowhere") is None


def test_a_half_precision_student_is_trained_in_float32_and_released_in_its_own_dtype(tmp_path):
    from safetensors.torch import load_file

    settings = {
        "student": {"dtype": torch.bfloat16},
        "max_steps": 3,
        "save_strategy": "steps",
        "save_steps": 2,
        "bf16": True,
    }
    trainer = tiny_trainer(tmp_path, "whole", **settings)
    trainer.train()
    dtypes = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
    assert dtypes == {torch.float32}
    assert {p.dtype for p in trainer.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    trainer.save_model(tmp_path / "released")
    released = load_file(tmp_path / "released" / "model.safetensors")
    checkpoint = load_file(tmp_path / "whole" / "checkpoint-2" / "model.safetensors")
    assert released.keys() == checkpoint.keys()
    assert {tensor.dtype for tensor in released.values()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in checkpoint.values()} == {torch.float32}
    resumed = tiny_trainer(tmp_path, "whole", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert_same_weights(trained_weights(resumed), trained_weights(trainer))
    AuraForSpeechQA.from_pretrained(tmp_path / "released")


def test_the_best_model_is_loaded_with_its_heads(tmp_path):
    trainer = tiny_trainer(
        tmp_path,
        max_steps=2,
        eval_dataset=tiny_rows(3),
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="lm_loss",
        greater_is_better=True,  # so that the first is the best
        learning_rate=0.01,
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-1")
    heads = DistillationHeads.load(tmp_path / "run" / "checkpoint-1" / HEADS_FILE_NAME)
    assert torch.equal(heads.heads[0][1].weight, trainer.heads.heads[0][1].weight)


# ---- what is learnt ----


def test_everything_trainable_learns_and_nothing_else(tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=2)
    before = {name: p.detach().clone() for name, p in trainer.losses.named_parameters()}
    trainer.train()
    for name, parameter in trainer.losses.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad, name


def test_losses_fall_and_the_cosine_rises(tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=40, per_device_train_batch_size=8, learning_rate=5e-3, random_gain_db=0)
    trainer.train()
    logs = step_logs(trainer, "cosine", "lm_loss")
    assert logs[-1][0] < logs[0][0]
    assert logs[-1][1] > logs[0][1] + 0.2
    assert logs[-1][2] < 0.7 * logs[0][2]


@pytest.mark.parametrize("scope", ["rows", "audio", "always"])
def test_supervisions_and_scopes(tmp_path, scope):
    text = {"audio": None, "question": "Who?", "answer": "I."}
    for supervision in ("transcript", "distillation", "both"):
        trainer = tiny_trainer(
            tmp_path,
            supervision,
            student={"lora_scope": scope},
            supervision=supervision,
            train_dataset=[*tiny_rows(4), text],
            teacher=None if supervision == "transcript" else tiny_teacher(),
            max_steps=2,
        )
        trainer.train()
        assert len(trainer.train_dataset) == (5 if scope == "always" else 4)
        logged = trainer.state.log_history[0]
        assert ("lm_loss" in logged) == (supervision != "distillation")
        assert ("cosine" in logged) == (supervision != "transcript")


def test_speech_without_text_is_enough_for_distillation(tmp_path):
    rows = [{"audio": audio(0.5, 100 * (i + 1))} for i in range(4)]
    trainer = tiny_trainer(tmp_path, supervision="distillation", train_dataset=rows, max_steps=1)
    trainer.train()
    assert "cosine" in trainer.state.log_history[0]


def test_warmup_steps_are_distillation_only(tmp_path):
    trainer = tiny_trainer(tmp_path, distillation_warmup_steps=2, max_steps=3)
    trainer.train()
    assert ["lm_loss" in entry for entry in trainer.state.log_history[:3]] == [False, False, True]


def test_learning_rates_of_their_own(tmp_path):
    trainer = tiny_trainer(tmp_path, audio_embedding_learning_rate=0.0, heads_learning_rate=3e-3, max_steps=1)
    embedding = trainer.model.model.embed_audio.proj.weight.clone()
    head = trainer.heads.heads[0][1].weight.clone()
    trainer.train()
    assert torch.equal(trainer.model.model.embed_audio.proj.weight, embedding)
    # Adam's first step is the learning rate in every element.
    step = (trainer.heads.heads[0][1].weight - head).abs().detach()
    assert float(step.median()) == pytest.approx(3e-3, rel=1e-2)


def test_a_batch_without_any_audio_or_row_keeps_every_gradient(tmp_path):
    text = {"audio": None, "question": "Who?", "answer": "I."}
    for scope in ("rows", "always"):
        trainer = tiny_trainer(tmp_path, scope, student={"lora_scope": scope})
        trainer._ensure_statistics()
        loss = trainer.compute_loss(trainer.losses, trainer.data_collator([text]))
        loss.backward()
        for name, parameter in trainer.losses.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
        if scope == "rows":
            assert loss.item() == 0


@pytest.mark.numerical
def test_gradient_checkpointing_changes_nothing(tmp_path):
    settings = {"max_steps": 2, "answer_kl_weight": 0.5}
    plain = tiny_trainer(tmp_path, "plain", **settings)
    plain.train()
    saving = tiny_trainer(tmp_path, "saving", gradient_checkpointing=True, **settings)
    saving.train()
    terms = 2 * terms_of(plain, plain.data_collator(tiny_rows()))
    assert_equal_but_for_rounding(step_logs(saving), step_logs(plain), terms)


# ---- the teacher's states ----


@pytest.mark.numerical
def test_the_cache_changes_nothing_and_is_read(tmp_path, monkeypatch):
    settings = {"teacher_cache_dir": str(tmp_path / "cache"), "max_steps": 3}
    cold = tiny_trainer(tmp_path, "cold", **settings)
    cold.train()
    warm = tiny_trainer(tmp_path, "warm", **settings)
    monkeypatch.setattr(warm.targets.teacher, "_encode", None)
    warm.train()
    assert step_logs(warm, "cosine") == step_logs(cold, "cosine")
    none = tiny_trainer(tmp_path, "none", max_steps=3)
    none.train()
    # The cache holds the states in half precision.
    terms = terms_of(cold, cold.data_collator(tiny_rows()))
    assert_equal_but_for_rounding(step_logs(none), step_logs(cold), terms, dtype=torch.float16)


def test_long_clips_are_distilled_whole(tmp_path):
    # The tiny teacher's window is 2 s.
    rows = [{"audio": audio(5.3), "transcript": "long"}, {"audio": audio(0.4), "transcript": "short"}]
    trainer = tiny_trainer(tmp_path, train_dataset=rows, per_device_train_batch_size=2, max_steps=1)
    trainer.train()
    assert trainer.targets([row["audio"]["array"] for row in rows]).shape[1] == 67 + 5


# ---- evaluation and logs ----


@pytest.mark.numerical
def test_evaluation_reports_the_same_terms_whatever_the_batch_size(tmp_path):
    trainer = tiny_trainer(tmp_path, eval_dataset=tiny_rows(7), answer_kl_weight=0.5)
    metrics = trainer.evaluate()
    assert {f"eval_{name}" for name in (*COMPONENTS, "loss", "cosine")} <= metrics.keys()
    terms = terms_of(trainer, trainer.data_collator(tiny_rows(7)))
    second = 2 * metrics["eval_cosine"] - metrics["eval_cosine/student_0_teacher_0"]
    assert_equal_but_for_rounding(metrics["eval_cosine/student_1_teacher_2"], second, terms, scale=1.0)
    trainer.args.per_device_eval_batch_size = 2
    again = trainer.evaluate()
    for name in COMPONENTS:
        assert_equal_but_for_rounding(again[f"eval_{name}"], metrics[f"eval_{name}"], terms)
    weights = trainer.loss_weights
    assert metrics["eval_loss"] == pytest.approx(sum(weights[name] * metrics[f"eval_{name}"] for name in COMPONENTS))
    several = trainer.evaluate({"a": tiny_rows(2), "b": tiny_rows(3)})
    assert {"eval_a_cosine", "eval_b_cosine"} <= several.keys()


def test_mixed_precision_does_not_reach_the_teacher(tmp_path):
    whole = tiny_trainer(tmp_path, "whole", eval_dataset=tiny_rows(3)).evaluate()
    mixed = tiny_trainer(tmp_path, "mixed", eval_dataset=tiny_rows(3), bf16=True).evaluate()
    assert mixed["eval_cosine"] == pytest.approx(whole["eval_cosine"], abs=0.02)
    trainer = tiny_trainer(tmp_path)
    waveforms = trainer.data_collator(tiny_rows(3))["waveforms"]
    alone = trainer.targets(waveforms)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(trainer.targets(waveforms), alone)


def test_logged_terms_add_up_to_the_loss(tmp_path):
    trainer = tiny_trainer(
        tmp_path, max_steps=4, logging_steps=2, answer_kl_weight=0.5, gradient_accumulation_steps=2, mse_weight=0.1
    )
    trainer.train()
    for entry in trainer.state.log_history[:2]:
        total = sum(trainer.loss_weights[name] * entry[name] for name in COMPONENTS)
        assert entry["loss"] == pytest.approx(total, rel=1e-4)
        assert entry["cosine"] == pytest.approx(1 - entry["cosine_loss"])


# ---- errors ----


def test_errors_for_people(tmp_path):
    with pytest.raises(ValueError, match="needs a `teacher`"):
        tiny_trainer(tmp_path, teacher=None)
    with pytest.raises(ValueError, match="decoder layers 0 to 2"):
        tiny_trainer(tmp_path, layer_mapping=[[7, 0]])
    with pytest.raises(ValueError, match="no audio"):
        tiny_trainer(tmp_path, train_dataset=[{"question": "a", "answer": "b"}]).train()
    trainer = tiny_trainer(tmp_path)
    with pytest.raises(TypeError, match="AuraForSpeechQA, got Qwen2Model"):
        type(trainer)(model=trainer.model.model.language_model, teacher=tiny_teacher(), args=trainer.args)
    with pytest.raises(ValueError, match="processor"):
        type(trainer)(model=trainer.model, teacher=tiny_teacher(), args=trainer.args)
    trainer.processing_class.frames_per_token = 4
    with pytest.raises(ValueError, match="4 frames, the student of 8"):
        type(trainer)(
            model=trainer.model, teacher=tiny_teacher(), args=trainer.args, processing_class=trainer.processing_class
        )
