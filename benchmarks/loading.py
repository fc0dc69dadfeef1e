"""Loading a student and importing the package, beside the base LLM, Whisper and transformers alone.

Files are in the memory of the operating system, as after a first start. Imports and commands run in a process of their own.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, WhisperForConditionalGeneration

from benchmarks.results import Result, Table
from benchmarks.systems import Systems
from benchmarks.timing import time_in_turns
from transformers_aura import AuraForSpeechQA


LANGUAGE_MODEL = "base LLM"
STUDENT = "student"
MERGED = "student, merged on loading"
CASCADE = "Whisper, and base LLM"
TRANSFORMERS = "transformers' AutoModelForCausalLM"
PACKAGE = "transformers_aura's AuraForSpeechQA"
NAME_ONLY = "transformers_aura"
HELP = "aura --help"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(rounds=7)


def measure(arguments: argparse.Namespace) -> Result:
    systems = Systems(arguments.student, arguments.base_model, dtype=arguments.dtype)
    loading = Table("Loading", "s", "what", LANGUAGE_MODEL)
    loading.add(
        "from_pretrained", time_in_turns(loads_of(systems), arguments.rounds, arguments.seconds, arguments.clock)
    )
    imports = Table("Import, in a new process", "s", "what", TRANSFORMERS)
    imports.add("import", time_in_turns(imports_of(), arguments.rounds, arguments.seconds, arguments.clock))
    return Result("loading", tables=[loading, imports])


def loads_of(systems: Systems) -> dict[str, Callable[[], Any]]:
    """What is loaded: models, without tokenizers and processors."""
    dtype = systems.float_dtype

    def language_model() -> Any:
        return AutoModelForCausalLM.from_pretrained(systems.base_model_folder, dtype=dtype)

    def student(merge_lora: bool = False) -> Any:
        folder, base = systems.student_folder, systems.base_model_folder
        return AuraForSpeechQA.from_pretrained(
            folder, base_model_name_or_path=base, dtype=dtype, merge_lora=merge_lora
        )

    def cascade() -> Any:
        return WhisperForConditionalGeneration.from_pretrained(systems.whisper_folder, dtype=dtype), language_model()

    return {
        LANGUAGE_MODEL: language_model,
        STUDENT: student,
        MERGED: lambda: student(merge_lora=True),
        CASCADE: cascade,
    }


def imports_of() -> dict[str, Callable[[], Any]]:
    """Programs that only import, and the command's help."""
    programs = {
        TRANSFORMERS: [sys.executable, "-c", "from transformers import AutoModelForCausalLM"],
        PACKAGE: [sys.executable, "-c", "from transformers_aura import AuraForSpeechQA"],
        NAME_ONLY: [sys.executable, "-c", "import transformers_aura"],
        HELP: [str(Path(sys.executable).with_name("aura")), "--help"],
    }

    def program(arguments: list[str]) -> Callable[[], Any]:
        return lambda: subprocess.run(arguments, check=True, capture_output=True)

    return {name: program(arguments) for name, arguments in programs.items()}
