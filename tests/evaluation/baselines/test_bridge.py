import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from tests.cli.test_main import run
from tests.distillation.support import tiny_rows
from tests.support.published import save_tiny_whisper
from tests.support.tiny import tone
from tests.support.tiny_models import save_tiny_language_model
from tests.support.tolerance import assert_equal_but_for_rounding, num_terms
from transformers_aura.distillation.trainer import AuraTrainer
from transformers_aura.distillation.training_args import AuraTrainingArguments
from transformers_aura.evaluation.baselines.bridge import BRIDGE_FILE, load_bridge, new_bridge, write_bridge_file
from transformers_aura.evaluation.systems import BridgeSystem, Request
from transformers_aura.modeling.adapter_weights import AdapterMismatchError


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_language_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper"))


def trainer_of(folder, base, whisper, **settings):
    torch.manual_seed(0)
    model, processor = new_bridge(base, whisper, subword_ctc_layer=settings.pop("subword_ctc_layer", None))
    values = {
        "supervision": "transcript", "per_device_train_batch_size": 4, "max_steps": 12, "logging_steps": 1, "save_strategy": "no",
        "disable_tqdm": True, "report_to": "none", "use_cpu": True, "learning_rate": 3e-3, "audio_embedding_learning_rate": 3e-3, **settings,
    }  # fmt: skip
    return AuraTrainer(
        model=model,
        args=AuraTrainingArguments(str(folder), **values),
        train_dataset=tiny_rows(),
        processing_class=processor,
    )


def test_the_encoder_hears_what_whisper_would(whisper, base):
    model, processor = new_bridge(base, whisper)
    embedding = model.model.embed_audio
    clip = tone(2.0, 440.0)
    ours = processor.feature_extractor(clip, sampling_rate=16000, return_tensors="pt")
    states = embedding._encode(ours["input_features"], ours["input_features_mask"], 200)
    theirs = WhisperFeatureExtractor(feature_size=80)(
        clip, sampling_rate=16000, return_tensors="pt", padding="max_length", max_length=80000
    )
    expected = embedding._window(embedding.encoder, theirs["input_features"].transpose(1, 2))[:, :100]
    agreement = torch.nn.functional.cosine_similarity(states, expected, dim=-1)[:, 2:-2]
    assert states.shape == expected.shape
    assert agreement.mean() > 0.98


def test_it_begins_as_loud_as_the_words_of_the_llm(whisper, base):
    model, processor = new_bridge(base, whisper)
    heard = processor.feature_extractor(tone(1.0), sampling_rate=16000, return_tensors="pt")
    embeddings, _ = model.model.embed_audio(heard["input_features"], heard["input_features_mask"])
    words = model.get_input_embeddings().weight
    loudness = [tensor.float().square().mean().sqrt().item() for tensor in (embeddings, words)]
    assert loudness[0] == pytest.approx(loudness[1], rel=0.1)


def test_only_the_adapter_learns_and_is_saved(tmp_path, base, whisper):
    trainer = trainer_of(
        tmp_path / "run", base, whisper, max_steps=40, learning_rate=1e-2, audio_embedding_learning_rate=1e-2
    )
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert trained == {
        f"model.embed_audio.{name}"
        for name in ("proj.weight", "proj.bias", "output.weight", "output.bias", "norm.weight")
    }
    encoder = {name: tensor.clone() for name, tensor in trainer.model.model.embed_audio.encoder.state_dict().items()}
    trainer.train()
    losses = [entry["lm_loss"] for entry in trainer.state.log_history if "lm_loss" in entry]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert all(
        torch.equal(tensor, encoder[name])
        for name, tensor in trainer.model.model.embed_audio.encoder.state_dict().items()
    )

    trainer.save_model()
    write_bridge_file(tmp_path / "run", whisper)
    loaded = load_bridge(tmp_path / "run")
    batch = trainer.data_collator(tiny_rows(3))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "input_features", "input_features_mask")}
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.model(**inputs).logits
        assert_equal_but_for_rounding(loaded(**inputs).logits, expected, num_terms(loaded, expected.shape[1]))


def test_it_can_be_distilled_at_its_input(tmp_path, base, whisper):
    settings = {
        "lm_weight": 0.0, "answer_kl_weight": 1.0, "subword_ctc_weight": 0.3, "subword_ctc_layer": 0, "text_state_weight": 1.0, "max_steps": 8,
    }  # fmt: skip
    trainer = trainer_of(tmp_path, base, whisper, **settings)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "answer_kl_loss" in entry]
    assert logs[-1]["subword_ctc_loss"] < logs[0]["subword_ctc_loss"]
    assert all(np.isfinite(entry["loss"]) for entry in logs)
    trainer.save_model()
    write_bridge_file(tmp_path, whisper)
    own, loaded = trainer.model.state_dict(), load_bridge(tmp_path).state_dict()
    heads = [name for name in own if "subword_ctc_head." in name]
    assert heads
    assert all(torch.equal(loaded[name], own[name]) for name in heads)


def test_long_clips_in_windows_and_a_batch_as_alone(base, whisper):
    model, processor = new_bridge(base, whisper)
    clips = [tone(31.0), tone(0.5, 300), tone(7.3, 600)]
    together = processor.feature_extractor(clips, sampling_rate=16000, return_tensors="pt")
    embeddings, mask = model.model.embed_audio(together["input_features"], together["input_features_mask"])
    assert mask.sum(-1).tolist() == [388, 7, 92]
    for index, clip in enumerate(clips[1:], start=1):
        alone = processor.feature_extractor([clip], sampling_rate=16000, return_tensors="pt")
        own, own_mask = model.model.embed_audio(alone["input_features"], alone["input_features_mask"])
        # Whisper's states depend on how much silence follows: the same clip in a longer batch is nearly, not exactly, the same.
        agreement = torch.nn.functional.cosine_similarity(own[0][own_mask[0]], embeddings[index][mask[index]], dim=-1)
        assert agreement.mean() > 0.97


def test_what_does_not_fit_is_an_error(tmp_path, base, whisper):
    model, processor = new_bridge(base, whisper)
    model.save_pretrained(tmp_path / "bridge")
    processor.save_pretrained(tmp_path / "bridge")
    for content in ("", "[]", "{}", '{"whisper": 5}'):
        (tmp_path / "damaged").mkdir(exist_ok=True)
        (tmp_path / "damaged" / BRIDGE_FILE).write_text(content)
        with pytest.raises(ValueError, match=rf"{BRIDGE_FILE} is damaged .*name the encoder"):
            load_bridge(tmp_path / "damaged")
    with pytest.raises(FileNotFoundError, match=rf"holds no {BRIDGE_FILE}"):
        load_bridge(tmp_path / "bridge")
    other = save_tiny_whisper(tmp_path / "other", width=48)
    with pytest.raises(AdapterMismatchError):
        load_bridge(tmp_path / "bridge", whisper=other)


def test_from_the_command_line_to_the_table(tmp_path, base, whisper, capsys):
    import json

    import soundfile

    rows = []
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", tone(0.4, 300 + 50 * number), 16000)
        rows.append({"audio": f"{number}.wav", "transcript": "the the", "answer": "the"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "bridge"
    settings = [
        f"model.base_model={base}", f"training.output_dir={out}", "training.max_steps=2", "losses.supervision=transcript",
        "losses.distillation_warmup_steps=0",
        f"data.train=[{{source: {tmp_path / 'rows.jsonl'}}}]", "training.report_to=none", "training.use_cpu=true",
        f"data.evaluation=[{{source: {tmp_path / 'rows.jsonl'}}}]", "evaluation.metrics=[exact_match]", "training.eval_strategy=steps",
        "training.eval_steps=2", "training.generation_max_new_tokens=2",
    ]  # fmt: skip
    command = ["distill", "--config", "smollm2-135m-quick", "--bridge", str(whisper)]
    command += [part for setting in settings for part in ("--set", setting)]
    code, _, err = run(capsys, *command)
    assert code == 0, err
    assert '"eval_exact_match": ' in (out / "training_history.jsonl").read_text()
    code, printed, err = run(
        capsys,
        "evaluate",
        str(out),
        "-b",
        str(tmp_path / "rows.jsonl"),
        "--out",
        str(tmp_path / "report"),
        "--device",
        "cpu",
    )
    assert code == 0, err
    assert "| bridge | 4 | 0 |" in printed
    system = BridgeSystem(str(out), "bridge", dtype="float32")
    assert system.identity["kind"] == "bridge"
    assert (
        system.answer([Request(tone(0.4), "answer")])[0].text == system.answer([Request(tone(0.4), "answer")])[0].text
    )


def test_a_bridge_is_not_distilled_into(capsys, tmp_path):
    settings = ["data.train=[{source: rows.jsonl}]", f"training.output_dir={tmp_path}"]
    command = [part for setting in settings for part in ("--set", setting)]
    code, _, err = run(capsys, "distill", "--config", "smollm2-135m-quick", "--bridge", "org/whisper", *command)
    assert code == 2
    assert "a bridge has nothing to distil an encoder into" in " ".join(err.replace("│", " ").split()), err
