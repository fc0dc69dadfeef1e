"""What vLLM calls when it starts, without vLLM."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from transformers_aura import AuraForSpeechQA
from transformers_aura.serving.vllm_plugin import register


def test_the_package_names_its_plugin() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    entry = f'transformers_aura = "{register.__module__}:{register.__name__}"'
    assert f'[project.entry-points."vllm.general_plugins"]\n{entry}\n' in project


def test_a_saved_student_is_run_by_our_class(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = {}
    registry = SimpleNamespace(register_model=registered.__setitem__)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(ModelRegistry=registry))
    register()
    register()  # vLLM may call it again
    ((architecture, place),) = registered.items()
    assert architecture == AuraForSpeechQA.__name__  # `architectures` of its config.json
    module, _, name = place.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    assert f"class {name}(" in spec.loader.get_source(module)  # type: ignore[attr-defined]
