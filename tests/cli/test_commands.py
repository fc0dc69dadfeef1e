"""Each command does its work on a tiny student."""

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
from huggingface_hub import constants
from huggingface_hub.repocard import metadata_load
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.trainer_jit_checkpoint import CheckpointManager

from tests.cli.test_main import AURA, run
from tests.support.fake_hub import FakeHub
from tests.support.published import (
    BASE_ID,
    STUDENT_ID,
    PublishedStudent,
    logits_of,
    publish_base,
    publish_student,
    save_tiny_whisper,
)
from tests.support.tiny import tone
from transformers_aura import packaged_student
from transformers_aura.folder_lock import lock_folder


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    return publish_student(fake_hub, tmp_path)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "recording.wav"
    soundfile.write(file, tone(0.7), 16000)
    return file


class TestAsk:
    def test_answer_is_all_of_standard_output(
        self, student: PublishedStudent, recording: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = run(capsys, "ask", STUDENT_ID, str(recording), "--max-new-tokens", "4")
        assert code == 0, err
        _, as_json, _ = run(
            capsys, "ask", str(student.folder), str(recording), "--max-new-tokens", "4", "--json", "--revision", "main"
        )
        assert json.loads(as_json)["answer"] == out.removesuffix("\n")

    def test_question_context_and_standard_input(
        self,
        student: PublishedStudent,
        recording: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        arguments = ("What is it?", "--context", "A tone.", "--max-new-tokens", "4")
        from_file = run(capsys, "ask", STUDENT_ID, str(recording), *arguments)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(recording.read_bytes())))
        assert run(capsys, "ask", STUDENT_ID, "-", *arguments) == from_file
        assert from_file[0] == 0

    @pytest.mark.parametrize(
        ("model", "audio", "said"),
        [
            (STUDENT_ID, "missing.wav", "missing.wav"),
            ("org/nobody", None, "org/nobody"),
            (BASE_ID, None, "type 'qwen2', so it is no AuRA student"),
        ],
    )
    def test_errors_name_what_is_wrong(
        self,
        student: PublishedStudent,
        recording: Path,
        capsys: pytest.CaptureFixture[str],
        model: str,
        audio: str | None,
        said: str,
    ) -> None:
        code, out, err = run(capsys, "ask", model, audio or str(recording))
        assert (code, out) == (1, "")
        assert said in err
        assert "Traceback" not in err

    @pytest.mark.slow  # a process of its own imports everything anew
    def test_installed_command(self, student: PublishedStudent, recording: Path) -> None:
        done = subprocess.run(
            [AURA, "ask", STUDENT_ID, recording, "--max-new-tokens", "2", "--json"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert set(json.loads(done.stdout)) >= {"answer"}


class TestMergeAndPush:
    def test_merge(self, student: PublishedStudent, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        out = tmp_path / "merged"
        code, _, err = run(capsys, "merge", STUDENT_ID, str(out), "--dtype", "float32")
        assert code == 0, err
        assert not AutoModel.from_pretrained(out).config.is_compact
        code, _, err = run(capsys, "merge", STUDENT_ID, str(out))
        assert code == 1
        assert "exists already" in err

    def test_push(
        self, student: PublishedStudent, fake_hub: FakeHub, may_write: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, out, err = run(capsys, "push", str(student.folder), "org/pushed", "--message", "First")
        assert code == 0, err
        assert out.startswith(f"{fake_hub.endpoint}/org/pushed/commit/")
        assert "no base weights" in err

        code, _, err = run(capsys, "push", str(student.folder), "org/pushed")
        assert code == 1
        assert "--update" in err


class TestDistill:
    @pytest.fixture
    def recipe(self, fake_hub: FakeHub, tmp_path: Path) -> Path:
        publish_base(fake_hub, tmp_path / "base")
        rows = []
        for index in range(6):
            soundfile.write(tmp_path / f"{index}.flac", tone(0.5 + 0.1 * index, 200 + 50 * index), 16000)
            rows.append({"audio": f"{index}.flac", "transcript": "hear", "answer": "yes" if index % 2 else "no"})
        (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
        file = tmp_path / "tiny.yaml"
        file.write_text(
            f"""
name: tiny
model: {{base_model: {BASE_ID}, lora_rank: 2, lora_num_layers: 2, conv_width: 24, init_from_teacher: true}}
teacher: {{model: "{save_tiny_whisper(tmp_path / "whisper")}", pad_to_seconds: 1}}
data:
  train:
    - {{source: "{tmp_path / "manifest.jsonl"}", use: [audio, answer], note: six tones}}
  evaluation:
    - {{source: "{tmp_path / "manifest.jsonl"}"}}
losses: {{mse_weight: 0.5}}
training:
  output_dir: "{tmp_path / "out"}"
  max_steps: 4
  save_steps: 2
  logging_steps: 1
  per_device_train_batch_size: 2
  use_cpu: true
  disable_tqdm: true
  report_to: none
card: {{languages: [en], limits: [It only knows tones.]}}
"""
        )
        return file

    def test_from_recipe_to_answer(
        self,
        recipe: Path,
        recording: Path,
        fake_hub: FakeHub,
        may_write: None,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        code, _, err = run(capsys, "distill", "--config", str(recipe))
        assert code == 0, err
        out = tmp_path / "out"
        card = (out / "README.md").read_text()
        for said in ("six tones", "It only knows tones.", "4 optimizer steps", "| mse_loss | 0.5 |", "max_steps: 4"):
            assert said in card, said
        assert metadata_load(out / "README.md")["base_model"] == BASE_ID
        assert not list(out.glob("*whisper*"))

        code, _, err = run(capsys, "ask", str(out), str(recording), "--max-new-tokens", "2")
        assert code == 0, err
        code, _, err = run(capsys, "push", str(out), "org/tones")
        assert code == 0, err
        assert "not uploaded: checkpoint-4/" in err
        model, processor = AutoModel.from_pretrained("org/tones"), AutoProcessor.from_pretrained("org/tones")
        local = AutoModel.from_pretrained(out)
        assert torch.equal(logits_of(model, processor), logits_of(local, processor))

    def test_resume_goes_on_and_a_second_run_is_refused(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        code, _, err = run(capsys, "distill", "--config", str(recipe), "--resume")
        assert code == 2
        # the box breaks its lines where the length of the path lets it
        assert "no checkpoint" in " ".join(err.replace("│", " ").split())
        assert run(capsys, "distill", "--config", str(recipe), "--set", "training.max_steps=2")[0] == 0
        code, _, err = run(capsys, "distill", "--config", str(recipe))
        assert code == 2
        assert "--resume" in err
        code, _, err = run(capsys, "distill", "--config", str(recipe), "--resume")
        assert code == 0, err
        assert (tmp_path / "out" / "checkpoint-4").is_dir()

    @pytest.mark.fault("training")
    def test_a_run_that_diverges_fails_and_saves_no_student(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        code, _, err = run(capsys, "distill", "--config", str(recipe), "--set", "training.learning_rate=1e30")
        assert code == 1
        assert "error: The training diverged: at step 2 the loss is nan" in err
        assert "Try: aura ask" not in err
        assert not list((tmp_path / "out").glob("*.safetensors"))

    @pytest.mark.fault("training")
    def test_a_run_that_was_stopped_is_not_taken_for_finished(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with monkeypatch.context() as patch:  # as if SIGTERM had come
            patch.setattr(
                CheckpointManager, "setup_signal_handler", lambda own: setattr(own, "is_checkpoint_requested", True)
            )
            settings = ("--set", "training.enable_jit_checkpoint=true")
            code, _, err = run(capsys, "distill", "--config", str(recipe), *settings)
        assert code == 1
        assert "stopped after step 1 of 4. Go on with --resume" in err
        assert not (tmp_path / "out" / "config.json").exists()
        assert run(capsys, "distill", "--config", str(recipe), "--resume")[0] == 0

    @pytest.mark.fault("resume")
    def test_resume_passes_over_a_damaged_checkpoint_and_says_so(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        settings = ("--set", "training.save_steps=1")
        assert run(capsys, "distill", "--config", str(recipe), *settings)[0] == 0
        (tmp_path / "out" / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
        code, _, err = run(capsys, "distill", "--config", str(recipe), *settings, "--resume")
        assert code == 0, err
        assert "checkpoint-4 is damaged: optimizer.pt is empty. It is passed over." in caplog.text

    @pytest.mark.fault("training")
    def test_a_folder_that_another_run_writes_to_is_refused_before_anything_is_loaded(
        self, recipe: Path, fake_hub: FakeHub, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        with lock_folder(tmp_path / "out", "a training"):
            code, _, err = run(capsys, "distill", "--config", str(recipe))
        assert code == 1
        assert "out is in use: a training (process" in err
        assert not fake_hub.requested("GET", r"\.safetensors")

    @pytest.mark.parametrize(
        ("key", "instead"), [("resume_from_checkpoint", "--resume"), ("push_to_hub", "aura push")]
    )
    def test_arguments_of_other_scripts_are_refused(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], key: str, instead: str
    ) -> None:
        code, _, err = run(capsys, "distill", "--config", str(recipe), "--set", f"training.{key}=true")
        assert code == 2
        assert instead in err

    def test_dry_run_shows_rows_and_loads_no_weights_also_offline(
        self,
        recipe: Path,
        fake_hub: FakeHub,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        code, out, err = run(capsys, "distill", "--config", str(recipe), "--dry-run")
        assert code == 0, err
        assert "memory to train" in out
        assert "rows to train on: 6 an epoch, 4 steps; to evaluate on: 6\n" in out
        assert "row 0: " in out
        assert "row 5: " in out
        shown = out.partition("row 5: ")[2]
        assert "<audio: 13 tokens, 1.00 s>" in shown
        assert "learns 'yes" in shown
        assert "warning" not in out
        assert not fake_hub.requested("GET", r"\.safetensors")
        assert not (tmp_path / "out").exists()
        asked = len(fake_hub.requests)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        offline = run(capsys, "distill", "--config", str(recipe), "--dry-run")
        assert offline == (0, out, err), "nothing more is needed than what was downloaded"
        assert len(fake_hub.requests) == asked

    def test_a_packaged_student_is_gone_on_from_by_its_name_alone(self, recipe: Path, tmp_path: Path) -> None:
        """In a process of its own: here, `transformers_aura` is imported already, which makes transformers know students."""
        settings = ["model.student=aura-smollm2-135m-light", "model.base_model=null"]
        settings += [f"teacher.model={save_tiny_whisper(tmp_path / 'teacher')}", "losses.layer_mapping=uniform"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        done = subprocess.run(
            [AURA, "distill", "--config", recipe, *arguments, "--dry-run"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        assert "aura-smollm2-135m-light learns from" in done.stdout
        light = AutoModel.from_config(AutoConfig.from_pretrained(packaged_student("aura-smollm2-135m-light")))
        trained = sum(parameter.numel() for parameter in light.parameters() if parameter.requires_grad)
        assert f"{trained:,} parameters, trained" in done.stdout
        warning = "warning: This student answers from its transcript, and the training rows teach it to answer from the audio."
        assert warning in done.stdout
        without = subprocess.run(
            [AURA, "distill", "--config", recipe, *arguments, "--set", "losses.lm_weight=0", "--dry-run"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert (without.returncode, warning in without.stdout) == (0, False), without.stderr

    def test_dry_run_names_a_row_that_cannot_be_read(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "5.flac").write_bytes(b"no audio")
        code, out, err = run(capsys, "distill", "--config", str(recipe), "--dry-run")
        assert code == 2
        assert "memory to train" in out
        assert "5.flac" in err

    def test_a_training_that_ends_before_answers_are_learnt_is_warned_of(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = ["--set", "losses.distillation_warmup_steps=3", "--set", "training.max_steps=-1"]
        settings += ["--set", "training.num_train_epochs=1"]
        said = "All 3 steps of this training lie within the 3 distillation-only ones"
        code, out, _ = run(capsys, "distill", "--config", str(recipe), *settings, "--dry-run")
        assert code == 0
        assert f"warning: {said}" in out
        assert run(capsys, "distill", "--config", str(recipe), *settings)[0] == 0
        assert caplog.text.count(said) == 1
        assert "nothing to learn from" not in caplog.text

    def test_answers_are_scored_while_the_student_learns_and_end_the_training(
        self, recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        settings = [
            "evaluation.metrics=[wer, exact_match]",
            "evaluation.early_stopping_patience=1",
            "losses.lm_weight=0",
        ]
        settings += [f"training.{each}" for each in ("eval_strategy=steps", "eval_steps=1", "save_steps=1")]
        settings += [
            "training.learning_rate=1e-30",
            "training.generation_max_new_tokens=2",
            "data.evaluation.0.use=[audio, transcript]",
        ]
        settings += ["training.metric_for_best_model=eval_wer", "training.load_best_model_at_end=true"]
        arguments = [part for setting in settings for part in ("--set", setting)]
        code, out, err = run(capsys, "distill", "--config", str(recipe), *arguments)
        assert code == 0, err
        assert "Ended after step 2 of 4: eval_wer got no better than 1." in " ".join(err.split())
        assert "(right: 'hear')" in out
        logs = [json.loads(line) for line in (tmp_path / "out" / "training_history.jsonl").read_text().splitlines()]
        assert [log["eval_wer"] for log in logs if "eval_wer" in log] == [1.0, 1.0]
        assert (tmp_path / "out" / "_sample_answers.jsonl").exists()
        assert (tmp_path / "out" / "README.md").exists(), "the run is finished"
        code, _, err = run(capsys, "distill", "--config", str(recipe), *arguments, "--resume")
        assert code == 0, err
        assert "Ended after step 2 of 4" in " ".join(err.split()), "no further step"
        patient = ("--set", "evaluation.early_stopping_patience=2")
        code, _, err = run(capsys, "distill", "--config", str(recipe), *arguments, *patient, "--resume")
        assert code == 0, err
        assert "Ended after step 3 of 4" in " ".join(err.split()), "it goes on counting"

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            (["evaluation.metrics=[wert]"], "'evaluation.metrics': There is no scorer 'wert'. Did you mean 'wer'?"),
            (["data.evaluation=[]"], "'data.evaluation' names no source"),
            (["training.eval_strategy=no"], "set 'training.eval_strategy' to steps"),
            (["evaluation.early_stopping_patience=1"], "set 'training.metric_for_best_model'"),
            (
                ["training.metric_for_best_model=eval_cer"],
                "'training.metric_for_best_model' is eval_cer, which no evaluation",
            ),
        ],
    )
    def test_an_evaluation_that_cannot_be_had_is_refused_before_the_training(
        self, recipe: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        settings = ["evaluation.metrics=[wer]", "training.eval_strategy=steps", "training.eval_steps=1", *settings]
        arguments = [part for setting in settings for part in ("--set", setting)]
        code, _, err = run(capsys, "distill", "--config", str(recipe), *arguments)
        assert code == 2
        assert said.replace(" ", "") in err.replace("│", "").replace("\n", "").replace(" ", "")

    def test_a_wrong_recipe_is_a_usage_error(self, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run(capsys, "distill", "--config", str(recipe), "--set", "model.lora_rnak=1")
        assert code == 2
        assert "'lora_rank'" in err
