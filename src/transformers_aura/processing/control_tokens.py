"""Control tokens that somebody typed: they stay text, so that nobody opens a turn, or an audio, by spelling one."""

from __future__ import annotations

import bisect
import copy
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase


BREAK = "\u2060"
"""Word joiner, which nobody sees: behind the first character of a control token, it keeps tokenizers from finding the token."""

_RESERVED_SPELLING = re.compile(r"<[|｜].+[|｜]>", re.DOTALL)


@dataclass(frozen=True)
class ControlTokens:
    """
    The control tokens of a tokenizer and a chat template.

    Attributes:
        special: the tokenizer's special tokens.
        written: its other added tokens that the template writes (`<tool_call>`, `<think>`), or that are spelt `<|...|>`.
        ids: of both, without the token for what is unknown, which ordinary text may become.
    """

    special: tuple[str, ...]
    written: tuple[str, ...]
    ids: frozenset[int]
    _plain: list[_PlainTokenizer] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, chat_template: str | Mapping[str, str] | None) -> ControlTokens:
        """Those of this tokenizer and its template, or templates."""
        templates = "".join(chat_template.values()) if isinstance(chat_template, Mapping) else chat_template or ""
        state = (len(tokenizer), tuple(tokenizer.all_special_tokens), templates)
        known = _KNOWN.get(tokenizer)
        if known is None or known[0] != state:
            known = state, cls._find(tokenizer, templates)
            _KNOWN[tokenizer] = known
        return known[1]

    @classmethod
    def _find(cls, tokenizer: PreTrainedTokenizerBase, templates: str) -> ControlTokens:
        added = {token.content: token.special for token in tokenizer.added_tokens_decoder.values() if token.content}
        special = {*tokenizer.all_special_tokens, *(text for text, is_special in added.items() if is_special)} - {""}
        declared = getattr(tokenizer, "chat_control_tokens", None)  # transformers >= 5.24
        written = {
            text
            for text in added.keys() - special
            if (text in declared if declared is not None else text in templates and not text.isspace())
            or _RESERVED_SPELLING.fullmatch(text)
        }
        ids = set(tokenizer.convert_tokens_to_ids([*special, *written])) - {tokenizer.unk_token_id}
        return cls(tuple(sorted(special)), tuple(sorted(written)), frozenset(ids))

    def as_text(self, text: str, tokenizer: PreTrainedTokenizerBase, keep_written: bool = False) -> str:
        """
        The text, with a [`BREAK`] in whatever would become a control token. [`encode`] takes it out again.

        Args:
            text: what somebody typed.
            tokenizer: the one that will read it.
            keep_written: leave tokens that are not special as they are: the assistant writes them itself.
        """
        pattern = self._special_starts if keep_written else self._starts
        text = pattern.sub(rf"\g<0>{BREAK}", text)
        if not tokenizer.is_fast:
            return text
        # What normalisation makes a token (fullwidth letters), and what the vocabulary itself holds.
        ids = self.ids - set(tokenizer.convert_tokens_to_ids(list(self.written))) if keep_written else self.ids
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        starts = [
            start
            for token, (start, _) in zip(found["input_ids"], found["offset_mapping"], strict=True)
            if token in ids
        ]
        for start in reversed(starts):
            text = text[: start + 1] + BREAK + text[start + 1 :]
        return text

    def encode(self, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, **kwargs: Any) -> dict[str, list[Any]]:
        """
        The texts tokenized, not padded, by name of the column. Control tokens with a [`BREAK`] in them become the tokens of their spelling.

        Args:
            texts: rendered chats or prompts.
            tokenizer: of these control tokens.
            kwargs: for the tokenizer.
        """
        if not tokenizer.is_fast or not any(BREAK in text for text in texts):
            return dict(tokenizer(list(texts), **kwargs))
        if not self._plain:
            self._plain.append(_PlainTokenizer(tokenizer, (*self.special, *self.written)))
        rows = [
            self._plain[0].encode(text, **kwargs) if BREAK in text else dict(tokenizer([text], **kwargs))
            for text in texts
        ]
        return {name: [row[name][0] for row in rows] for name in rows[0]}

    @cached_property
    def _starts(self) -> re.Pattern[str]:
        return _first_characters((*self.special, *self.written))

    @cached_property
    def _special_starts(self) -> re.Pattern[str]:
        return _first_characters(self.special)


_KNOWN: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[Any, ControlTokens]] = WeakKeyDictionary()


def _first_characters(tokens: Sequence[str]) -> re.Pattern[str]:
    """Matches each character at which one of the tokens begins."""
    rests: dict[str, list[str]] = {}
    for token in tokens:
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    return re.compile("|".join(f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items()) or "(?!)")


class _PlainTokenizer:
    """A tokenizer that finds control tokens under secret names only: whatever else it reads is text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
        secret = secrets.token_hex(8)
        self._names = {token: f"\U000f0000{secret}{number:06}\U000f0001" for number, token in enumerate(tokens)}
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        _rename(state, self._names)
        self._tokenizer = copy.copy(tokenizer)
        self._tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
        self._ids = {
            self._tokenizer._tokenizer.token_to_id(self._names.get(token.content, token.content)): number
            for number, token in tokenizer.added_tokens_decoder.items()
        }
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(f"{re.escape(t[0])}{BREAK}?{re.escape(t[1:])}" for t in longest_first))

    def encode(self, text: str, **kwargs: Any) -> dict[str, list[Any]]:
        """As the tokenizer's own call, for one text."""
        parts, copied, length = [], 0, 0
        ends, shifts = [0], [0]  # positions in what is tokenized, and how far those behind them are from the text's
        for match in self._pattern.finditer(text):
            token = match[0]
            is_text = token[1:2] == BREAK
            replacement = token[0] if is_text else self._names[token]
            parts += [text[copied : match.start()], replacement]
            length += match.start() - copied + len(replacement)
            copied = match.start() + 2 if is_text else match.end()
            ends.append(length)
            shifts.append(copied - length)
        encoded = dict(self._tokenizer(["".join([*parts, text[copied:]])], **kwargs))
        encoded["input_ids"] = [[self._ids.get(token, token) for token in row] for row in encoded["input_ids"]]

        def in_text(position: int) -> int:
            return position + shifts[bisect.bisect_right(ends, position) - 1]

        if "offset_mapping" in encoded:
            encoded["offset_mapping"] = [
                [(in_text(start), in_text(end)) for start, end in row] for row in encoded["offset_mapping"]
            ]
        return encoded


def _rename(state: dict[str, Any], names: Mapping[str, str]) -> None:
    """Gives tokens of a saved tokenizer other names, each with the id that it had."""
    for added in state["added_tokens"]:
        if added["content"] in names:
            added.update(content=names[added["content"]], normalized=False)
    model = state["model"]
    unknown = model.get("unk_token")  # WordPiece and BPE name it, and may need it for ordinary text
    names = {token: name for token, name in names.items() if token != unknown}
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): number for token, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if "merges" in model:
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [pair for pair in pairs if not {*pair, "".join(pair)} & names.keys()]


__all__ = ["BREAK", "ControlTokens"]
