"""Base LLM + adapter = student: composing a new one, loading a saved one onto its base."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file, logging
from transformers.utils.hub import extract_commit_hash

from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME, TextStatistics
from ..hub_access import explained, reason_of
from ..processing.audio_tokens import add_audio_token, choose_audio_token
from .adapter import canonical_key, is_adapter_key, is_own_key
from .audio_embedding import AuraAudioEmbedding
from .configuration_aura import AuraAudioConfig, AuraConfig
from .ctc_heads import CharacterCTCHead, SubwordCTCHead
from .fingerprint import fingerprint, fingerprints_match
from .language_models import check_language_model_supported


logger = logging.get_logger(__name__)


class AdapterMismatchError(ValueError):
    """A student's saved adapter and the model that it should go into do not belong together."""


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
    hub_kwargs = {
        name: kwargs.pop(name)
        for name in ("cache_dir", "force_download", "local_files_only", "token")
        if name in kwargs
    } | {"revision": revision}
    audio_settings = {name: kwargs.pop(name) for name in _PATCH_SETTINGS if name in kwargs}
    audio_config = _audio_config(audio_config, audio_settings)

    source_kwargs = {name: value for name, value in hub_kwargs.items() if value is not None}
    if gguf_file is not None:
        source_kwargs["gguf_file"] = gguf_file
    text_config = AutoConfig.from_pretrained(base_model, **source_kwargs)
    check_language_model_supported(text_config)
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
    student = _load_base(cls, config, hub_kwargs, kwargs)[0]
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
    of_the_student = {*hub_kwargs, "adapter_kwargs", "_commit_hash"}
    loader_kwargs = {name: value for name, value in kwargs.items() if name not in of_the_student}
    config = copy.deepcopy(config)
    if "attn_implementation" in loader_kwargs:
        config._attn_implementation = loader_kwargs["attn_implementation"]
    adapter: str | os.PathLike | Mapping[str, torch.Tensor]
    if name_or_path is None:
        adapter = loader_kwargs.pop("state_dict")
    else:
        with explained(name_or_path, hub_kwargs):
            adapter = cached_file(name_or_path, SAFE_WEIGHTS_NAME, **hub_kwargs)
    base_hub_kwargs = {name: value for name, value in hub_kwargs.items() if name not in ("revision", "subfolder")}
    base_config = copy.deepcopy(config)
    if base_model_name_or_path is not None:
        _find_base_elsewhere(base_config, os.fspath(base_model_name_or_path), base_hub_kwargs)
    base_hub_kwargs["revision"] = base_config.base_revision
    try:
        student, loading_info = _load_base(cls, base_config, base_hub_kwargs, loader_kwargs)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = reason_of(error, str(base_config.base_model), base_hub_kwargs) or _first_line(error)
        raise FileNotFoundError(
            f"The base LLM of {name_or_path or 'this student'} could not be loaded from {base_config.base_model}: {reason} {_NAME_A_COPY}"
        ) from error
    _check_base(student, config, base_config.base_model)
    config.name_or_path = name_or_path or ""
    student = _attach_adapter(student, config)
    load_adapter_weights(student, adapter)
    if student.can_generate() and name_or_path is not None:
        student.text_statistics = _text_statistics(name_or_path, hub_kwargs, config)
        student.generation_config = _generation_config(name_or_path, hub_kwargs, student.generation_config)
    return student, loading_info


_NAME_A_COPY = "Name another place that has this LLM, a folder or a hub id: `base_model_name_or_path=`, or --base-model of the `aura` command."


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _find_base_elsewhere(base_config: AuraConfig, source: str, hub_kwargs: dict[str, Any]) -> None:
    """Lets `base_config` name the base LLM in `source`: a `.gguf` file, or a repo or folder with the student's GGUF file or weights."""
    gguf_file = base_config.base_gguf_file
    if source.endswith(".gguf"):
        source, gguf_file = os.path.split(os.path.abspath(source))
    elif gguf_file is not None:
        found = cached_file(source, gguf_file, _raise_exceptions_for_missing_entries=False, **hub_kwargs)
        gguf_file = None if found is None else gguf_file
    base_config.base_model, base_config.base_revision, base_config.base_gguf_file = source, None, gguf_file


def _check_base(student: Any, config: AuraConfig, source: str | None) -> None:
    if config.base_fingerprint is None:
        return
    if not fingerprints_match(config.base_fingerprint, fingerprint(student.audio_language_model.language_model)):
        revision = f" at revision {config.base_revision}" if config.base_revision else ""
        raise AdapterMismatchError(
            f"The base LLM in {source} is not the one that this adapter was trained on "
            f"({' '.join(filter(None, (config.base_model, config.base_gguf_file)))}{revision}): their weights differ. An adapter works on "
            "its own base only, and a quantised LLM (a GGUF file, say) is another base than the LLM that it was made from."
        )


def load_full_student(
    load: Callable[..., Any],
    name_or_path: str | os.PathLike | None,
    config: AuraConfig,
    kwargs: dict[str, Any],
    caller_reads_report: bool,
) -> tuple[Any, dict[str, Any]]:
    """A merged checkpoint and the report of the stock loader, `load`.

    Raises:
        AdapterMismatchError: a tensor is missing, unexpected or of another shape, unless the caller asked for the report, which
            says so (the stock loader never raises).
    """
    student, loading_info = load(name_or_path, config=config, output_loading_info=True, **kwargs)
    problems = [
        f"{kind}: {_some(sorted(map(str, loading_info[f'{kind}_keys'])))}"
        for kind in ("missing", "unexpected", "mismatched")
        if loading_info[f"{kind}_keys"]
    ]
    if problems and not caller_reads_report:
        where, what = ("`state_dict`", "`config`") if name_or_path is None else (name_or_path, "its config.json")
        raise AdapterMismatchError(f"The weights in {where} do not fit {what}:\n  " + "\n  ".join(problems))
    return student, loading_info


def load_adapter_weights(student: Any, adapter: str | os.PathLike | Mapping[str, torch.Tensor]) -> None:
    """Copies every adapter tensor into `student`.

    Args:
        student: a compact one.
        adapter: a compact `model.safetensors`, or a state dict, whose tensors of the base LLM are left out, as in what is saved.

    Raises:
        AdapterMismatchError: naming the tensors that are missing, unexpected or of another shape.
    """
    if isinstance(adapter, Mapping):
        where, what = "`state_dict`", "`config`"
        saved = {key: tensor for key, tensor in adapter.items() if is_adapter_key(key)}
    else:
        where, what = os.fspath(adapter), "its config.json"
        try:
            saved = load_file(adapter)
        except Exception as error:
            raise AdapterMismatchError(
                f"{where} cannot be read as safetensors ({error}). Was its download or copy cut off? "
                "Delete it and fetch it again."
            ) from error
    saved = {canonical_key(key): tensor for key, tensor in saved.items()}
    own = {canonical_key(key): parameter for key, parameter in student.named_parameters() if is_own_key(key)}
    offloaded = [key for key, parameter in own.items() if parameter.is_meta]
    if offloaded:
        raise AdapterMismatchError(
            f"{_some(offloaded)} would sit on layers that `device_map` offloads, where LoRA does not act. Keep the first "
            f"{student.config.lora_num_layers} decoder layers on a device."
        )
    problems = []
    if missing := sorted(own.keys() - saved.keys()):
        problems.append(f"missing: {_some(missing)}")
    if unexpected := sorted(saved.keys() - own.keys()):
        problems.append(f"unexpected: {_some(unexpected)}")
    for key in sorted(own.keys() & saved.keys()):
        if own[key].shape != saved[key].shape:
            problems.append(f"{key} has shape {tuple(saved[key].shape)}, the model's is {tuple(own[key].shape)}")
    if problems:
        raise AdapterMismatchError(f"The adapter in {where} does not fit {what}:\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(saved[key])


def _some(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _generation_config(
    name_or_path: str | os.PathLike, hub_kwargs: dict[str, Any], default: GenerationConfig
) -> GenerationConfig:
    file = cached_file(
        name_or_path, "generation_config.json", _raise_exceptions_for_missing_entries=False, **hub_kwargs
    )
    return default if file is None else GenerationConfig.from_pretrained(os.path.dirname(file))


def _text_statistics(
    name_or_path: str | os.PathLike, hub_kwargs: dict[str, Any], config: AuraConfig
) -> TextStatistics | None:
    """What a repo holds for the first pass of transcripts; `None` where it holds nothing."""
    file = cached_file(
        name_or_path, TEXT_STATISTICS_FILE_NAME, _raise_exceptions_for_missing_entries=False, **hub_kwargs
    )
    return None if file is None else TextStatistics.load(file, config.text_config.vocab_size)


# -------------------------------------------------------------------------------------------------- both share


def _load_base(
    cls: type[PreTrainedModel], config: AuraConfig, hub_kwargs: dict[str, Any], loader_kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A `cls` without LoRA, its language model loaded from the base LLM's own repo, its patch embedding new."""
    without_lora = copy.deepcopy(config)
    without_lora.lora_rank = 0
    source = config.base_model
    if source is None:
        raise ValueError("The config names no `base_model`.")
    if os.path.isabs(source) and not os.path.isdir(source):
        raise FileNotFoundError(
            f"The student's base LLM is the folder {source}, which is not on this machine. {_NAME_A_COPY}"
        )
    if config.base_gguf_file is not None:
        return _load_gguf_base(cls, without_lora, hub_kwargs, loader_kwargs), {}
    loader_kwargs = {"use_safetensors": True, **loader_kwargs}
    _keep_patch_embedding_unquantised(loader_kwargs.get("quantization_config"))
    prefix = "model.language_model." if cls.can_generate() else "language_model."  # with a head, or headless
    try:
        student, loading_info = PreTrainedModel.from_pretrained.__func__(
            cls,
            source,
            config=without_lora,
            key_mapping={
                r"^model\.(?!language_model\.|embed_audio\.|subword_ctc_head\.|character_ctc_head\.)": prefix
            },
            output_loading_info=True,
            **{name: value for name, value in hub_kwargs.items() if value is not None},
            **loader_kwargs,
        )
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise AdapterMismatchError(
            f"{source} is not the LLM of this student: its weights have other shapes than the student's config.json "
            f"says ({config.text_config.model_type}, {config.text_config.num_hidden_layers} layers, width "
            f"{config.text_config.hidden_size}). The loader's report above names them."
        ) from error
    problems = sorted(map(str, loading_info["missing_keys"]))
    if problems:
        raise AdapterMismatchError(
            f"{source} lacks weights of the {config.text_config.model_type} LLM that this student needs: "
            f"{_some(problems)}."
        )
    # The loader remembers the key mapping and the quantiser in order to undo or repeat them on saving; a compact student
    # is saved under its own names, and what is saved is not quantised.
    student._weight_conversions = None
    student.hf_quantizer = None
    return student, loading_info


def _load_gguf_base(
    cls: type[PreTrainedModel],
    config: AuraConfig,
    hub_kwargs: dict[str, Any],
    loader_kwargs: dict[str, Any],
) -> Any:
    """The LLM of a GGUF file, its weights dequantised, inside a `cls`."""
    causal_lm = AutoModelForCausalLM.from_pretrained(
        config.base_model,
        gguf_file=config.base_gguf_file,
        **_dequantise(),
        **{name: value for name, value in hub_kwargs.items() if value is not None},
        **loader_kwargs,
    )
    config.dtype = causal_lm.dtype
    with torch.device("meta"):
        student = cls(config)
    audio_language_model = student.audio_language_model
    audio_language_model.language_model = causal_lm.model
    like_the_llm, width = (causal_lm.device, causal_lm.dtype), config.text_config.hidden_size
    audio_language_model.embed_audio = AuraAudioEmbedding(config.audio_config, width).to(*like_the_llm)
    student._init_weights(audio_language_model.embed_audio)
    if config.subword_ctc_layer is not None:
        audio_language_model.subword_ctc_head = SubwordCTCHead(width).to(*like_the_llm)
    if config.character_ctc_alphabet is not None:
        head = CharacterCTCHead(width, config.character_ctc_alphabet)
        audio_language_model.character_ctc_head = head.to(*like_the_llm)
    if student.get_output_embeddings() is not None:
        student.set_output_embeddings(causal_lm.get_output_embeddings())
    if student.can_generate():
        student.generation_config = causal_lm.generation_config
    return student.eval()


def _dequantise() -> dict[str, Any]:
    try:
        from transformers import GgufConfig
    except ImportError:  # older transformers always dequantise
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


def _keep_patch_embedding_unquantised(quantization_config: Any) -> None:
    """Audio is what quantisation ruins first: the patch embedding and the heads stay as they are."""
    if quantization_config is None:
        return
    settings = vars(quantization_config)
    for name in {"modules_to_not_convert", "llm_int8_skip_modules"} & settings.keys():
        settings[name] = list(
            {*(settings[name] or ()), "embed_audio", "subword_ctc_head", "character_ctc_head", "lm_head"}
        )


def _attach_adapter(student: Any, config: AuraConfig) -> Any:
    """Turns a loaded, plain student into the compact one that `config` describes."""
    config._attn_implementation = student.config._attn_implementation
    config.dtype = student.config.dtype
    config.text_config = student.audio_language_model.language_model.config
    student.config = config
    student.name_or_path = (
        config.name_or_path
    )  # not that of the base LLM: PEFT writes it into the adapters that it saves
    student.audio_language_model.config = config
    student._add_lora()
    return student.eval()
