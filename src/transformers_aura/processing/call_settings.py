"""Keywords of a processor call: their defaults, and an error for a misspelt one."""

import difflib
from collections.abc import Mapping
from typing import Any

from .arguments import real_number, switch, whole_number


CALL_DEFAULTS: dict[str, Any] = {
    "sampling_rate": None,
    "require_sampling_rate": False,
    "truncate_to_seconds": None,
    "padding": True,
    "padding_side": None,
    "truncation": False,
    "max_length": None,
    "pad_to_multiple_of": None,
    "add_special_tokens": None,
    "return_tensors": None,
}
_GROUPED_KEYWORDS = ("text_kwargs", "audio_kwargs", "common_kwargs")
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
KNOWN_CALL_KEYWORDS = (*CALL_DEFAULTS, *_GROUPED_KEYWORDS)
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


def call_settings(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of a call, checked and with their defaults, and those that are for the tokenizer alone."""
    given = dict(kwargs)
    flat: dict[str, Any] = {}
    tokenizer_kwargs: dict[str, Any] = {}
    for group in _GROUPED_KEYWORDS:
        for name, value in (given.pop(group, None) or {}).items():
            if name in CALL_DEFAULTS:
                flat[name] = value
            elif group == "text_kwargs":
                tokenizer_kwargs[name] = value
            else:
                refuse_misspelt({name: value}, tuple(CALL_DEFAULTS), strict=True)
    refuse_misspelt(given, KNOWN_CALL_KEYWORDS, strict=True)
    flat.update({name: value for name, value in given.items() if value is not None or name not in flat})
    settings = {**CALL_DEFAULTS, **flat}
    switch("require_sampling_rate", settings["require_sampling_rate"])
    for name in ("max_length", "pad_to_multiple_of"):
        if settings[name] is not None:
            settings[name] = whole_number(name, settings[name])
    if settings["truncate_to_seconds"] is not None:
        settings["truncate_to_seconds"] = real_number("truncate_to_seconds", settings["truncate_to_seconds"], above=0)
    return settings, tokenizer_kwargs


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
