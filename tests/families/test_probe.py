"""Every supported family is tried; what the list and the page say of families is what is found."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.families.probe import INVARIANTS, probe
from tests.support.releases import IS_OLD
from transformers_aura.modeling.language_models import SUPPORTED_LANGUAGE_MODELS


pytestmark = pytest.mark.numerical

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
LATER = {"llama4_text"} if IS_OLD else set()
INSTALLED = [
    family
    for family in SUPPORTED_LANGUAGE_MODELS
    if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and family not in LATER
]
"""An older transformers lacks the newest families, and has llama4_text without blocks of audio."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", INSTALLED)
def test_text_is_the_base_llm(family, tmp_path):
    finding = probe(family, tmp_path, ("text", "beside"))
    assert finding.fails == {}
    assert set(finding.projections) == set(SUPPORTED_LANGUAGE_MODELS[family])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["granite", "qwen3_5_text", "deepseek_v3"])
def test_every_invariant(family, tmp_path):
    """Of a family whose head scales its logits, one with linear attention, one with experts and latent attention; `tests_training` tries all."""
    assert probe(family, tmp_path).fails == {}


@pytest.mark.parametrize(
    ("family", "invariant", "why"),
    [
        ("hyperclovax", "text", "off by"),
        ("nanochat", "layers", "states after 0 layers"),
        ("gpt2", "model", "parts beside `model` and `lm_head`"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_does_not_hold_is_found(family, invariant, why, tmp_path):
    finding = probe(family, tmp_path, None if invariant == "model" else (invariant,))
    assert why in finding.fails[invariant]
    assert family not in SUPPORTED_LANGUAGE_MODELS


def test_the_page_is_of_the_list():
    text = PAGE.read_text(encoding="utf-8")
    supported, _, others = text.partition("## Not supported")
    rows = dict(re.findall(r"^\| (\S+) \| (.+) \|$", supported, re.MULTILINE))
    rows.pop("family")
    assert {family: set(names.split(", ")) for family, names in rows.items()} == {
        family: set(names) for family, names in SUPPORTED_LANGUAGE_MODELS.items()
    }
    assert not set(re.findall(r"^\| (\S+) \|", others, re.MULTILINE)) & set(SUPPORTED_LANGUAGE_MODELS)
    assert all(f"\n- {name}: " in text for name in INVARIANTS)


def test_the_program_says_what_is_not_as_listed():
    command = [sys.executable, "-m", "tests.families", "qwen2"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PAGE.parents[1]).stdout
    assert output.splitlines()[-1].split() == ["qwen2", "holds"]  # DeepSpeed, where it is installed, writes before it
