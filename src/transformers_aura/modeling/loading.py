"""Base LLM + adapter = student: composing a new one, loading a saved one onto its base."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import extract_commit_hash

from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from ..hub_access import explained, reason_of
from ..processing.audio_tokens import add_audio_token, choose_audio_token
from ..repo_files import (
    LANGUAGE_MODEL_FILES,
    TOKENIZER_FILES,
    DamagedFileError,
    described_error,
    naming_damaged_files,
    refuse_pickles,
    repo_file,
)
from .adapter_weights import AdapterMismatchError, listed, load_adapter_weights, not_finite
from .base_model import NAME_A_COPY, check_base, load_base
from .configuration_aura import AuraAudioConfig, AuraConfig
from .fingerprint import fingerprint
from .language_models import text_config_of


# ---------------------------------------------------------------------------------------------- a new student


def compose_student(
    cls: type[PreTrainedModel],
    base_model: str | os.PathLike,
    gguf_file: str | None,
    revision: str | None,
    audio_config: AuraAudioConfig | dict[str, Any] | None,
    settings: dict[str, Any],
    kwargs: dict[str, Any],
) -> Any:
    """See [`AuraForSpeechQA.from_language_model_pretrained`]."""
    base_model = os.fspath(base_model)
    if base_model.endswith(".gguf") and gguf_file is None:
        base_model, gguf_file = os.path.split(os.path.abspath(base_model))
    hub_kwargs: dict[str, Any] = {
        name: kwargs.pop(name)
        for name in ("cache_dir", "force_download", "local_files_only", "token")
        if name in kwargs
    } | {"revision": revision}
    audio_settings = {name: kwargs.pop(name) for name in _PATCH_SETTINGS if name in kwargs}
    audio_config = _audio_config(audio_config, audio_settings)

    source_kwargs = {name: value for name, value in hub_kwargs.items() if value is not None}
    if gguf_file is not None:
        source_kwargs["gguf_file"] = gguf_file
    files = [gguf_file] if gguf_file is not None else [CONFIG_NAME, *TOKENIZER_FILES]
    with explained(base_model, hub_kwargs), naming_damaged_files(base_model, files, True, **hub_kwargs):
        config_of_checkpoint = AutoConfig.from_pretrained(base_model, **source_kwargs)
    text_config = text_config_of(config_of_checkpoint)
    with explained(base_model, hub_kwargs), naming_damaged_files(base_model, files, True, **hub_kwargs):
        tokenizer = AutoTokenizer.from_pretrained(base_model, **source_kwargs)
    num_base_tokens = len(tokenizer)
    audio_token = choose_audio_token(tokenizer, text_config)
    audio_token_id = add_audio_token(tokenizer, audio_token)
    config = AuraConfig.from_text_audio_configs(
        text_config,
        audio_config,
        audio_token_id=audio_token_id,
        base_model=base_model,
        base_revision=_commit_of(base_model, gguf_file, hub_kwargs) or revision,
        base_gguf_file=gguf_file,
        **settings,
    )
    student = load_base(cls, config, hub_kwargs, kwargs)[0]
    config.base_fingerprint = fingerprint(student.model.language_model)
    _start_at_embedding_scale(student)
    student = _attach_adapter(student, config)
    if num_base_tokens <= audio_token_id < text_config.vocab_size:
        # A spare row of the embedding, which no tokenizer writes and the head could name. A token of the base's own stays one for text.
        suppressed = set(student.generation_config.suppress_tokens or []) | {audio_token_id}
        student.generation_config.suppress_tokens = sorted(suppressed)
    return student


_PATCH_SETTINGS = {
    "num_mel_bins",
    "frames_per_token",
    "frames_per_step",
    "patch_embedding",
    "conv_width",
    "conv_blocks",
    "conv_block_type",
    "tokens_per_block",
}


def _audio_config(given: AuraAudioConfig | dict[str, Any] | None, settings: dict[str, Any]) -> AuraAudioConfig:
    if given is None:
        return AuraAudioConfig(**settings)
    if settings:
        raise ValueError(f"Give {', '.join(map(repr, settings))} inside `audio_config` or by name, not both ways.")
    return AuraAudioConfig(**given) if isinstance(given, dict) else given


def _commit_of(base_model: str, gguf_file: str | None, hub_kwargs: dict[str, Any]) -> str | None:
    """Commit that a hub id's revision points to; `None` for a folder."""
    if os.path.isdir(base_model):
        return None
    return extract_commit_hash(cached_file(base_model, gguf_file or "config.json", **hub_kwargs), None)


@torch.no_grad()
def _start_at_embedding_scale(student: Any) -> None:
    """Audio embeddings start as long as the LLM's own token embeddings (root mean square over a thousand tokens)."""
    embed_tokens = student.get_input_embeddings()
    token_ids = torch.linspace(0, embed_tokens.weight.shape[0] - 1, steps=1000).long().to(embed_tokens.weight.device)
    student.model.embed_audio.norm.weight.fill_(embed_tokens(token_ids).float().square().mean().sqrt().item())


# ------------------------------------------------------------------------------------- a saved, compact student


def load_compact_student(
    cls: type[PreTrainedModel],
    name_or_path: str | os.PathLike | None,
    config: AuraConfig,
    base_model_name_or_path: str | os.PathLike | None,
    hub_kwargs: dict[str, Any],
    kwargs: dict[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """A compact student and the stock loader's report, see [`AuraPreTrainedModel.from_pretrained`].

    Without a name, the adapter is `kwargs["state_dict"]`.
    """
    # AutoModel adds these two; they hold the student's commit, which is none of the base LLM's repo.
    of_the_student = {*hub_kwargs, "adapter_kwargs", "_commit_hash", "variant"}
    loader_kwargs = {name: value for name, value in kwargs.items() if name not in of_the_student}
    config = copy.deepcopy(config)
    if "attn_implementation" in loader_kwargs:
        config._attn_implementation = loader_kwargs["attn_implementation"]
    adapter: str | os.PathLike | Mapping[str, torch.Tensor]
    if name_or_path is None:
        adapter = loader_kwargs.pop("state_dict")
    else:
        with explained(name_or_path, hub_kwargs):
            adapter = _adapter_file(name_or_path, kwargs.get("variant"), hub_kwargs)
    base_hub_kwargs = {name: value for name, value in hub_kwargs.items() if name not in ("revision", "subfolder")}
    base_config = copy.deepcopy(config)
    if base_model_name_or_path is not None:
        _find_base_elsewhere(base_config, os.fspath(base_model_name_or_path), base_hub_kwargs)
    base_hub_kwargs["revision"] = base_config.base_revision
    try:
        student, loading_info = load_base(cls, base_config, base_hub_kwargs, loader_kwargs)
    except FileNotFoundError:
        raise
    except (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError) as error:
        if "keyword argument" in str(error):
            raise
        where = "`config`" if name_or_path is None else f"the config.json of {name_or_path}"
        raise DamagedFileError(f"What {where} says cannot be used: {described_error(error)}") from error
    except (OSError, DamagedFileError) as error:  # a file that the Hub does not give looks like one that is not there
        reason = reason_of(error, str(base_config.base_model), base_hub_kwargs)
        if reason is None and isinstance(error, DamagedFileError):
            raise
        raise FileNotFoundError(
            f"The base LLM of {name_or_path or 'this student'} could not be loaded from {base_config.base_model}: "
            f"{reason or _first_line(error)} {NAME_A_COPY}"
        ) from error
    check_base(student, config, base_config.base_model)
    config.name_or_path = name_or_path or ""
    student = _attach_adapter(student, config)
    load_adapter_weights(student, adapter)
    if student.can_generate() and name_or_path is not None:
        student.text_statistics = _text_statistics(name_or_path, hub_kwargs, config)
        student.generation_config = _generation_config(name_or_path, hub_kwargs, student.generation_config)
    return student, loading_info


def _adapter_file(name_or_path: str | os.PathLike, variant: str | None, hub_kwargs: dict[str, Any]) -> str:
    file_name = SAFE_WEIGHTS_NAME if variant is None else SAFE_WEIGHTS_NAME.replace(".", f".{variant}.", 1)
    try:
        found = repo_file(name_or_path, file_name, **hub_kwargs)
    except OSError as error:
        others = sorted(path.name for path in Path(name_or_path).glob("model*.safetensors*"))
        if not others:
            raise
        raise FileNotFoundError(
            f"{name_or_path} has no {file_name}, but {', '.join(others)}. Pass the `variant` that it was saved under. (A student's adapter in several "
            "files is not read: save it again, in one.)"
        ) from error
    assert found is not None
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _find_base_elsewhere(base_config: AuraConfig, source: str, hub_kwargs: dict[str, Any]) -> None:
    """Lets `base_config` name the base LLM in `source`: a `.gguf` file, or a repo or folder with the student's GGUF file or weights."""
    gguf_file = base_config.base_gguf_file
    if os.path.isabs(source) and not (os.path.isfile(source) if source.endswith(".gguf") else os.path.isdir(source)):
        raise FileNotFoundError(
            f"The base LLM should be in {source}, which is no folder and no .gguf file on this machine."
        )
    if source.endswith(".gguf"):
        source, gguf_file = os.path.split(os.path.abspath(source))
    elif gguf_file is not None:
        with explained(source, hub_kwargs):
            found = cached_file(source, gguf_file, _raise_exceptions_for_missing_entries=False, **hub_kwargs)
        gguf_file = None if found is None else gguf_file
    base_config.base_model, base_config.base_revision, base_config.base_gguf_file = source, None, gguf_file


def load_full_student(
    load: Callable[..., Any],
    name_or_path: str | os.PathLike | None,
    config: AuraConfig,
    hub_kwargs: dict[str, Any],
    kwargs: dict[str, Any],
    caller_reads_report: bool,
) -> tuple[Any, dict[str, Any]]:
    """A merged checkpoint and the report of the stock loader, `load`.

    Raises:
        AdapterMismatchError: a tensor is missing, unexpected or of another shape, unless the caller asked for the report, which
            says so (the stock loader never raises).
        DamagedFileError: its weights are no safetensors, or cannot be read.
    """
    if name_or_path is not None and kwargs.get("state_dict") is None:
        refuse_pickles(name_or_path, kwargs.get("variant"), **hub_kwargs)
    with naming_damaged_files(name_or_path, LANGUAGE_MODEL_FILES, **hub_kwargs):
        student, loading_info = load(name_or_path, config=config, output_loading_info=True, **kwargs)
    problems = [
        f"{kind}: {listed(sorted(map(str, loading_info[f'{kind}_keys'])))}"
        for kind in ("missing", "unexpected", "mismatched")
        if loading_info[f"{kind}_keys"]
    ]
    if problems and not caller_reads_report:
        where, what = ("`state_dict`", "`config`") if name_or_path is None else (name_or_path, "its config.json")
        raise AdapterMismatchError(f"The weights in {where} do not fit {what}:\n  " + "\n  ".join(problems))
    if wrong := not_finite(student.named_parameters()):
        raise AdapterMismatchError(
            f"The weights in {name_or_path} cannot be right: {listed(wrong)} hold NaN or infinite numbers."
        )
    return student, loading_info


def _generation_config(
    name_or_path: str | os.PathLike, hub_kwargs: dict[str, Any], default: GenerationConfig
) -> GenerationConfig:
    file = repo_file(name_or_path, GENERATION_CONFIG_NAME, is_needed=False, **hub_kwargs)
    if file is None:
        return default
    folder, name = os.path.split(file)
    with naming_damaged_files(folder, [name], is_all_that_is_read=True):
        return GenerationConfig.from_pretrained(folder)


def _text_statistics(
    name_or_path: str | os.PathLike, hub_kwargs: dict[str, Any], config: AuraConfig
) -> TextStatistics | None:
    """What a repo holds for the first pass of transcripts; `None` where it holds nothing."""
    file = repo_file(name_or_path, TEXT_STATISTICS_FILE_NAME, is_needed=False, **hub_kwargs)
    if file is None:
        return None
    statistics, alphabet = TextStatistics.load(file, config.text_config.vocab_size), config.character_ctc_alphabet
    largest = statistics.lexicon.largest_symbol
    if alphabet is not None and largest > len(alphabet):
        raise ValueError(
            f"{file} was counted with another alphabet: it holds the symbol {largest}, the student's `character_ctc_alphabet` has {len(alphabet)}. "
            "Count the text again with `aura count-text`, or delete the file."
        )
    return statistics


def _attach_adapter(student: Any, config: AuraConfig) -> Any:
    """Turns a loaded, plain student into the compact one that `config` describes."""
    config._attn_implementation = student.config._attn_implementation
    config.dtype = student.config.dtype
    config.text_config = student.audio_language_model.language_model.config
    student.config = config
    # Not that of the base LLM: PEFT writes it into the adapters that it saves.
    student.name_or_path = config.name_or_path
    student.audio_language_model.config = config
    student._add_lora()
    return student.eval()
