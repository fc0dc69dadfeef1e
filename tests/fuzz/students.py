"""Saved students whose files were damaged: config, adapter, processor."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from tests.fuzz.campaign import Area, Silent
from tests.fuzz.damage import TEXT_DAMAGES, damages, holder_of, paths_of
from tests.support.tiny import tiny_processor, tone
from tests.support.tiny_models import tiny_student
from transformers_aura import AuraForSpeechQA, AuraProcessor


VALUES = (None, 0, -1, 1, 7, 10**12, 0.5, float("nan"), float("inf"), True, "", "none", [], {}, [1], {"a": 1})
JSON_FILES = ("config.json", "processor_config.json", "generation_config.json", "tokenizer_config.json")
TENSORS = ("nan", "infinite", "int8", "bool", "float8", "shape", "without", "extra", "empty", "float64")


@dataclass(frozen=True)
class DamagedStudent:
    """What is done to the folder of a student."""

    file: str
    how: str
    place: int
    value: Any

    def do(self, folder: Path) -> None:
        file = folder / self.file
        if self.how == "bytes":
            file.write_bytes(self.value.do(file.read_bytes()))
        elif self.how == "json":
            content = json.loads(file.read_text())
            path = _path_of(content, self.place)
            holder, last = holder_of(content, path), path[-1]
            if self.value == "none":
                del holder[last]
            else:
                holder[last] = self.value
            file.write_text(json.dumps(content))
        else:
            tensors = load_file(file)
            name = sorted(tensors)[self.place % len(tensors)]
            tensors.update(_changed(name, tensors[name], self.how))
            if self.how == "without":
                del tensors[name]
            save_file(tensors, file, {"format": "pt"})


def _changed(name: str, tensor: torch.Tensor, how: str) -> dict[str, torch.Tensor]:
    match how:
        case "nan" | "infinite":
            tensor = tensor.clone()
            tensor.view(-1)[0] = float(how[:3])
            return {name: tensor}
        case "int8" | "bool" | "float64":
            return {name: tensor.to(getattr(torch, how))}
        case "float8":
            return {name: tensor.to(torch.float8_e4m3fn)}
        case "shape":
            return {name: torch.cat([tensor, tensor])}
        case "extra":
            return {f"{name}.more": tensor.clone()}
        case "empty":
            return {name: tensor[:0]}
    return {}


@functools.cache
def _student_folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    student = tiny_student(folder / "llm")
    student.save_pretrained(folder / "student")
    tiny_processor().save_pretrained(folder / "student")
    return folder / "student"


def strategy() -> st.SearchStrategy[DamagedStudent]:
    place = st.integers(0, 400)
    damage = damages((*TEXT_DAMAGES, "header"), (0.0, 0.01, 0.3), st.binary(min_size=1, max_size=8))
    files = st.sampled_from((*JSON_FILES, "model.safetensors", "tokenizer.json", "chat_template.jinja"))
    return (
        st.builds(DamagedStudent, st.sampled_from(JSON_FILES), st.just("json"), place, st.sampled_from(VALUES))
        | st.builds(DamagedStudent, st.just("config.json"), st.just("json"), place, st.sampled_from(VALUES))
        | st.builds(DamagedStudent, st.just("model.safetensors"), st.sampled_from(TENSORS), place, st.none())
        | st.builds(DamagedStudent, files, st.just("bytes"), place, damage)
    )


def ask(damaged: DamagedStudent) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "student"
        shutil.copytree(_student_folder(), folder)
        damaged.do(folder)
        student = AuraForSpeechQA.from_pretrained(folder)
        processor = AuraProcessor.from_pretrained(folder)
    if damaged.how in ("nan", "infinite", "int8", "bool", "float8", "shape", "without", "extra", "empty"):
        raise Silent(f"an adapter with a tensor that is {damaged.how} was loaded")
    chat = [{"role": "user", "content": [{"type": "audio", "audio": tone(0.5), "sampling_rate": 16_000}]}]
    inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
    with torch.no_grad():
        logits = student(**inputs).logits
    if not torch.isfinite(logits).all():
        raise Silent("logits that are not finite")


def names(damaged: DamagedStudent) -> tuple[str, ...]:
    if damaged.how != "json":
        called = {"chat_template.jinja": "chat template", "processor_config.json": "in the processor"}
        return (damaged.file, called.get(damaged.file, damaged.file))
    content = json.loads((_student_folder() / damaged.file).read_text())
    return (damaged.file, f"{_path_of(content, damaged.place)[-1]}", "too long for the LLM, which takes")


def _path_of(content: Any, place: int) -> tuple[Any, ...]:
    paths = [path for path in paths_of(content) if isinstance(path[-1], str)]
    return paths[place % len(paths)]


AREA = Area(
    "saved students: config, adapter, processor and tokenizer damaged",
    strategy,
    ask,
    names,
    share=0.04,
    takes_stock_errors=True,
)
