"""What must be true of every student that ships with the package."""

import re
from pathlib import Path

from huggingface_hub.repocard import metadata_load

from tests.support.published import BASE_ID
from transformers_aura.auto_map import STUB, STUB_FILE_NAME
from transformers_aura.hub.repo_folder import RepoFolder, is_hub_id
from transformers_aura.modeling.adapter import is_adapter_key


LARGEST_WEIGHTS = 32_000_000  # bytes
NAME = "aura-tiny"
BASE = {"base_model": BASE_ID, "base_revision": None, "base_gguf_file": None}


def problems_of(folder: Path) -> list[str]:
    """What is wrong with a packaged student, as sentences; empty if nothing is."""
    repo = RepoFolder.read(folder)
    problems = []
    if repo.num_bytes > LARGEST_WEIGHTS:
        problems.append(f"its weights take {repo.num_bytes} bytes, more than {LARGEST_WEIGHTS}")
    if base_weights := [name for name in repo.tensor_shapes if not is_adapter_key(name)]:
        problems.append(f"it holds weights of its base: {base_weights[0]}")
    if repo.config.base_model is None or not is_hub_id(repo.config.base_model):
        problems.append(f"its base is no hub id: {repo.config.base_model}")
    files = {path.name for path in folder.rglob("*")}
    needed = {
        "config.json",
        "model.safetensors",
        "README.md",
        "processor_config.json",
        "tokenizer.json",
        STUB_FILE_NAME,
    }
    if missing := needed - files:
        problems.append(f"it lacks {sorted(missing)}")
    if STUB_FILE_NAME in files and (folder / STUB_FILE_NAME).read_text("utf-8") != STUB:
        problems.append(f"its {STUB_FILE_NAME} is not the one that students are saved with")
    allowed = {".json", ".safetensors", ".md", ".jinja", ".png", ".model", ".txt"}
    if others := sorted(name for name in files - {STUB_FILE_NAME} if Path(name).suffix not in allowed):
        problems.append(f"it holds what is no part of a student: {others}")
    for name in sorted(files - {"tokenizer.json", "vocab.json", "merges.txt"}):
        if Path(name).suffix in (".json", ".md") and (path := local_path_in((folder / name).read_text("utf-8"))):
            problems.append(f"{name} names a path of some machine: {path}")
    if "README.md" in files and metadata_load(folder / "README.md").get("pipeline_tag") != "audio-text-to-text":
        problems.append("its card's pipeline_tag is not audio-text-to-text")
    return problems


def local_path_in(text: str) -> str | None:
    """The first absolute path in `text` that starts at a usual root of a file system."""
    found = re.search(r"(?<![\w.~/:])/(?:home|root|Users|tmp|var|work|mnt|opt|srv|data|workspace)/[^\s\"']*", text)
    return found and found[0]
