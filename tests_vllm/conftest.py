"""No network, no statistics sent, and an engine small enough for 8 GB, before vLLM is imported. The students that are served."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine of `vllm.LLM` in this process
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }
)

from tests.support.tiny_models import save_tiny_language_model, tiny_student
from tests_vllm.server import Server, serve
from tools.real_models import make_real_model
from transformers_aura import AuraProcessor
from transformers_aura.hub import merge_to_folder
from transformers_aura.package_data import packaged_student


REAL_STUDENT = "aura-smollm2-135m"

# vLLM's attention on a CPU knows no narrower heads.
SIZES = {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "max_position_embeddings": 1024,
}


def save_student(folder: Path, family: str, **settings: object) -> Path:
    """A compact student of a tiny random LLM, saved with its processor; its audio attention is causal, if the settings do not say otherwise."""
    save_tiny_language_model(folder / "base", family, **SIZES)
    student = tiny_student(folder / "base", family, **{"tokens_per_block": 1, **settings})
    processor = AuraProcessor.from_language_model_pretrained(folder / "base")
    student.generation_config.eos_token_id = processor.tokenizer.eos_token_id  # one end of answers in both engines
    student.save_pretrained(folder / "student")
    processor.save_pretrained(folder / "student")
    return folder / "student"


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`vllm serve` of a compact student of a tiny random LLM, in float32."""
    student = save_student(tmp_path_factory.mktemp("served"), "qwen2")
    with serve(student, "--dtype", "float32", "--max-model-len", "1024") as server:
        yield server


@pytest.fixture(scope="session")
def merged_real_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged student as one checkpoint in float32."""
    out = tmp_path_factory.mktemp("real") / "merged"
    base = make_real_model("smollm2-135m-instruct")
    return merge_to_folder(packaged_student(REAL_STUDENT), out, dtype="float32", base_model_name_or_path=base)
