"""`transcribe`: recordings written down by what the student's CTC heads emit, and, of the best texts, by what the base LLM thinks of them.

audio patch embeddings -> character emissions -> chunks, cut at pauses
chunks -> one pass of the first layers -> subword emissions (of a student with that head) -> beam search (decoding/) -> the best texts
the best texts -> one pass of the base LLM over them as a prefix tree -> the transcript (`transcripts`)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from ..decoding.alphabet import CharacterAlphabet
from ..decoding.beam_search import BeamSearch, WordForms
from ..decoding.config import DecodingConfig
from ..decoding.ctc import Emissions
from ..decoding.lexicon import LexiconTrie
from ..decoding.scorers import NGramScorer, SubwordCTCScorer, TokenScorer
from ..decoding.scripts import is_written_without_blanks
from ..decoding.segmentation import cut_at_pauses, is_pause
from ..decoding.speech_detection import contains_speech
from ..decoding.text_statistics import TextStatistics
from ..processing.arguments import described, real_number, whole_number
from ..processing.audio_tokens import clips_of_rows
from .context_length import context_length
from .ctc_heads import STEPS_PER_TOKEN
from .dtypes import without_autocast
from .rescoring import Candidates, can_score_texts, score_texts
from .transcripts import (
    ChunkText,
    Draft,
    Recording,
    Transcript,
    chunk_texts,
    greedy_characters,
    greedy_text,
    timed_words,
)


CLOSING_TOKENS = 4
"""Punctuation tokens that may end a text: those that the subword head finds likeliest, at most so many."""

Method = Literal["beam_search", "greedy"]


class TranscriptionMixin:
    """Adds `transcribe` to [`AuraForSpeechQA`]."""

    # Of the class that this goes into.
    config: Any
    generation_config: Any
    model: Any
    compute_logits: Callable[[torch.Tensor], torch.Tensor]
    get_input_embeddings: Callable[[], torch.nn.Module]

    text_statistics: TextStatistics | None = None
    """Counted text for the first pass of a transcript, where the student's repo holds it."""

    _word_forms: tuple[PreTrainedTokenizerBase, TextStatistics | None, WordForms] | None = None

    @torch.no_grad()
    @without_autocast
    def transcribe(
        self,
        input_features: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase,
        audio_embeds: torch.Tensor | None = None,
        audio_embeds_mask: torch.Tensor | None = None,
        method: Method = "beam_search",
        num_hypotheses: int = 1,
        beam_size: int | None = None,
        language_model_weight: float | None = None,
        max_new_tokens: int | None = None,
        max_seconds: float | None = None,
        stop: Callable[[str], bool] | None = None,
    ) -> list[Transcript]:
        """
        Writes recordings down.

        A recording of any length: a long one is cut at pauses, and where nothing is said for a whole chunk, it costs no more. A chunk costs one pass through the layers below the subword CTC head, a beam search without
        the LLM, and one pass of the base LLM over the best texts (some 100 tokens), which `language_model_weight=0` saves.

        Args:
            input_features (`(num_audios, num_frames, num_mel_bins)`): log-mel frames of the clips, padded on the right.
            input_features_mask (`(num_audios, num_frames)`): `True` = a real frame; all when not given.
            input_ids, attention_mask (`(batch, seq)`, *optional*): the chats that the clips stand in, as the processor returns them. The text before the first
                clip of a row is the context of its clips and of their texts. Without it there is no context.
            tokenizer: of the LLM.
            audio_embeds (`(num_audios, audio_tokens, hidden)`): audio patch embeddings of the clips, if they are at hand: `last_hidden_state` of
                [`get_audio_features`]. They take the place of `input_features`.
            audio_embeds_mask (`(num_audios, audio_tokens)`): `True` = a real audio token; all when not given.
            method: `"beam_search"`, or `"greedy"`: the likeliest tokens of the subword CTC head as they are, or, without such a head, the likeliest characters,
                with no search (live captions).
            num_hypotheses: texts of each clip: the best one, and `alternatives`.
            beam_size, language_model_weight: in place of those of the student's [`DecodingConfig`]. A weight that is given holds for recordings that are cut
                into chunks too, whose texts the base LLM does not score by default (`rescore_chunks`).
            max_new_tokens: most tokens of a transcript.
            max_seconds: no further chunk is begun after so many seconds of the call.
            stop: is given the text of a clip so far behind each chunk; `True` ends the clip there.

        Returns:
            `list[Transcript]`: one for each clip, in reading order.

        Raises:
            TypeError: an argument of a wrong type.
            ValueError: the student has no heads for the method, an argument is out of range, the arguments do not belong together, or the text before a
                recording is too long for the LLM.
        """
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise TypeError(
                f"`tokenizer` must be the LLM's tokenizer (`processor.tokenizer`), got {described(tokenizer)}."
            )
        num_hypotheses = whole_number("num_hypotheses", num_hypotheses)
        if max_new_tokens is not None:
            max_new_tokens = whole_number("max_new_tokens", max_new_tokens)
        if language_model_weight is not None:
            language_model_weight = real_number("language_model_weight", language_model_weight, at_least=0)
        if max_seconds is not None:
            max_seconds = real_number("max_seconds", max_seconds, at_least=0)
        if stop is not None and not callable(stop):
            raise TypeError(f"`stop` must be a function of the text so far, got {described(stop)}.")
        self._check_heads(method)
        self._check_shapes(
            input_features=(input_features, "num_audios, num_frames, num_mel_bins"),
            input_features_mask=(input_features_mask, "num_audios, num_frames"),
            input_ids=(input_ids, "batch, seq"),
            attention_mask=(attention_mask, "batch, seq"),
            audio_embeds=(audio_embeds, "num_audios, audio_tokens, hidden"),
            audio_embeds_mask=(audio_embeds_mask, "num_audios, audio_tokens"),
        )
        config = DecodingConfig.from_dict(
            self.config.decoding_config,
            beam_size=beam_size,
            language_model_weight=language_model_weight,
            rescore_chunks=None if language_model_weight is None else language_model_weight > 0,
        )
        deadline = None if max_seconds is None else time.monotonic() + max_seconds
        recordings = self._recordings(
            self.model.audio_features(input_features, input_features_mask, audio_embeds, audio_embeds_mask),
            input_ids,
            attention_mask,
            config,
        )
        drafts = [Draft(recording, max_new_tokens, stop) for recording in recordings]
        for draft in drafts:
            draft.heard = draft.recording.characters is None or contains_speech(
                draft.recording.characters, self.character_frames_per_second
            )
        waiting = [(draft, first, end) for draft in drafts if draft.heard for first, end in draft.recording.chunks]
        while waiting:
            if deadline is not None and time.monotonic() >= deadline:
                for draft, _, _ in waiting:
                    draft.is_complete = False
                break
            chunks, waiting = waiting[: config.chunks_at_once], waiting[config.chunks_at_once :]
            texts = self._transcribe_chunks(chunks, tokenizer, method, config, num_hypotheses)
            for (draft, _, _), of_chunk in zip(chunks, texts, strict=True):
                draft.add(of_chunk, tokenizer)
            waiting = [chunk for chunk in waiting if not chunk[0].is_over]
        return [draft.transcript(tokenizer, num_hypotheses) for draft in drafts]

    @property
    def character_frames_per_second(self) -> float:
        """Frames of the character emissions in a second."""
        return self.config.audio_config.tokens_per_second * STEPS_PER_TOKEN

    @without_autocast
    def contains_speech(self, audio_embeds: torch.Tensor, audio_embeds_mask: torch.Tensor) -> list[bool] | None:
        """
        Whether anybody speaks in each of some clips, by the character emissions; `None` for a student without a character CTC head.

        Args:
            audio_embeds (`(num_audios, audio_tokens, hidden)`): audio patch embeddings.
            audio_embeds_mask (`(num_audios, audio_tokens)`): `True` = a real audio token.
        """
        head = self.model.character_ctc_head
        if head is None:
            return None
        with torch.no_grad():
            return [
                contains_speech(head.log_probabilities(clip[mask]).cpu().numpy(), self.character_frames_per_second)
                for clip, mask in zip(audio_embeds, audio_embeds_mask, strict=True)
            ]

    def _check_shapes(self, **inputs: tuple[Any, str]) -> None:
        """Raise for an input that is no tensor, or not of the shape whose dimensions are named; those of one name are equal."""
        if isinstance(inputs["input_ids"][0], torch.Tensor) and inputs["input_ids"][0].is_floating_point():
            raise TypeError(
                "`input_ids` must be whole numbers, got floating point: of the processor's output, convert `input_features` only."
            )
        sizes = {"num_mel_bins": self.config.audio_config.num_mel_bins, "hidden": self.config.text_config.hidden_size}
        for name, (value, shape) in inputs.items():
            if value is None:
                continue
            dimensions = shape.split(", ")
            if not isinstance(value, torch.Tensor):
                raise TypeError(
                    f'`{name}` must be a tensor, got {described(value)}: call the processor with `return_tensors="pt"`.'
                )
            fits = value.ndim == len(dimensions) and all(
                sizes.setdefault(dimension, size) == size
                for dimension, size in zip(dimensions, value.shape, strict=True)
            )
            if not fits:
                known = ", ".join(
                    f"{dimension} = {sizes[dimension]}" for dimension in dimensions if dimension in sizes
                )
                raise ValueError(
                    f"`{name}` must be of shape ({shape}){f', {known}' if known else ''}, got {tuple(value.shape)}."
                )

    def _check_heads(self, method: str) -> None:
        if method not in ("beam_search", "greedy"):
            raise ValueError(f'`method` must be "beam_search" or "greedy", got {method!r}.')
        if not self.config.can_transcribe:
            raise ValueError(
                "This student has no CTC head (`config.character_ctc_alphabet` and `config.subword_ctc_layer` are None), which `transcribe` needs. Ask it in "
                'words: generate an answer to `processor.transcription_instruction`; a pipeline answers directly with `answer_from="audio"`.'
            )
        if method == "beam_search" and self.model.character_ctc_head is None:
            raise ValueError(
                "This student has no character CTC head (`config.character_ctc_alphabet` is None), which the beam search needs: "
                'use `method="greedy"`.'
            )

    def _recordings(
        self,
        features: Any,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        config: DecodingConfig,
    ) -> list[Recording]:
        audio_embeds, lengths = features.last_hidden_state, features.audio_token_mask.sum(-1).tolist()
        contexts = self._contexts(lengths, input_ids, attention_mask)
        longest = round(config.chunk_seconds * self.config.audio_config.tokens_per_second)
        found = []
        for clip, length, context in zip(audio_embeds, lengths, contexts, strict=True):
            embeddings, characters = clip[:length], None
            if self.model.character_ctc_head is not None:
                characters = self.model.character_ctc_head.log_probabilities(embeddings).cpu().numpy()
                pause = is_pause(characters)
                cuts = cut_at_pauses(pause, longest * STEPS_PER_TOKEN)
            else:
                pause = np.zeros(length * STEPS_PER_TOKEN, dtype=bool)
                cuts = [longest * STEPS_PER_TOKEN * number for number in range(1, -(-length // longest))]
            edges = sorted({0, *(cut // STEPS_PER_TOKEN for cut in cuts), length})
            self._check_room(len(context), max(end - first for first, end in itertools.pairwise(edges)))
            chunks = [
                (first, end)
                for first, end in itertools.pairwise(edges)
                if len(edges) == 2 or not pause[first * STEPS_PER_TOKEN : end * STEPS_PER_TOKEN].all()
            ]
            found.append(Recording(embeddings, characters, context, chunks, is_whole=len(edges) == 2))
        return found

    def _check_room(self, num_context: int, longest: int) -> None:
        """Raise where the text before a clip leaves no room for the longest chunk, and for as many tokens of its transcript."""
        limit = context_length(self.config.text_config)
        if limit is not None and num_context and num_context + 2 * longest > limit:
            raise ValueError(
                f"The text before the recording takes {num_context} tokens, and a chunk of the recording {longest}, with as many for its transcript. The "
                f"LLM takes {limit}: shorten the text (context or history)."
            )

    def _contexts(
        self, lengths: Sequence[int], input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None
    ) -> list[list[int]]:
        """Token ids of the text before the first clip of each clip's row."""
        if input_ids is None:
            return [[] for _ in lengths]
        clip_tokens = torch.tensor(lengths, device=input_ids.device)
        is_audio = self.model.find_audio_positions(input_ids, clip_tokens)
        rows = clips_of_rows(clip_tokens, is_audio.sum(-1)).tolist()
        real = torch.ones_like(is_audio) if attention_mask is None else attention_mask.bool()
        before = is_audio.cumsum(-1) == 0
        return [input_ids[row][real[row] & before[row]].tolist() for row in rows]

    def _transcribe_chunks(
        self,
        chunks: Sequence[tuple[Draft, int, int]],
        tokenizer: PreTrainedTokenizerBase,
        method: Method,
        config: DecodingConfig,
        num_hypotheses: int,
    ) -> list[list[ChunkText]]:
        """The best texts of each chunk, at least one, the best first."""
        subwords: list[Emissions] | None = None
        if self.model.subword_ctc_head is not None:
            subwords = self._subword_emissions(
                [draft.recording.embeddings[first:end] for draft, first, end in chunks],
                [draft.recording.context for draft, _, _ in chunks],
            )
            if method == "greedy":
                return [[greedy_text(emissions, tokenizer)] for emissions in subwords]
        characters = [_characters(draft.recording, first, end) for draft, first, end in chunks]
        if method == "greedy":
            alphabet = CharacterAlphabet(self.config.character_ctc_alphabet)
            return [[greedy_characters(emissions, alphabet, tokenizer)] for emissions in characters]
        forms = self._forms(tokenizer)
        found = []
        for index, of_chunk in enumerate(characters):
            scorers: list[tuple[TokenScorer, float]] = []
            closing_tokens: list[int] = []
            if subwords is not None:
                scorers.append((SubwordCTCScorer(subwords[index]), config.subword_weight))
                closing_tokens = _closing_tokens(subwords[index], self._punctuation(tokenizer))
            if self.text_statistics is not None and config.ngram_weight:
                scorers.append(
                    (NGramScorer(self.text_statistics.ngram, self.text_statistics.end), config.ngram_weight)
                )
            search = BeamSearch(forms, scorers, closing_tokens, config)
            hypotheses = search.search(of_chunk)[: max(config.num_rescored, num_hypotheses)]
            found.append(chunk_texts(hypotheses, tokenizer))
        if config.language_model_weight and can_score_texts(self.model.language_model):
            found = self._rescore(chunks, found, config)
        return [
            [self._with_words(text, draft.recording, first, end) for text in texts[:num_hypotheses]]
            for (draft, first, end), texts in zip(chunks, found, strict=True)
        ]

    def _with_words(self, text: ChunkText, recording: Recording, first: int, end: int) -> ChunkText:
        """A text of the chunk between two audio tokens, with the times of its words."""
        assert text.hypothesis is not None
        characters = _characters(recording, first, end)
        offset = first / self.config.audio_config.tokens_per_second
        return replace(text, words=timed_words(text.hypothesis, characters, offset, self.character_frames_per_second))

    def _subword_emissions(self, embeddings: Sequence[torch.Tensor], contexts: Sequence[list[int]]) -> list[Emissions]:
        """Emissions of the subword CTC head for each chunk, all in one pass."""
        rows = [
            torch.tensor([*context, *[self.config.audio_token_id] * len(chunk)], device=chunk.device)
            for context, chunk in zip(contexts, embeddings, strict=True)
        ]
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        attention_mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        audio_embeds = torch.nn.utils.rnn.pad_sequence(list(embeddings), batch_first=True)
        lengths = torch.tensor([len(chunk) for chunk in embeddings], device=audio_embeds.device)
        layer = self.config.subword_ctc_layer
        states = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            audio_embeds=audio_embeds,
            audio_embeds_mask=torch.arange(audio_embeds.shape[1], device=lengths.device) < lengths[:, None],
            num_hidden_layers=layer,
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states[layer]
        token_embeddings = self.get_input_embeddings().weight
        return [
            self.model.subword_ctc_head.log_probabilities(
                states[row, len(context) : len(context) + len(chunk)], token_embeddings
            )
            .cpu()
            .numpy()
            for row, (context, chunk) in enumerate(zip(contexts, embeddings, strict=True))
        ]

    def _rescore(
        self,
        chunks: Sequence[tuple[Draft, int, int]],
        texts: Sequence[list[ChunkText]],
        config: DecodingConfig,
    ) -> list[list[ChunkText]]:
        """Adds the base LLM's opinion of the best texts of each chunk, all in one pass."""
        ends = self.generation_config.eos_token_id
        ends = ends[0] if isinstance(ends, list) else ends
        start = self.generation_config.bos_token_id
        start = ends if start is None else start
        several = [
            index
            for index, of_chunk in enumerate(texts)
            if of_chunk[0].token_ids  # else nothing is said there, whatever would read better
            and (chunks[index][0].recording.context or start is not None)
            and (config.rescore_chunks or chunks[index][0].recording.is_whole)
        ]
        if not several:
            return list(texts)
        kept = [[text for text in texts[index] if text.token_ids] for index in several]
        rows = [
            Candidates(chunks[index][0].recording.context or [start], [text.token_ids for text in of_chunk])
            for index, of_chunk in zip(several, kept, strict=True)
        ]
        rescored = list(texts)
        for index, of_chunk, scores in zip(
            several, kept, score_texts(self.model.language_model, self.compute_logits, rows, ends), strict=True
        ):
            totals = [
                text.score + config.language_model_weight * log_probability
                for text, log_probability in zip(of_chunk, scores.log_probabilities, strict=True)
            ]
            order = sorted(range(len(totals)), key=lambda place: -totals[place])
            rescored[index] = [replace(of_chunk[place], score=totals[place]) for place in order]
            recording = chunks[index][0].recording
            if recording.context and recording.is_whole:
                rescored[index][0] = replace(rescored[index][0], text_cache=scores.text_cache(order[0]))
        return rescored

    def _forms(self, tokenizer: PreTrainedTokenizerBase) -> WordForms:
        """The words of the student's lexicon, as this tokenizer writes them; kept for the next call."""
        known = self._word_forms
        if known is not None and known[0] is tokenizer and known[1] is self.text_statistics:
            return known[2]
        alphabet = CharacterAlphabet(self.config.character_ctc_alphabet)
        if is_written_without_blanks(alphabet.characters):
            lexicon = LexiconTrie.of_counts({})
        elif self.text_statistics is not None:
            lexicon = self.text_statistics.lexicon
        else:
            lexicon = LexiconTrie.of_vocabulary(_texts_of_tokens(tokenizer), alphabet)

        def tokenize(texts: list[str]) -> list[list[int]]:
            return tokenizer(texts, add_special_tokens=False).input_ids

        forms = WordForms(lexicon, alphabet, tokenize)
        self._word_forms = tokenizer, self.text_statistics, forms
        return forms

    _punctuation_of: tuple[PreTrainedTokenizerBase, np.ndarray] | None = None

    def _punctuation(self, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        """Ids of the tokens that are punctuation and nothing else; kept for the next call."""
        if self._punctuation_of is None or self._punctuation_of[0] is not tokenizer:
            size = self.config.text_config.vocab_size
            ids = [
                token
                for token, text in enumerate(_texts_of_tokens(tokenizer))
                if token < size
                and text is not None
                and len(text) == 1
                and text.isprintable()
                and not text.isalnum()
                and text != " "
            ]
            self._punctuation_of = tokenizer, np.array(ids, dtype=np.int64)
        return self._punctuation_of[1]


def _characters(recording: Recording, first: int, end: int) -> Emissions:
    """The character emissions of the chunk between two audio tokens."""
    assert recording.characters is not None
    return recording.characters[first * STEPS_PER_TOKEN : end * STEPS_PER_TOKEN]


def _closing_tokens(emissions: Emissions, punctuation: np.ndarray) -> list[int]:
    """The punctuation tokens that the subword head finds likeliest at some frame."""
    if not len(punctuation):
        return []
    likeliest = emissions[:, punctuation + 1].max(axis=0)
    return punctuation[np.argsort(-likeliest)[:CLOSING_TOKENS]].tolist()


def _texts_of_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """Text of each token id behind another text, with its space; `None` where it is none."""
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    before = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False).input_ids)
    start = tokenizer.convert_tokens_to_string(before)
    special = set(tokenizer.all_special_tokens) | {added.content for added in tokenizer.added_tokens_decoder.values()}

    def text(token: str | None) -> str | None:
        if token is None or token in special:
            return None
        whole = tokenizer.convert_tokens_to_string([*before, token])
        return whole[len(start) :] if whole.startswith(start) and "�" not in whole else None

    return [text(token) for token in tokens]


__all__ = ["Method", "TranscriptionMixin"]
