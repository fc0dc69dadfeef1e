"""Generation that hears: transcripts are written by what the first layers heard, too, and what is asked about can be written down first."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, GenerationMixin, LogitsProcessorList, PreTrainedTokenizerBase

from ..processing.audio_tokens import clips_of_rows, num_audio_tokens
from .cache_argument import CACHE_ARGUMENT
from .ctc_heads import STEPS_PER_TOKEN
from .generation_settings import GenerationSettings
from .joint_decoding import CTCPrefixScorer, JointCTCLogitsProcessor
from .piece_streamer import PieceStreamer
from .pieces import PieceCutter
from .prompts import PromptBatch, PromptReader
from .spelling import SpelledVocabulary, spelled_vocabulary
from .token_tree import TokenTree, can_read_trees
from .transcript_search import ClipSearch, Weights, search_transcripts


TRANSCRIPT_BEAMS = 3
"""Beams with which a transcript is written where the caller does not say how to search."""

PIECES_AT_ONCE = 4
"""More are transcribed together only where as many recordings were given."""


@dataclass
class Heard:
    """What was heard in a clip.

    Attributes:
        embeddings: of its audio tokens, `(audio tokens, hidden)`.
        tokens: log-probabilities of the blank and of every token of the LLM at each, `(audio tokens, 1 + vocabulary)`.
    """

    embeddings: torch.Tensor
    tokens: torch.Tensor


class HearingGenerationMixin(GenerationMixin):
    """`generate` of a student whose repo holds a token head.

    A prompt that ends with `config.transcription_prompt` behind the audio asks for a transcript. Where the repo holds a letter head, too, it is searched
    for along the recording (`transcript_search`): by the letters that are heard, with `config.letter_ctc_weight`, by the tokens that are heard, with
    `config.transcript_ctc_weight`, and by the LLM that hears, with what is left of 1. Otherwise, and where a call says more than how long it may be, it is
    written token by token by the LLM and the tokens that are heard (`joint_decoding`), with [`TRANSCRIPT_BEAMS`] beams unless the call says `num_beams`,
    `do_sample` or another way; so are all transcripts of LLMs whose attention has windows or is flash attention. Either way the transcript of a long
    recording is written in pieces of at most `config.transcript_piece_seconds`, cut at pauses (`pieces`), each a prompt of its own,
    where the repo holds a letter head and the call asks for one text a prompt, and nothing besides.

    With `config.answers_from_transcript`, a prompt that ends with `config.spoken_question_prompt` behind its only clip, a spoken question, is transcribed first,
    and the base LLM answers what was written. With `config.questions_by_ear` so are all other prompts with clips, chats with several among them, unless
    what stands behind the last clip begins with one of these. Where a clip is all that its message says, and is searched for, how likely its words are as a text
    counts too, with `config.question_lm_weight`. All other prompts, and students without a token head, generate as any LLM does.
    """

    _tokenizer: PreTrainedTokenizerBase | None = None
    _spelled: SpelledVocabulary | None = None

    @functools.wraps(GenerationMixin.generate)
    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As in [`GenerationMixin`], see the class. The returned sequences begin with the prompts as they were given."""
        arguments = _SIGNATURE.bind(self, *args, **kwargs).arguments
        kwargs = arguments.pop("kwargs", {}) | {name: value for name, value in arguments.items() if name != "self"}
        inputs, generation_config, logits_processor = (kwargs.pop(name, None) for name in _FIRST_ARGUMENTS)
        prompts = kwargs.get("input_ids", inputs)
        batch = self._heard_batch(prompts, kwargs)
        if batch is None:
            return super().generate(inputs, generation_config, logits_processor, **kwargs)
        kwargs = {name: value for name, value in kwargs.items() if name not in _REPLACED}
        settings = GenerationSettings.of_call(self.generation_config, generation_config, logits_processor, kwargs)
        given = PromptReader(self.config)
        read = [index for index, row in enumerate(batch.rows) if given.is_written_down(row)]
        if read:
            self._write_down(batch, read, given, settings)
        generated_from = batch.inputs(settings.pad_token_id)
        asked = [given.asks_for_transcript(row) for row in batch.rows]
        if all(asked) and settings.leaves_all_open and (self._searches_along_recording() or self._is_cut(batch)):
            found = self._transcribe(batch, [[] for _ in batch.rows], settings)
            return torch.cat([prompts, settings.end(found, prompts.shape[1])], dim=-1)
        if all(asked) and settings.returns_one_text and self._is_cut(batch):
            kwargs |= {"generation_config": generation_config, "logits_processor": logits_processor}
            return torch.cat([prompts, self._write_in_pieces(batch, prompts, settings, kwargs)], dim=-1)
        if any(asked) and settings.leaves_search_open:
            if not all(asked) and not settings.return_dict_in_generate:
                kwargs |= {"generation_config": generation_config, "logits_processor": logits_processor}
                tokens = self._apart(batch, asked, settings, kwargs)
                return torch.cat([prompts, tokens], dim=-1)
            if all(asked):
                # The likeliest transcript, whatever its length: CTC knows how much is said.
                kwargs |= settings.likeliest | {"num_beams": TRANSCRIPT_BEAMS, "length_penalty": 0.0}
        processors = LogitsProcessorList(logits_processor or [])
        going_on = generated_from
        if any(asked) and self.config.transcript_ctc_weight:
            shares_cache = all(asked) and settings.leaves_search_open and settings.leaves_cache_open
            heard, cache, _ = self._listen(generated_from, asked, all_layers=shares_cache)
            scorers = [None if each is None else CTCPrefixScorer(each.tokens) for each in heard]
            length = generated_from["input_ids"].shape[1]
            processors.insert(
                0,
                JointCTCLogitsProcessor(scorers, length, self.config.transcript_ctc_weight, settings.eos_token_ids),
            )
            if shares_cache:  # the beams share what was heard, and nothing is heard twice
                cache.batch_repeat_interleave(TRANSCRIPT_BEAMS)
                audio_rows = torch.ones(len(batch.rows), dtype=torch.bool, device=prompts.device)
                going_on = {name: generated_from[name] for name in ("input_ids", "attention_mask")}
                going_on |= {CACHE_ARGUMENT: cache, "audio_rows": audio_rows}
        generated = super().generate(None, generation_config, processors, **going_on, **kwargs)
        return _behind(prompts, generated, generated_from["input_ids"].shape[1])

    def _heard_batch(self, input_ids: torch.Tensor | None, kwargs: dict[str, Any]) -> PromptBatch | None:
        """The prompts and their clips; `None` where nothing here concerns them."""
        features = kwargs.get("input_features")
        if self.model.subword_ctc_head is None or features is None or input_ids is None:
            return None
        if any(kwargs.get(name) is not None for name in ("past_key_values", "cache", "inputs_embeds", "position_ids")):
            return None
        given = PromptReader(self.config)
        mask = kwargs.get("attention_mask")
        rows = [row if mask is None else row[mask[index].bool()] for index, row in enumerate(input_ids)]
        if not any(given.asks_for_transcript(row) or given.is_written_down(row) for row in rows):
            return None
        frame_mask = kwargs.get("input_features_mask")
        if frame_mask is None:
            frame_mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        clip_tokens = num_audio_tokens(frame_mask.sum(-1), self.config.audio_config.frames_per_token)
        row_tokens = torch.stack([(row == self.config.audio_token_id).sum() for row in rows])
        row_of_clip = clips_of_rows(clip_tokens.to(row_tokens.device), row_tokens)
        clips = [row_of_clip == index for index in range(len(rows))]
        return PromptBatch(rows, [features[these] for these in clips], [frame_mask[these] for these in clips])

    def _apart(
        self, batch: PromptBatch, asked: list[bool], settings: GenerationSettings, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Transcripts, which are searched for, and everything else, each as if it were alone; the new tokens, `(rows, tokens)`."""
        found: dict[int, torch.Tensor] = {}
        for is_transcript in (True, False):
            indices = [index for index, asks in enumerate(asked) if asks is is_transcript]
            inputs = batch.select(indices).inputs(settings.pad_token_id)
            generated = self.generate(**inputs, **kwargs)
            found |= dict(zip(indices, generated[:, inputs["input_ids"].shape[1] :], strict=True))
        rows = [found[index] for index in range(len(asked))]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=settings.pad_token_id)

    def _write_down(
        self, batch: PromptBatch, read: list[int], given: PromptReader, settings: GenerationSettings
    ) -> None:
        """Puts what is heard in the place of the audio of some prompts; one with a clip in which no word is heard keeps its audio."""
        rows = {index: batch.rows[index] for index in read}
        for number in range(max(len(batch.features[index]) for index in read)):  # the clips before it are words by now
            heard = [index for index in rows if number < len(batch.features[index])]
            if not heard:
                break
            masks = [batch.masks[index][number : number + 1] for index in heard]
            lengths = [int(num_audio_tokens(mask.sum(), self.config.audio_config.frames_per_token)) for mask in masks]
            spoken = PromptBatch(
                [
                    given.first_clip_as_transcription(rows[index], length)
                    for index, length in zip(heard, lengths, strict=True)
                ],
                [batch.features[index][number : number + 1] for index in heard],
                masks,
            )
            contexts = [
                given.before_audio(row) if given.first_clip_is_question(rows[index], length) else []
                for index, length, row in zip(heard, lengths, spoken.rows, strict=True)
            ]
            transcripts = self._transcribe(spoken, contexts, settings)
            for index, length, words in zip(heard, lengths, transcripts, strict=True):
                if len(words):
                    rows[index] = given.with_words(rows[index], length, words)
                else:
                    del rows[index]
        for index, row in rows.items():
            batch.rows[index] = row
            batch.features[index], batch.masks[index] = batch.features[index][:0], batch.masks[index][:0]

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Tells the student how its tokens are spelled, which a letter head needs; a loaded student knows already.

        Args:
            tokenizer: of the LLM.
        """
        self._tokenizer, self._spelled = tokenizer, None

    def _searches_along_recording(self) -> bool:
        """Whether transcripts are searched for along the recording."""
        return self._tokenizer is not None and self.model.character_ctc_head is not None and can_read_trees(self)

    def _cutter(self) -> PieceCutter | None:
        """What cuts long recordings; `None` where nothing tells of their pauses."""
        if self._tokenizer is None or self.model.character_ctc_head is None:
            return None
        return PieceCutter(self.model, self.model.character_ctc_head, self._tokenizer)

    def _is_cut(self, spoken: PromptBatch) -> bool:
        """Whether the last clip of any of these prompts is transcribed in pieces."""
        cutter = self._cutter()
        return cutter is not None and cutter.is_cut(spoken)

    def _vocabulary(self) -> SpelledVocabulary:
        if self._spelled is None:
            assert self._tokenizer is not None
            self._spelled = spelled_vocabulary(self._tokenizer, self.get_input_embeddings().weight.shape[0])
        return self._spelled

    def _transcribe(
        self, spoken: PromptBatch, contexts: list[list[int]], settings: GenerationSettings
    ) -> list[torch.Tensor]:
        """Token ids of transcripts, without an end; long recordings are cut at pauses, and transcribed piece by piece.

        Args:
            spoken: prompts that ask for a transcript.
            contexts: of each, the text behind which the LLM that reads would find the transcript; empty where it is not asked. It is not where a
                recording is cut, whose pieces are no texts.
        """
        cutter = self._cutter()
        if cutter is None:
            return self._transcribe_whole(spoken, contexts, settings)
        cut = cutter.cut(spoken)
        pieces = PromptBatch.together(cut)
        contexts = [
            context if len(of_clip.rows) == 1 else []
            for of_clip, context in zip(cut, contexts, strict=True)
            for _ in of_clip.rows
        ]
        found: list[torch.Tensor] = []
        at_once = max(len(spoken.rows), PIECES_AT_ONCE)
        for start in range(0, len(pieces.rows), at_once):
            these = list(range(start, min(start + at_once, len(pieces.rows))))
            found += self._transcribe_whole(pieces.select(these), [contexts[index] for index in these], settings)
        texts = iter(found)
        return [cutter.join([next(texts) for _ in of_clip.rows]) for of_clip in cut]

    def _transcribe_whole(
        self, spoken: PromptBatch, contexts: list[list[int]], settings: GenerationSettings
    ) -> list[torch.Tensor]:
        """[`_transcribe`] for recordings that are not cut."""
        if self._searches_along_recording():
            return self._search(spoken, contexts, settings)
        return self._write_token_by_token(spoken, settings)

    def _write_in_pieces(
        self, batch: PromptBatch, prompts: torch.Tensor, settings: GenerationSettings, kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Transcripts of long recordings, written piece by piece as the call says; the new tokens, `(rows, tokens)`.

        Args:
            prompts: as they were given.
            kwargs: all else that the call says.
        """
        cutter = self._cutter()
        assert cutter is not None
        assert self._tokenizer is not None
        limit, given = settings.limit(prompts.shape[1]), PromptReader(self.config)
        kwargs.pop("max_length", None)  # of whole prompts
        streamer = kwargs.get("streamer")
        if streamer is not None:
            space = self._tokenizer(" ", add_special_tokens=False).input_ids
            kwargs["streamer"] = streamer = PieceStreamer(streamer, prompts, space, settings.eos_token_ids)
        found = []
        for pieces in cutter.cut(batch):
            texts: list[torch.Tensor] = []
            for number, row in enumerate(pieces.rows):
                left = 1 + len(given.last_clip(row)) if limit is None else limit - sum(map(len, texts))
                if texts and left <= 0:
                    break
                inputs = pieces.select([number]).inputs(settings.pad_token_id)
                tokens = self.generate(**inputs, **kwargs | {"max_new_tokens": left})
                texts.append(settings.before_end(tokens[0, inputs["input_ids"].shape[1] :]))
            found.append(cutter.join(texts))
        if streamer is not None:
            streamer.close()
        return settings.end(found, prompts.shape[1])

    def _write_token_by_token(self, spoken: PromptBatch, settings: GenerationSettings) -> list[torch.Tensor]:
        """Token ids of transcripts of clips that are not cut, without an end."""
        inputs, given = spoken.inputs(settings.pad_token_id), PromptReader(self.config)
        tokens = self.generate(
            **inputs,
            max_new_tokens=1 + max(len(given.last_clip(row)) for row in spoken.rows),
            do_sample=False,
            pad_token_id=settings.pad_token_id,
            eos_token_id=settings.eos_token_ids or None,
        )[:, inputs["input_ids"].shape[1] :]
        return [settings.before_end(row) for row in tokens]

    @torch.no_grad()
    def _search(
        self, spoken: PromptBatch, contexts: list[list[int]], settings: GenerationSettings
    ) -> list[torch.Tensor]:
        """Token ids of transcripts, by letters and tokens that were heard, the LLM that hears and the LLM that reads.

        Args:
            spoken: prompts that ask for a transcript.
            contexts: see [`_transcribe`].
        """
        padding, num_clips = settings.pad_token_id, len(spoken.rows)
        reads = [bool(context) and self.config.question_lm_weight > 0 for context in contexts]
        texts = [row.new_tensor(context or [padding]) for row, context in zip(spoken.rows, contexts, strict=True)]
        no_features = [features[:0] for features in spoken.features]
        no_masks = [mask[:0] for mask in spoken.masks]
        if any(reads):
            both = PromptBatch(spoken.rows + texts, spoken.features + no_features, spoken.masks + no_masks)
        else:
            both = spoken
        inputs = both.inputs(padding)
        asked = [index < num_clips for index in range(len(both.rows))]
        heard, cache, last_states = self._listen(inputs, asked, all_layers=True, to_end=True)
        last_logits = self.compute_logits(last_states).float().log_softmax(-1).cpu().numpy()
        audio_config = self.config.audio_config
        clips = [
            ClipSearch(
                self.model.character_ctc_head.log_probabilities(clip.embeddings).cpu().numpy(),
                clip.tokens.cpu().numpy(),
                self._vocabulary(),
                settings.eos_token_ids,
                Weights(
                    letters=self.config.letter_ctc_weight,
                    tokens=self.config.transcript_ctc_weight,
                    hears=1.0 - self.config.transcript_ctc_weight,
                    reads=self.config.question_lm_weight if asks else 0.0,
                ),
                audio_config.tokens_per_second * STEPS_PER_TOKEN,
            )
            for clip, asks in zip(heard[:num_clips], reads, strict=True)
        ]
        tree = TokenTree(self, cache, inputs["attention_mask"], asked)
        found = search_transcripts(clips, tree, last_logits, reads)
        return [row.new_tensor(text) for row, text in zip(spoken.rows, found, strict=True)]

    @torch.no_grad()
    def _listen(
        self, inputs: dict[str, torch.Tensor], asked: list[bool], all_layers: bool, to_end: bool = False
    ) -> tuple[list[Heard | None], DynamicCache, torch.Tensor]:
        """Goes once through the prompts.

        Args:
            all_layers: go through all layers, not just those that the token head needs.
            to_end: go on behind the end of their audio (what comes later changes nothing before it).

        Returns:
            what was heard in the last clip of each prompt that asks for it; the layers' keys and values; and the state of the last token of each, `(prompts, hidden)`.
        """
        input_ids, attention_mask = inputs["input_ids"], inputs["attention_mask"]
        is_audio = input_ids == self.config.audio_token_id
        columns = input_ids.shape[1] if to_end else int(is_audio.any(dim=0).nonzero().max()) + 1
        layer = self.config.subword_ctc_layer
        cache = DynamicCache(config=self.config.get_text_config(decoder=True))
        outputs = self.model(
            input_ids=input_ids[:, :columns],
            attention_mask=attention_mask[:, :columns],
            position_ids=_positions(inputs)[:, :columns],
            input_features=inputs["input_features"],
            input_features_mask=inputs["input_features_mask"],
            cache=cache,
            num_hidden_layers=None if all_layers else layer,
            output_hidden_states=True,
            use_cache=True,
        )
        embeddings, given = self.get_input_embeddings().weight, PromptReader(self.config)
        heard: list[Heard | None] = []
        for row, asks in enumerate(asked):
            audio = given.last_clip(input_ids[row]) if asks else None
            heard.append(
                None
                if audio is None
                else Heard(
                    outputs.hidden_states[0][row, audio],
                    self.model.subword_ctc_head.log_probabilities(
                        outputs.hidden_states[layer][row, audio], embeddings
                    ),
                )
            )
        return heard, cache, outputs.last_hidden_state[:, -1]


_SIGNATURE = inspect.signature(GenerationMixin.generate)
_FIRST_ARGUMENTS = ("inputs", "generation_config", "logits_processor")

_REPLACED = {"input_ids", "attention_mask", "input_features", "input_features_mask", "audio_rows"}
"""Arguments of `generate` that describe the prompts."""


def _positions(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of each token in its row, padding on the left left out."""
    return (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)


def _behind(prompts: torch.Tensor, generated: Any, prompt_length: int) -> Any:
    """What was generated, behind the prompts as they were given."""
    sequences = generated if isinstance(generated, torch.Tensor) else generated.sequences
    given = prompts.repeat_interleave(len(sequences) // len(prompts), dim=0)
    sequences = torch.cat([given, sequences[:, prompt_length:]], dim=-1)
    if isinstance(generated, torch.Tensor):
        return sequences
    generated["sequences"] = sequences
    return generated
