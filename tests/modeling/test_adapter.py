"""PEFT on top of a student: an adapter for a task is one more, and the student hears as before; where it would not, it is an error."""

import copy

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from peft.helpers import rescale_adapter_scale

from tests.modeling.test_modeling_aura import batch, clip, mixed_rows, prompt, text
from tests.support.tiny_models import save_tiny_language_model, tiny_student
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura import AuraForSpeechQA
from transformers_aura.modeling.adapter import ADAPTER_NAME


PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TASK = {"r": 4, "target_modules": PROJECTIONS, "task_type": "CAUSAL_LM"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved student."""
    path = tmp_path_factory.mktemp("student")
    tiny_student(save_tiny_language_model(path / "base")).save_pretrained(path / "student")
    return path / "student"


@pytest.fixture
def student(folder):
    return AuraForSpeechQA.from_pretrained(folder)


@torch.no_grad()
def logits(model):
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return model(**batch(mixed_rows(base))).logits


def own_weights(student):
    return {
        n: p.detach().clone() for n, p in student.named_parameters() if f".{ADAPTER_NAME}." in n or "embed_audio" in n
    }


def as_if_trained(model, name="default"):
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f"lora_B.{name}." in key:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(key)))


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(**TASK),
        LoraConfig(r=4, target_modules="all-linear"),
        LoraConfig(r=4, target_modules=["q_proj"], use_dora=True),
        LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["embed_audio"]),
        IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    ],
    ids=["lora", "all-linear", "dora", "modules_to_save", "ia3"],
)
@pytest.mark.parametrize("name", ["default", "task"])
def test_a_new_adapter_changes_nothing_and_is_trained_alone(student, config, name):
    before, weights = logits(student), own_weights(student)
    model = get_peft_model(student, copy.deepcopy(config), adapter_name=name)
    assert torch.equal(logits(model), before)
    assert torch.equal(logits(student), before)
    trained = [key for key, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(f".{name}" in key for key in trained)
    student.save_pretrained(saved := student.name_or_path + "_again")  # the student, without the adapter
    assert torch.equal(logits(AuraForSpeechQA.from_pretrained(saved)), before)
    assert all(
        torch.equal(weights[key], own_weights(student)[key]) for key in weights.keys() & own_weights(student).keys()
    )


def test_a_task_is_trained_saved_and_loaded_back(folder, student, tmp_path):
    weights = own_weights(student)
    model = get_peft_model(student, LoraConfig(**TASK)).train()
    inputs = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2)), prompt(student, text(15, 3))])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(4):
        losses.append(model(**inputs, labels=inputs["input_ids"].clamp(max=59)).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    assert all(torch.equal(own_weights(student)[key], weights[key]) for key in weights)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(AuraForSpeechQA.from_pretrained(folder), tmp_path)
    assert loaded.peft_config["default"].base_model_name_or_path == str(folder)
    expected = logits(model.eval())
    assert torch.equal(logits(loaded), expected)
    # beside a merged student it does the same, and can be merged into it
    merged = PeftModel.from_pretrained(AuraForSpeechQA.from_pretrained(folder).merge(), tmp_path)
    terms = num_terms(student, expected.shape[1])
    assert_equal_but_for_rounding(logits(merged)[[0, 2]], expected[[0, 2]], terms)
    assert_equal_but_for_rounding(logits(merged.merge_and_unload())[[0, 2]], expected[[0, 2]], terms)


def test_turning_adapters_off_and_on_leaves_the_student(student):
    before = logits(student)
    model = get_peft_model(student, LoraConfig(**TASK))
    as_if_trained(model)
    with_task = logits(model)
    assert not any(torch.equal(with_task[row], before[row]) for row in range(4))  # it acts on text too
    with model.disable_adapter():
        assert torch.equal(logits(model), before)
    with rescale_adapter_scale(model, 0.0):
        assert torch.equal(logits(model), before)
    assert torch.equal(logits(model), with_task)
    model.merge_adapter()
    assert_equal_but_for_rounding(logits(model), with_task, num_terms(student, with_task.shape[1]))
    model.unmerge_adapter()
    model.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"]))
    model.set_adapter("other")
    assert_equal_but_for_rounding(logits(model), before, num_terms(student, with_task.shape[1]))
    model.base_model.set_adapter([ADAPTER_NAME])  # is not PEFT's to turn on
    assert_equal_but_for_rounding(logits(model), before, num_terms(student, with_task.shape[1]))


@pytest.mark.parametrize("take_off", ["unload", "delete"])
def test_taking_an_adapter_off_leaves_the_student(student, take_off):
    before = logits(student)
    model = get_peft_model(student, LoraConfig(**TASK))
    as_if_trained(model)
    if take_off == "unload":
        assert model.unload() is student
    else:
        model.delete_adapter("default")
    assert torch.equal(logits(student), before)
    assert torch.equal(
        logits(student.merge())[0], logits(AuraForSpeechQA.from_pretrained(student.name_or_path).merge())[0]
    )


@pytest.mark.fault("loading")
def test_what_would_lose_the_student_is_refused_at_once(student):
    model = get_peft_model(student, LoraConfig(**TASK))
    with pytest.raises(ValueError, match="cannot be merged into a student with LoRA of its own"):
        model.merge_and_unload()
    with pytest.raises(ValueError, match=r"carries further adapters of PEFT \(default\)"):
        student.merge()
    with pytest.raises(ValueError, match=f"cannot be called {ADAPTER_NAME!r} on a student"):
        get_peft_model(student, LoraConfig(**TASK), adapter_name=ADAPTER_NAME)


def deleted(student):
    for layer in student.modules():
        if hasattr(layer, "lora_A"):
            layer.delete_adapter(ADAPTER_NAME)


def overwritten(student):
    layer = student.model.language_model.layers[1].mlp.up_proj
    layer.update_layer(ADAPTER_NAME, 4, lora_alpha=4, config=LoraConfig(**TASK))


def merged_away(student):
    student.model.language_model.layers[0].self_attn.q_proj.merge(adapter_names=[ADAPTER_NAME])


def taken_out(student):
    attention = student.model.language_model.layers[0].self_attn
    attention.q_proj = attention.q_proj.get_base_layer()


@pytest.mark.fault("loading")
@pytest.mark.parametrize(
    ("damage", "num_left"),
    [(deleted, 0), (overwritten, 13), (merged_away, 13), (taken_out, 13)],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_a_pass_without_the_students_own_lora_is_an_error(student, damage, num_left):
    text_only = batch([prompt(student, text(15, 3))])
    damage(student)
    with pytest.raises(RuntimeError, match=f"own LoRA .* acted in {num_left} of 14 linear layers"):
        logits(student)
    with pytest.raises(RuntimeError, match="own LoRA"):
        student.generate(**batch([prompt(student, clip(5))]), max_new_tokens=1)
    with torch.no_grad():
        student(**text_only)  # LoRA has no part in it


def test_copies_hear_too(student):
    assert torch.equal(logits(copy.deepcopy(student)), logits(student))
