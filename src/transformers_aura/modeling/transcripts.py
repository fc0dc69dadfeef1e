"""What `transcribe` returns, and how it comes together: texts of chunks, the transcript of a recording out of them, the times of its words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from transformers import PreTrainedTokenizerBase

from ..decoding.alphabet import GAP, CharacterAlphabet
from ..decoding.beam_search import Hypothesis
from ..decoding.ctc import Emissions, align, greedy_labelling
from ..decoding.scripts import joined
from .rescoring import TextCache


@dataclass(frozen=True)
class TimedWord:
    """
    A word of a transcript.

    Attributes:
        text: as it is written, without punctuation.
        start_seconds, end_seconds: where it lies in the recording, by the character emissions.
    """

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Transcript:
    """
    What was said in a recording.

    Attributes:
        text: the transcript; empty where nothing was heard.
        token_ids: of the text, by the LLM's tokenizer.
        log_probability: natural log of the probability of its characters, by the emissions alone.
        score: all that speaks for it, weighed.
        words: with their times; empty for the method `"greedy"`.
        heard: whether anybody speaks in the recording.
        is_complete: `False` where a limit of the call ended it early.
        alternatives: further texts, the better first, as many as the call asked for; of a recording that was cut into chunks there are none.
        text_cache: keys and values of the text before the clip and the transcript behind it, where the base LLM has computed them.
    """

    text: str
    token_ids: list[int]
    log_probability: float
    score: float
    words: list[TimedWord] = field(default_factory=list)
    heard: bool = True
    is_complete: bool = True
    alternatives: list[Transcript] = field(default_factory=list)
    text_cache: TextCache | None = None


@dataclass(frozen=True)
class Recording:
    """
    A clip of the call.

    Attributes:
        embeddings: audio patch embeddings, `(audio tokens, hidden)`.
        characters: emissions of the character CTC head, `(frames, 1 + characters)`; `None` without one.
        context: token ids of the text before the clip.
        chunks: first audio token of each chunk in which anything is said, and the one behind its last.
        is_whole: it was not cut.
    """

    embeddings: torch.Tensor
    characters: Emissions | None
    context: list[int]
    chunks: list[tuple[int, int]]
    is_whole: bool


@dataclass(frozen=True)
class ChunkText:
    """A text of one chunk; fields as in [`Transcript`], and the hypothesis that it comes from."""

    text: str
    token_ids: list[int]
    log_probability: float
    score: float
    words: list[TimedWord] = field(default_factory=list)
    text_cache: TextCache | None = None
    hypothesis: Hypothesis | None = None


class Draft:
    """The transcript of one recording, as its chunks come."""

    def __init__(self, recording: Recording, max_new_tokens: int | None, stop: Callable[[str], bool] | None) -> None:
        self.recording = recording
        self.heard = True
        self.is_complete = True
        self.is_over = False
        self._max_new_tokens = max_new_tokens
        self._stop = stop
        self._chunks: list[list[ChunkText]] = []
        self._left = len(recording.chunks)

    def add(self, texts: list[ChunkText], tokenizer: PreTrainedTokenizerBase) -> None:
        """Adds the texts of the next chunk."""
        if self.is_over:
            return
        self._chunks.append(texts)
        self._left -= 1
        enough = self._max_new_tokens is not None and len(self._token_ids(tokenizer)) >= self._max_new_tokens
        if enough or (self._stop is not None and self._stop(self._text())):
            self.is_over = True
            self.is_complete = self.is_complete and not self._left

    def transcript(self, tokenizer: PreTrainedTokenizerBase, num_hypotheses: int) -> Transcript:
        """All of it, with further texts where there is one chunk."""
        if len(self._chunks) == 1 and self._left == 0:
            first, *others = [
                self._limited(self._of_chunk(text), tokenizer) for text in self._chunks[0][:num_hypotheses]
            ]
            return replace(first, alternatives=others)
        chunks = [texts[0] for texts in self._chunks]
        whole = Transcript(
            text=self._text(),
            token_ids=self._token_ids(tokenizer),
            log_probability=sum(chunk.log_probability for chunk in chunks),
            score=sum(chunk.score for chunk in chunks),
            words=[word for chunk in chunks for word in chunk.words],
            heard=self.heard,
            is_complete=self.is_complete,
        )
        return self._limited(whole, tokenizer)

    def _of_chunk(self, chunk: ChunkText) -> Transcript:
        return Transcript(
            chunk.text,
            chunk.token_ids,
            chunk.log_probability,
            chunk.score,
            chunk.words,
            heard=self.heard,
            is_complete=self.is_complete,
            text_cache=chunk.text_cache,
        )

    def _text(self) -> str:
        return joined(texts[0].text for texts in self._chunks)

    def _token_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[int]:
        if len(self._chunks) == 1:
            return self._chunks[0][0].token_ids
        return tokenizer(self._text(), add_special_tokens=False).input_ids if self._chunks else []

    def _limited(self, transcript: Transcript, tokenizer: PreTrainedTokenizerBase) -> Transcript:
        """At most as many tokens as the call allows."""
        most = self._max_new_tokens
        if most is None or len(transcript.token_ids) <= most:
            return transcript
        token_ids = transcript.token_ids[:most]
        text = tokenizer.decode(token_ids).strip()
        words, place = [], 0
        for word in transcript.words:
            place = text.find(word.text, place)
            if place < 0:
                break
            words.append(word)
            place += len(word.text)
        return replace(transcript, text=text, token_ids=token_ids, words=words, is_complete=False, text_cache=None)


def chunk_texts(hypotheses: Sequence[Hypothesis], tokenizer: PreTrainedTokenizerBase) -> list[ChunkText]:
    """Hypotheses as texts, in their canonical tokens."""
    texts = [tokenizer.decode(list(hypothesis.tokens)).strip() for hypothesis in hypotheses]
    token_ids = tokenizer(texts, add_special_tokens=False).input_ids
    return [
        ChunkText(text, of_text, hypothesis.ctc_log_probability, hypothesis.score, hypothesis=hypothesis)
        for text, of_text, hypothesis in zip(texts, token_ids, hypotheses, strict=True)
    ]


def timed_words(
    hypothesis: Hypothesis, characters: Emissions, offset_seconds: float, frames_per_second: float
) -> list[TimedWord]:
    """The words of a hypothesis, with their times by the character emissions of its chunk."""
    words, first = [], 0
    spans = align(characters, hypothesis.labelling)
    for form, symbols in zip(hypothesis.words, _words_of(hypothesis.labelling), strict=True):
        last = first + len(symbols) - 1
        start, end = spans[first][0], spans[last][1]
        words.append(
            TimedWord(
                form,
                round(offset_seconds + start / frames_per_second, 3),
                round(offset_seconds + end / frames_per_second, 3),
            )
        )
        first = last + 2  # behind the gap
    return words


def _words_of(labelling: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for is_gap, symbols in itertools.groupby(labelling, key=lambda symbol: symbol == GAP):
        if not is_gap:
            yield tuple(symbols)


def greedy_text(emissions: Emissions, tokenizer: PreTrainedTokenizerBase) -> ChunkText:
    """The likeliest tokens as they are."""
    tokens = [symbol - 1 for symbol in greedy_labelling(emissions)]
    log_probability = float(emissions.max(axis=1).sum())
    text = tokenizer.decode(tokens).strip()
    return ChunkText(text, tokens, log_probability, log_probability)


def greedy_characters(
    emissions: Emissions, alphabet: CharacterAlphabet, tokenizer: PreTrainedTokenizerBase
) -> ChunkText:
    """The likeliest characters as they are."""
    log_probability = float(emissions.max(axis=1).sum())
    text = alphabet.decode(greedy_labelling(emissions))
    return ChunkText(text, tokenizer(text, add_special_tokens=False).input_ids, log_probability, log_probability)


__all__ = [
    "ChunkText",
    "Draft",
    "Recording",
    "TimedWord",
    "Transcript",
    "chunk_texts",
    "greedy_characters",
    "greedy_text",
    "timed_words",
]
