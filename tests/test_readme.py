"""The first page: its commands exist, its example gives the outputs that stand beside it, its figures are those of the results, its sentences are short."""

import contextlib
import io
import json
import re
from pathlib import Path
from statistics import median

import pytest
import torch

from tools.real_models import real_model_folder
from transformers_aura import packaged_students
from transformers_aura.modeling import dtypes


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(python|bash)\n(.*?)```", README, flags=re.DOTALL)
STUDENT = "aura-smollm2-135m"
MOST_WORDS = 25
MOST_LINES = 70


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # the default depends on the processor
def test_the_example_says_what_it_is_shown_to_say(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    try:
        real_model_folder("smollm2-135m-instruct")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(ROOT)
    (block,) = [block for language, block in BLOCKS if language == "python"]
    monkeypatch.setattr(dtypes, "default_dtype", lambda *_: getattr(torch, dtype))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), {})
    shown = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("# ")]
    assert printed.getvalue().splitlines() == shown


def test_commands_are_known_to_make_pip_and_aura() -> None:
    from transformers_aura.cli.main import app

    makefiles = (ROOT / "Makefile", ROOT / "research" / "targets.mk")  # the former includes the latter
    targets = set(re.findall(r"^([a-z-]+):", "".join(file.read_text() for file in makefiles), flags=re.MULTILINE))
    lines = [line for language, block in BLOCKS if language == "bash" for line in block.splitlines()]
    assert lines == ["make demo", "make test", "pip install ."]
    assert {"demo", "test"} | set(re.findall(r"`make ([a-z-]+)`", README)) <= targets
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert set(re.findall(r"`aura ([a-z-]+)`", README)) <= commands


def test_figures_are_those_of_the_results() -> None:
    size = packaged_students()[STUDENT].joinpath("model.safetensors").stat().st_size
    assert f"{size / 1e6:.1f} MB of weights" in README
    timed = json.loads((ROOT / "benchmarks" / "results" / "first_token-1t-float32.json").read_text())
    values = timed["tables"][0]["values"]
    for system in ("student, directly", "student, from its transcript"):
        rounds = zip(values["Whisper + LLM"]["10"], values[system]["10"], strict=True)
        assert f"{median(whisper / student for whisper, student in rounds):.1f} times" in README, system
    card = (ROOT / "hub_cards" / STUDENT / "README.md").read_text()
    for row, figure in (
        (r"orders, every labelled slot right \| clean", r"clean (\d+) % right \((\d+) to (\d+)\)"),
        (
            r"orders, every labelled slot right \| kitchen noise, all of these",
            r"kitchen noise\]\S+ (\d+) % \((\d+) to (\d+)\)",
        ),
        (
            r"spoken questions that the LLM answers right from the text, answered right \| clean",
            r"(\d+) % right\]\S+ \((\d+) to (\d+)\)",
        ),
        (
            r"read speech, word error rate \| clean",
            r"(\d+) % word errors\]\S+ on sentences read aloud \((\d+) to (\d+)\)",
        ),
    ):
        measured = re.search(rf"{row} \| \d+ \| ([\d.]+) %†? \(([\d.]+) to ([\d.]+)\)", card)
        shown = re.search(figure, README)
        assert measured is not None, row
        assert shown is not None, figure
        for said, true in zip(shown.groups(), measured.groups(), strict=True):
            assert abs(int(said) - float(true)) <= 0.5, (row, said, true)


def test_it_counts_the_supported_families() -> None:
    from transformers_aura.modeling.language_models import SUPPORTED_LANGUAGE_MODELS

    assert f"[{len(SUPPORTED_LANGUAGE_MODELS)} LLM families]" in README


def test_it_fits_on_a_screen_and_reads_easily() -> None:
    assert len(README.splitlines()) <= MOST_LINES
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n|\n(?=[-|#])|\|", text):
        for sentence in re.split(r"(?<=[.:!?;])\s+", paragraph):
            assert len(sentence.split()) <= MOST_WORDS, sentence
