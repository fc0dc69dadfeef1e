"""What a call of `generate` says of how its text is to be found: by arguments, by a `GenerationConfig`, or by the student's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig


OF_A_SEARCH = {
    "max_new_tokens",
    "max_length",
    "do_sample",
    "num_return_sequences",
    "pad_token_id",
    "eos_token_id",
    "use_cache",
    "tokenizer",
}
"""Arguments of `generate` with which a transcript can be searched for along the recording; others shape how it is written token by token."""

SHAPES_TEXT = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "sequence_bias",
    "min_length",
    "min_new_tokens",
    "stop_strings",
)
"""Settings of a `GenerationConfig` that only writing token by token obeys."""


@dataclass(frozen=True)
class GenerationSettings:
    """What matters of a call's settings for transcripts.

    How an LLM is to chat, which its own `GenerationConfig` may say (sampling, a repetition penalty), is not how a transcript is written: only what the
    call itself says closes a choice.

    Attributes:
        leaves_search_open: the call does not say with how many beams, or in which other way, text is searched for.
        leaves_cache_open: nor of what kind the cache is.
        leaves_all_open: nor anything else of how a transcript is to be written, or returned.
        returns_one_text: the call asks for one text a prompt, and nothing besides.
        likeliest: arguments of `generate` with which the likeliest text is written, where the call leaves that open.
    """

    eos_token_ids: list[int]
    pad_token_id: int
    max_new_tokens: int | None
    max_length: int | None
    return_dict_in_generate: bool
    returns_one_text: bool
    leaves_search_open: bool
    leaves_cache_open: bool
    leaves_all_open: bool
    likeliest: dict[str, Any]

    @classmethod
    def of_call(
        cls, default: GenerationConfig, given: GenerationConfig | None, logits_processor: Any, kwargs: dict[str, Any]
    ) -> GenerationSettings:
        """Reads them from what a call gives, and from the student's own where it does not say.

        Args:
            default: of the student.
            given: argument of the call.
            logits_processor: argument of the call.
            kwargs: its other arguments, those that describe the prompts left out.
        """
        own, of_config = default.to_dict(), {} if given is None else given.to_dict()
        called = {name: value for name, value in of_config.items() if value is not None and value != own.get(name)}
        called |= {name: value for name, value in kwargs.items() if value is not None}
        setting = (own | {name: value for name, value in of_config.items() if value is not None} | called).get

        ends = setting("eos_token_id")
        ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        padding = setting("pad_token_id")
        if padding is None:
            padding = ends[0] if ends else 0
        searches = ("num_return_sequences", "penalty_alpha", "prompt_lookup_num_tokens", "num_beams")
        says_how = (
            any(name in kwargs for name in ("num_beams", "streamer", "assistant_model", "custom_generate"))
            or any(called.get(name) not in (None, False, 1) for name in searches)
            or bool(called.get("do_sample"))
        )
        chooses_cache = (
            any(called.get(name) not in (None, False) for name in ("cache_implementation", "prefill_chunk_size"))
            or called.get("use_cache") is False
        )
        says_more = any(value is not None and name not in OF_A_SEARCH for name, value in kwargs.items())
        shapes_text = any(called.get(name) not in (None, False, 0, 1) for name in SHAPES_TEXT)
        returns_more = bool(setting("return_dict_in_generate"))
        return cls(
            eos_token_ids=ends,
            pad_token_id=padding,
            max_new_tokens=setting("max_new_tokens"),
            max_length=setting("max_length"),
            return_dict_in_generate=returns_more,
            returns_one_text=not returns_more and setting("num_return_sequences") in (None, 1),
            leaves_search_open=not says_how,
            leaves_cache_open=not chooses_cache,
            leaves_all_open=not (
                says_how or chooses_cache or says_more or shapes_text or returns_more or bool(logits_processor)
            ),
            likeliest={"do_sample": False, "repetition_penalty": called.get("repetition_penalty", 1.0)},
        )

    def limit(self, prompt_length: int) -> int | None:
        """New tokens that the call allows; `None` = as many as there are.

        Args:
            prompt_length: tokens of a prompt with its padding, which `max_length` counts too.
        """
        if self.max_new_tokens is None and self.max_length is not None:
            return max(self.max_length - prompt_length, 0)
        return self.max_new_tokens

    def before_end(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids before the first that ends a text."""
        ends = torch.tensor(self.eos_token_ids, dtype=tokens.dtype, device=tokens.device)
        return tokens[torch.isin(tokens, ends).cumsum(0) == 0]

    def end(self, texts: list[torch.Tensor], prompt_length: int) -> torch.Tensor:
        """Texts with their ends, cut where the call says so, and padded: `(rows, tokens)`.

        Args:
            texts: token ids of each.
            prompt_length: tokens of a prompt with its padding, which `max_length` counts too.
        """
        most, ends = self.limit(prompt_length), self.eos_token_ids[:1]
        rows = [torch.cat([text, text.new_tensor(ends)])[:most] for text in texts]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
