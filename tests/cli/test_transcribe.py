"""`aura transcribe`, `aura ask --from` and `aura count-text` on a tiny student with both heads."""

import base64
import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import soundfile
from transformers import pipeline

from tests.cli.test_main import run
from tests.support.tiny_models import babble, quiet, tiny_student, tiny_transcriber
from transformers_aura import AuraForSpeechQA, AuraProcessor
from transformers_aura.cli.main import main
from transformers_aura.cli.transcribe import Format, caption_words, render, timestamp
from transformers_aura.decoding.text_statistics import TEXT_STATISTICS_FILE_NAME
from transformers_aura.modeling.transcripts import Transcript


pytestmark = pytest.mark.filterwarnings("ignore::transformers_aura.processing.audio_loading.SilentAudioWarning")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transcriber")
    tiny_transcriber(path, decoding_config={"beam_size": 8, "num_rescored": 4})
    return path / "student"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("recordings")
    sounds = {"one": babble(1.0, 1), "two": babble(2.0, 2), "silent": quiet(0.7)}
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound["array"], 16_000, subtype="FLOAT")
    return {name: str(folder / f"{name}.wav") for name in sounds}


@pytest.fixture(scope="module")
def transcripts(student: Path, recordings: dict[str, str]) -> dict[str, Transcript]:
    """As `transcribe` itself has them."""
    model, processor = AuraForSpeechQA.from_pretrained(student), AuraProcessor.from_pretrained(student)
    found = {}
    for name, file in recordings.items():
        chat = [{"role": "user", "content": [{"type": "audio", "path": file}]}]
        inputs = processor.apply_chat_template(
            chat, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        (found[name],) = model.transcribe(**inputs, tokenizer=processor.tokenizer, num_hypotheses=3)
    return found


class TestTranscribe:
    def test_text(
        self,
        student: Path,
        recordings: dict[str, str],
        transcripts: dict[str, Transcript],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        code, out, err = run(capsys, "transcribe", str(student), recordings["one"])
        assert code == 0, err
        assert out == transcripts["one"].text + "\n"
        code, out, err = run(capsys, "transcribe", str(student), *recordings.values())
        assert code == 0, err
        assert out == "".join(f"{file}: {transcripts[name].text}\n" for name, file in recordings.items())

    def test_json_with_several_hypotheses(
        self,
        student: Path,
        recordings: dict[str, str],
        transcripts: dict[str, Transcript],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        arguments = ("transcribe", str(student), recordings["two"], recordings["silent"])
        code, out, err = run(capsys, *arguments, "--format", "json", "--best", "3")
        assert code == 0, err
        spoken, silent = map(json.loads, out.splitlines())
        expected = transcripts["two"]
        assert (spoken["audio"], spoken["text"], spoken["heard"]) == (recordings["two"], expected.text, True)
        assert [word["text"] for word in spoken["words"]] == [word.text for word in expected.words]
        assert [word["start"] for word in spoken["words"]] == [word.start_seconds for word in expected.words]
        assert spoken["alternatives"] == [text.text for text in expected.alternatives]
        assert silent == {
            "audio": recordings["silent"], "text": "", "heard": False, "log_probability": 0, "words": []
        }  # fmt: skip

    @pytest.mark.parametrize("output_format", list(Format))
    def test_a_file_for_each_recording(
        self,
        student: Path,
        recordings: dict[str, str],
        transcripts: dict[str, Transcript],
        output_format: Format,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "new" / "folder"
        files = (recordings["one"], recordings["two"])
        code, printed, err = run(
            capsys, "transcribe", str(student), *files, "--format", output_format.value, "--out", str(out)
        )
        assert code == 0, err
        assert printed == ""
        suffix = "txt" if output_format is Format.text else output_format.value
        assert {file.name for file in out.iterdir()} == {f"one.{suffix}", f"two.{suffix}"}
        written = (out / f"two.{suffix}").read_text(encoding="utf-8")
        for word in transcripts["two"].words:
            assert word.text in written
        assert ("-->" in written) == (output_format in (Format.srt, Format.vtt))

    def test_settings_of_the_search(
        self, student: Path, recordings: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        quickest = ("--greedy",), ("--beam-size", "1", "--lm-weight", "0")
        printed = [run(capsys, "transcribe", str(student), recordings["two"], *settings) for settings in quickest]
        assert [code for code, _, _ in printed] == [0, 0]
        assert printed[0][1] != printed[1][1]

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (("--greedy", "--format", "srt"), 2, "Captions need the times of words"),
            (("--beam-size", "0"), 2, "beam-size"),
            (("--best", "0"), 2, "best"),
            (("--format", "docx"), 2, "docx"),
            (("--device", "cuda:99"), 2, "'cuda:99' cannot be used here"),
            (("--device", "gpu"), 2, "'gpu' cannot be used here"),
            (("--dtype", "float8"), 2, "'float8' is not one of 'auto', 'float32', 'bfloat16', 'float16'"),
            (("missing.wav",), 1, "missing.wav"),
        ],
    )
    def test_errors(
        self,
        student: Path,
        recordings: dict[str, str],
        arguments: tuple[str, ...],
        code: int,
        said: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        found, _, err = run(capsys, "transcribe", str(student), recordings["one"], *arguments)
        assert found == code
        assert said in " ".join(err.replace("│", " ").split())
        assert "Traceback" not in err

    @pytest.mark.fault("requests")
    @pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
    def test_a_console_of_another_encoding_prints_what_it_can(
        self, student: Path, recordings: dict[str, str], encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = [tmp_path / f"{name}.wav" for name in ("café", "日本😀")]
        for file in files:
            shutil.copy(recordings["silent"], file)
        read_as = "utf-8" if encoding == "ascii" else encoding  # typer takes ASCII for an oversight
        printed = {}
        for output_format in ("text", "json"):
            console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
            monkeypatch.setattr(sys, "stdout", console)
            with pytest.raises(SystemExit) as stopped:
                main(["transcribe", str(student), *map(str, files), "--format", output_format])
            assert stopped.value.code == 0
            printed[output_format] = console.buffer.getvalue().decode(read_as)  # type: ignore[attr-defined]
        escaped = [str(file).encode(read_as, "backslashreplace").decode(read_as) for file in files]
        assert printed["text"] == "".join(f"{name}: \n" for name in escaped)
        assert [json.loads(line)["audio"] for line in printed["json"].splitlines()] == list(map(str, files))

    @pytest.mark.fault("disk")
    def test_what_cannot_be_printed_is_not_lost(
        self,
        student: Path,
        recordings: dict[str, str],
        transcripts: dict[str, Transcript],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        class Full(io.StringIO):
            def write(self, text: str) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(sys, "stdout", Full())
        with pytest.raises(SystemExit) as stopped:
            main(["transcribe", str(student), recordings["one"]])
        assert stopped.value.code == 1
        err = capsys.readouterr().err
        assert transcripts["one"].text in err
        assert "No space left on device" in err

    def test_a_recording_within_the_command_line_is_called_by_its_number(
        self, student: Path, recordings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = base64.b64encode(Path(recordings["silent"]).read_bytes()).decode()
        urls = (f"data:audio/wav;base64,{data}", f"DATA:audio/wav;base64,{data}")
        code, out, err = run(capsys, "transcribe", str(student), *urls)
        assert (code, out) == (0, "recording-1: \nrecording-2: \n"), err
        code, _, err = run(capsys, "transcribe", str(student), *urls, "--out", str(tmp_path))
        assert code == 0, err
        assert {file.name for file in tmp_path.iterdir()} == {"recording-1.txt", "recording-2.txt"}

    def test_two_recordings_of_one_name_do_not_share_a_file(
        self, student: Path, recordings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, _, err = run(
            capsys, "transcribe", str(student), recordings["one"], "other/one.mp3", "--out", str(tmp_path / "out")
        )
        assert code == 2
        assert "the same name" in err
        assert not (tmp_path / "out").exists()

    def test_a_student_without_heads(
        self, tmp_path: Path, recordings: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny_student(tmp_path / "base").save_pretrained(tmp_path / "student")
        AuraProcessor.from_language_model_pretrained(tmp_path / "base").save_pretrained(tmp_path / "student")
        code, _, err = run(capsys, "transcribe", str(tmp_path / "student"), recordings["one"])
        assert code == 1
        assert "no CTC head" in err
        code, _, err = run(capsys, "ask", str(tmp_path / "student"), recordings["one"], "--from", "transcript")
        assert code == 1
        assert 'answer_from="audio"' in err


class TestCaptions:
    WORDS = [
        *({"text": f"w{number}", "start": number * 0.5, "end": number * 0.5 + 0.3} for number in range(12)),
        {"text": "late", "start": 3661.5, "end": 3662.25},
    ]

    def test_ten_words_or_a_pause(self) -> None:
        captions = [[word["text"] for word in words] for words in caption_words(self.WORDS)]
        assert captions == [[f"w{number}" for number in range(10)], ["w10", "w11"], ["late"]]
        assert list(caption_words([])) == []

    def test_srt_and_vtt(self) -> None:
        row = {"words": self.WORDS}
        assert render("a.wav", row, Format.srt) == (
            "1\n00:00:00,000 --> 00:00:04,800\nw0 w1 w2 w3 w4 w5 w6 w7 w8 w9\n\n"
            "2\n00:00:05,000 --> 00:00:05,800\nw10 w11\n\n"
            "3\n01:01:01,500 --> 01:01:02,250\nlate"
        )
        assert render("a.wav", row, Format.vtt) == (
            "WEBVTT\n\n00:00:00.000 --> 00:00:04.800\nw0 w1 w2 w3 w4 w5 w6 w7 w8 w9\n\n"
            "00:00:05.000 --> 00:00:05.800\nw10 w11\n\n"
            "01:01:01.500 --> 01:01:02.250\nlate"
        )
        assert render("a.wav", {"words": []}, Format.vtt) == "WEBVTT"
        assert timestamp(59.9996, ".") == "00:01:00.000"


class TestAskFrom:
    def test_both_ways(self, student: Path, recordings: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        answerer = pipeline("audio-question-answering", model=str(student), max_new_tokens=4)
        for answer_from in ("audio", "transcript"):
            code, out, err = run(
                capsys, "ask", str(student), recordings["one"], "What?", "--from", answer_from, "--json", "--max-new-tokens", "4"
            )  # fmt: skip
            assert code == 0, err
            expected = answerer({"audio": recordings["one"], "question": "What?"}, answer_from=answer_from)[0]
            assert json.loads(out) == expected
            assert ("transcript" in expected) == (answer_from == "transcript")

    def test_neither(self, student: Path, recordings: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = run(capsys, "ask", str(student), recordings["one"], "--from", "memory")
        assert code in (1, 2)
        assert "memory" in err
        assert "Traceback" not in err


class TestCountText:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        tiny_transcriber(tmp_path)
        return tmp_path / "student"

    def test_counts_serve_the_next_transcript(
        self, folder: Path, recordings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, before, _ = run(capsys, "transcribe", str(folder), recordings["one"], "--format", "json")
        words = [word["text"] for word in json.loads(before)["words"]]
        (tmp_path / "first.txt").write_text(f"\n{words[0].upper()}\n\n", encoding="utf-8")
        (tmp_path / "second.txt").write_text("some other ÜBER line\n" * 3, encoding="utf-8")
        code, _, err = run(
            capsys, "count-text", str(folder), str(tmp_path / "first.txt"), str(tmp_path / "second.txt")
        )
        assert code == 0, err
        assert TEXT_STATISTICS_FILE_NAME in "".join(err.split())
        assert (folder / TEXT_STATISTICS_FILE_NAME).is_file()
        statistics = AuraForSpeechQA.from_pretrained(folder).text_statistics
        assert statistics is not None
        assert "ÜBER" in {form for forms in statistics.lexicon.forms.values() for form in forms}
        code, after, err = run(capsys, "transcribe", str(folder), recordings["one"])
        assert code == 0, err
        assert words[0].upper() in after

    def test_errors(self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        empty = tmp_path / "empty.txt"
        empty.write_text("\n \n")
        tiny_student(tmp_path / "other base").save_pretrained(tmp_path / "headless")
        for arguments, expected_code, said in (
            ((str(folder), str(tmp_path / "missing.txt")), 2, "There is no file"),
            ((str(folder), str(empty)), 1, "no text to count"),
            ((str(tmp_path / "headless"), str(empty)), 1, "no character CTC head"),
        ):
            code, _, err = run(capsys, "count-text", *arguments)
            assert code == expected_code
            assert said in " ".join(err.replace("│", " ").split())
        assert not (folder / TEXT_STATISTICS_FILE_NAME).exists()
