"""Keywords of a processor call: their defaults, and an error for a misspelt one."""

import difflib
from collections.abc import Mapping
from typing import Any

from transformers.processing_utils import AudioKwargs, ImagesKwargs, TextKwargs, VideosKwargs
from transformers.utils import logging

from .arguments import one_of, options, real_number, switch, whole_number


logger = logging.get_logger(__name__)

_DEFAULTS_OF_GROUPS: dict[str, dict[str, Any]] = {
    "audio_kwargs": {"sampling_rate": None, "require_sampling_rate": False, "truncate_to_seconds": None},
    "text_kwargs": {
        "padding": True,
        "padding_side": None,
        "truncation": False,
        "max_length": None,
        "pad_to_multiple_of": None,
        "add_special_tokens": None,
    },
    "common_kwargs": {"return_tensors": None},
}
"""Keywords that are given flat or in their group, or in `common_kwargs`."""

_CALL_DEFAULTS = {name: value for group in _DEFAULTS_OF_GROUPS.values() for name, value in group.items()}
_MAX_LENGTH = 10_000_000
"""Of `max_length` and `pad_to_multiple_of`: no LLM takes more tokens."""

_FEATURE_PADDING = ("padding", "max_length", "pad_to_multiple_of")
"""Keywords of `audio_kwargs` for the feature extractor; given flat they are for the text."""

_KEYWORDS_OF_GROUPS = {
    "audio_kwargs": (*_DEFAULTS_OF_GROUPS["audio_kwargs"], "return_tensors", *_FEATURE_PADDING),
    "text_kwargs": (*_DEFAULTS_OF_GROUPS["text_kwargs"], "return_tensors"),
    "common_kwargs": tuple(_CALL_DEFAULTS),
}

_TOKENIZER_DEFAULTS = ("padding", "max_length", "pad_to_multiple_of")
"""What a tokenizer may bring along as its own default. Not `truncation`: nothing is cut unless a call says so."""

_OPTIONS_OF_OTHER_MODALITIES = (ImagesKwargs.__annotations__.keys() | VideosKwargs.__annotations__.keys()) - (
    TextKwargs.__annotations__.keys() | AudioKwargs.__annotations__.keys()
)
_OF_OTHER_MODALITIES = {"images", "videos", "images_kwargs", "videos_kwargs", *_OPTIONS_OF_OTHER_MODALITIES}
"""What callers pass that serve every kind of model."""

_COMMON_MISTAKES = {
    "audios": "audio",
    "audio_inputs": "audio",
    "raw_speech": "audio",
    "speech": "audio",
    "texts": "text",
    "prompt": "text",
    "sample_rate": "sampling_rate",
    "sr": "sampling_rate",
}
KNOWN_CALL_KEYWORDS = (*_CALL_DEFAULTS, *_DEFAULTS_OF_GROUPS)
TEMPLATE_KEYWORDS = (
    "chat_template",
    "tools",
    "documents",
    "add_generation_prompt",
    "continue_final_message",
    "return_assistant_tokens_mask",
    "tokenize",
    "return_dict",
    "processor_kwargs",
)


def call_settings(
    kwargs: Mapping[str, Any], tokenizer_defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Keywords of a call, checked and with their defaults.

    Args:
        kwargs: as they were given, flat or in groups.
        tokenizer_defaults: what the tokenizer was made with, see [`_TOKENIZER_DEFAULTS`].

    Returns:
        the settings; what `text_kwargs` hold beside them, for the tokenizer; what `audio_kwargs` say of padding, for the feature extractor.

    Raises:
        TypeError: an unknown keyword, or a value of a wrong type.
        ValueError: a keyword that was given flat and in its group, a value out of range, or a picture.
    """
    given = _without_other_modalities(kwargs)
    settings = _CALL_DEFAULTS | {
        name: tokenizer_defaults[name] for name in _TOKENIZER_DEFAULTS if name in tokenizer_defaults
    }
    tokenizer_kwargs: dict[str, Any] = {}
    feature_padding: dict[str, Any] = {}
    groups = {name: options(name, given.pop(name, None)) for name in reversed(_DEFAULTS_OF_GROUPS)}
    refuse_misspelt(given, KNOWN_CALL_KEYWORDS, strict=True)
    for group, values in groups.items():
        if group != "text_kwargs":
            refuse_misspelt(values, _KEYWORDS_OF_GROUPS[group], strict=True)
        for name, value in values.items():
            if group == "audio_kwargs" and name in _FEATURE_PADDING:
                feature_padding[name] = value
            elif name not in _KEYWORDS_OF_GROUPS[group]:
                tokenizer_kwargs[name] = value
            elif group != "common_kwargs" and value is not None and given.get(name) is not None:
                raise ValueError(f"`{name}` was passed twice: in `{group}` and beside it.")
            else:
                settings[name] = value
    grouped = {name for values in groups.values() for name in values}
    settings |= {name: value for name, value in given.items() if value is not None or name not in grouped}
    switch("require_sampling_rate", settings["require_sampling_rate"])
    one_of("return_tensors", settings["return_tensors"], (None, "pt", "np", "mlx"))
    one_of("add_special_tokens", settings["add_special_tokens"], (None, True, False))
    for name in ("max_length", "pad_to_multiple_of"):
        if settings[name] is not None:
            settings[name] = whole_number(name, settings[name], at_most=_MAX_LENGTH)
    if settings["truncate_to_seconds"] is not None:
        settings["truncate_to_seconds"] = real_number("truncate_to_seconds", settings["truncate_to_seconds"], above=0)
    return settings, tokenizer_kwargs, feature_padding


def _without_other_modalities(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("images", "videos"):
        if kwargs.get(name) is not None:
            raise ValueError(f"AuraProcessor takes text and audio: an AuRA student takes no {name}.")
    useless = sorted(name for name in kwargs.keys() & _OPTIONS_OF_OTHER_MODALITIES if kwargs[name] is not None)
    if useless:
        logger.warning_once(
            f"{', '.join(f'`{name}`' for name in useless)}: for pictures or videos, of no use to AuraProcessor."
        )
    return {name: value for name, value in kwargs.items() if name not in _OF_OTHER_MODALITIES}


def refuse_misspelt(given: Mapping[str, Any], known: tuple[str, ...], strict: bool) -> None:
    """Raise `TypeError` for an unknown keyword, or (not `strict`) for one that looks like a known one."""
    listed = ("text", "audio", *known) if strict else known
    for name in given:
        if name in known:
            continue
        close = [_COMMON_MISTAKES[name]] if name in _COMMON_MISTAKES else []
        close += difflib.get_close_matches(name, ("text", "audio", *known), n=1, cutoff=0.8)
        if strict or close:
            suggestion = f" Did you mean `{close[0]}`?" if close else ""
            raise TypeError(
                f"AuraProcessor got an unexpected keyword argument `{name}`.{suggestion} It takes: {', '.join(listed)}."
            )
