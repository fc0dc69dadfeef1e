"""Mixtures of transcription, spoken question answering and text-only rows, as training batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers.utils import logging

from ..processing.conversation import TRANSCRIPTION_INSTRUCTION, Conversation, build_conversation
from ..processing.processing_aura import AuraProcessor
from .augmentation import WaveformAugmentation
from .transcript_heads import transcript_symbols


logger = logging.get_logger(__name__)

ROW_KEYS = ("audio", "transcript", "question", "answer")
ANSWER_KL_KEY = "answer_kl"
"""Optional boolean of a row; `False` keeps it out of the answer KL: the base LLM that reads its transcript would answer something else."""
AUGMENTATION_SEED_KEY = "augmentation_seed"
"""Optional integer of a row that fixes its random gain and context; [`AuraTrainer`] sets it from seed, epoch and row number."""

IGNORED_LABEL = -100


@dataclass(frozen=True)
class _Example:
    """One row, read: what is heard and seen, and what should be answered."""

    waveform: np.ndarray | None
    chat: Conversation
    answer: str | None
    gold_chat: Conversation | None
    transcript: str | None = None


@dataclass
class AuraDataCollator:
    """Turns rows into one right-padded training batch.

    A row is a dict with these keys; one that is absent counts as `None`, any other key is an error:

    | row                   | `audio` | `transcript` | `question` | `answer` | the user's message            | the answer   |
    |-----------------------|---------|--------------|------------|----------|-------------------------------|--------------|
    | transcription         | yes     | yes          |            |          | audio, "Transcribe the audio."| `transcript` |
    | spoken question       | yes     | optional     |            | yes      | audio                         | `answer`     |
    | audio + text question | yes     | optional     | yes        | yes      | audio, `question`             | `answer`     |
    | text only             |         |              | yes        | yes      | `question`                    | `answer`     |
    | speech alone          | yes     |              |            |          | audio (`labels_required=False` only)| none   |

    `audio` is anything that [`~transformers_aura.load_audio`] takes. The prompt is made by the same `build_conversation` and
    chat template as at inference, so it is the same token for token; labels are the answer and the token that ends the turn,
    never the prompt, an audio position or padding.

    Args:
        processor: of the student.
        keep_text_only_rows: text-only rows teach something only where LoRA acts on them (`lora_scope="always"`). With the
            default, `False`, they are left out, with one warning.
        labels_required: whether a row without an answer is an error (`True`), or speech for distillation alone.
        return_waveforms: add the waveforms for the teacher.
        return_gold_prompts: add, for rows with audio, transcript and answer, the same chat with the transcript in the place
            of the audio: what the base LLM reads for the answer KL. Rows whose key `answer_kl` is `False` have none.
        max_length: longest allowed row in tokens, answer included. Longer rows are an error, never cut.
        random_gain_db: the student hears each clip louder or softer by up to this many decibels, but no louder than full
            scale, drawn anew each time. Its features are not normalised to the clip's loudness, so it has to learn every
            level. The teacher hears the clip as it is.
        context_texts: texts from which a context is drawn that stands before the audio, so that the student learns to hear
            wherever the audio starts.
        context_probability: share of the rows with audio that get a context.
        context_max_words: a context has 1 to this many words.
        augmentation: what the student hears in place of the clean clip, before the random gain. The teacher hears the clean clip.
        pad_to_multiple_of: pad sequences, and clips in audio tokens, to a multiple of this.
        return_transcript_symbols: add the characters of each clip's transcript, for the CTC loss.
        return_transcript_tokens: add the LLM's tokens of each clip's transcript, and the prompt with them in the place of the audio.

    A call returns a dict with
        - `input_ids`, `attention_mask`, `labels` (`torch.LongTensor` of shape `(batch, sequence)`);
        - if there is audio, `input_features` (`(num_audios, num_frames, num_mel_bins)`), `input_features_mask`
          (`torch.BoolTensor` of shape `(num_audios, num_frames)`) and, if asked for, `waveforms` (`list` of float32
          `np.ndarray` of shape `(samples,)`, 16 kHz, without augmentation);
        - if asked for, `gold_input_ids`, `gold_attention_mask`, `gold_labels` for the rows that have a gold prompt, and
          `answer_kl_mask` (`torch.BoolTensor` of shape `(batch, sequence)`), `True` at the labels of those rows: the labels
          there and those in `gold_labels` are the same tokens in the same order;
        - if asked for, `transcript_symbols` (`torch.LongTensor` of shape `(batch, characters)`, right padded) and
          `transcript_lengths` (`(batch,)`; 0 = no transcript, or one that cannot be spelled), see `transcript_symbols`;
        - if asked for, `transcript_tokens` (`torch.LongTensor` of shape `(batch, tokens)`, right padded), `transcript_token_lengths`
          (`(batch,)`; 0 = no transcript), and `text_input_ids`, `text_attention_mask` (`(batch, sequence)`): what stands before the
          audio, then these tokens.

    Raises:
        ValueError: for a row that fits none of the forms above or is longer than `max_length`.
        AudioLoadingError: for audio that cannot be read.
    """

    processor: AuraProcessor
    keep_text_only_rows: bool = False
    labels_required: bool = True
    return_waveforms: bool = True
    return_gold_prompts: bool = False
    max_length: int | None = None
    random_gain_db: float = 0.0
    context_texts: Sequence[str] | None = None
    context_probability: float = 0.0
    context_max_words: int = 50
    augmentation: WaveformAugmentation | None = None
    pad_to_multiple_of: int | None = None
    return_transcript_symbols: bool = False
    return_transcript_tokens: bool = False

    def __post_init__(self) -> None:
        if self.random_gain_db < 0:
            raise ValueError(f"`random_gain_db` must be at least 0, got {self.random_gain_db}.")
        if not 0 <= self.context_probability <= 1:
            raise ValueError(f"`context_probability` must lie between 0 and 1, got {self.context_probability}.")
        if self.context_probability > 0 and not self.context_texts:
            raise ValueError("`context_probability` is above 0, but there are no `context_texts` to draw from.")
        if self.context_max_words < 1:
            raise ValueError(f"`context_max_words` must be at least 1, got {self.context_max_words}.")
        self._warned_of_text_only_rows = False

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        waveforms = [self.load_waveform(row) for row in rows]
        examples = [
            example
            for number, row in enumerate(rows)
            if (example := self._read(row, waveforms[number], waveforms[:number] + waveforms[number + 1 :]))
            is not None
        ]
        prompts, audio_inputs = self._prompts([example.chat for example in examples])
        completions = [self._completion(example.chat, example.answer) for example in examples]
        for example, prompt, completion in zip(examples, prompts, completions, strict=True):
            self._check_length(example, len(prompt) + len(completion))
        batch: dict[str, Any] = {**self._pad(prompts, completions), **audio_inputs}
        if self.return_waveforms and audio_inputs:
            batch["waveforms"] = [example.waveform for example in examples if example.waveform is not None]
        if self.return_transcript_symbols:
            symbols = [torch.tensor(transcript_symbols(example.transcript or "")) for example in examples]
            batch["transcript_lengths"] = torch.tensor([len(row) for row in symbols], dtype=torch.long)
            batch["transcript_symbols"] = torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True).long()
        if self.return_transcript_tokens:
            batch |= self._transcript_tokens(examples, prompts)
        if self.return_gold_prompts:
            gold = [index for index, example in enumerate(examples) if example.gold_chat is not None]
            gold_prompts, _ = self._prompts([examples[index].gold_chat or [] for index in gold])
            gold_batch = self._pad(gold_prompts, [completions[index] for index in gold])
            batch |= {f"gold_{name}": tensor for name, tensor in gold_batch.items()}
            has_gold = torch.zeros(len(examples), 1, dtype=torch.bool)
            has_gold[gold] = True
            batch["answer_kl_mask"] = has_gold & batch["labels"].ne(IGNORED_LABEL)
        return batch

    def load_waveform(self, row: Mapping[str, Any]) -> np.ndarray | None:
        """The audio of a row without augmentation, `(samples,)`, float32, 16 kHz; `None` for a text-only row."""
        audio = row.get("audio")
        return None if audio is None else self.processor.load_audio(audio)

    def _read(
        self, row: Mapping[str, Any], waveform: np.ndarray | None, others: Sequence[np.ndarray | None]
    ) -> _Example | None:
        unknown = sorted(set(row) - {*ROW_KEYS, ANSWER_KL_KEY, AUGMENTATION_SEED_KEY})
        if unknown:
            raise ValueError(
                f"A row has the unknown key(s) {', '.join(map(repr, unknown))}. A row holds {', '.join(ROW_KEYS)}; drop or "
                "rename other columns (`dataset.remove_columns`), so that a misspelt one cannot go unnoticed."
            )
        transcript, question, answer = row.get("transcript"), row.get("question"), row.get("answer")
        if waveform is None:
            if not question or not answer:
                raise ValueError(f"A row without audio needs `question` and `answer`; got {_describe(row)}.")
            if not self.keep_text_only_rows:
                self._warn_of_text_only_rows()
                return None
            return _Example(None, build_conversation(question=question), answer, None)

        gold_chat = None
        if answer:
            if transcript and self.return_gold_prompts and row.get(ANSWER_KL_KEY, True):
                gold_chat = build_conversation(question=f"{transcript}\n{question}" if question else transcript)
        elif question:
            raise ValueError(f"A row with a `question` needs an `answer`; got {_describe(row)}.")
        elif transcript:
            question, answer = TRANSCRIPTION_INSTRUCTION, transcript
        elif self.labels_required:
            raise ValueError(
                f"A row with audio needs a `transcript` or an `answer`; got {_describe(row)}. Speech without text can be "
                'learnt from with `supervision="distillation"` only.'
            )
        rng = self._rng(row)
        heard = waveform
        if self.augmentation is not None:
            heard = self.augmentation(waveform, [other for other in others if other is not None], rng)
        if self.random_gain_db > 0:
            heard = _at_drawn_level(heard, self.random_gain_db, rng)
        context = self._draw_context(rng)
        audio = {"array": heard, "sampling_rate": self.processor.feature_extractor.sampling_rate}
        chat = build_conversation(audio=audio, question=question, context=context)
        return _Example(waveform, chat, answer, gold_chat, row.get("transcript"))

    def _rng(self, row: Mapping[str, Any]) -> np.random.Generator:
        seed = row.get(AUGMENTATION_SEED_KEY)
        return np.random.default_rng(int(torch.randint(2**62, (1,))) if seed is None else seed)

    def _draw_context(self, rng: np.random.Generator) -> str | None:
        if self.context_probability == 0 or rng.random() >= self.context_probability or not self.context_texts:
            return None
        num_words = int(rng.integers(1, self.context_max_words + 1))
        words: list[str] = []
        while len(words) < num_words:
            words += self.context_texts[int(rng.integers(len(self.context_texts)))].split() or ["-"]
        return " ".join(words[:num_words])

    def _prompts(self, chats: list[Conversation]) -> tuple[list[list[int]], dict[str, torch.Tensor]]:
        """Token ids of each chat up to where the answer begins, and the features of all audio."""
        if not chats:
            return [], {}
        inputs = self.processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, return_dict=True, padding=False
        )
        features = {
            name: torch.from_numpy(inputs[name])
            for name in ("input_features", "input_features_mask")
            if name in inputs
        }
        if features:
            missing = -features["input_features"].shape[1] % (
                self.processor.frames_per_token * (self.pad_to_multiple_of or 1)
            )
            features["input_features"] = F.pad(features["input_features"], (0, 0, 0, missing))
            features["input_features_mask"] = F.pad(features["input_features_mask"], (0, missing))
        return inputs["input_ids"], features

    def _completion(self, chat: Conversation, answer: str | None) -> list[int]:
        """Token ids of the answer and of the token that ends the turn, as the chat template writes them."""
        if not answer:
            return []
        tokenizer = self.processor.tokenizer
        written = [token for token in self._special_tokens if token in answer]
        if written:
            raise ValueError(
                f"The answer {answer!r} contains the special token {written[0]!r}, which would end or break it."
            )
        prompt = self.processor.apply_chat_template(chat, add_generation_prompt=True)
        whole = self.processor.apply_chat_template([*chat, {"role": "assistant", "content": answer}])
        # Templates that treat a finished turn otherwise than an open one (thinking blocks) get the plain form.
        text = whole[len(prompt) :] if whole.startswith(prompt) else answer
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        special = set(self._special_tokens.values())
        end = next((index for index, token in enumerate(ids) if token in special), None)
        return ids[: end + 1] if end is not None else [*ids, tokenizer.eos_token_id]

    @cached_property
    def _special_tokens(self) -> dict[str, int]:
        tokens = self.processor.tokenizer.added_tokens_decoder
        return {token.content: index for index, token in tokens.items() if token.special}

    def _pad(self, prompts: list[list[int]], completions: list[list[int]]) -> dict[str, torch.Tensor]:
        longest = max((len(p) + len(c) for p, c in zip(prompts, completions, strict=True)), default=0)
        longest += -longest % (self.pad_to_multiple_of or 1)
        shape = (len(prompts), longest)
        input_ids = torch.full(shape, self.processor.tokenizer.pad_token_id, dtype=torch.long)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED_LABEL, dtype=torch.long)
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            length = len(prompt) + len(completion)
            input_ids[row, :length] = torch.tensor([*prompt, *completion])
            attention_mask[row, :length] = 1
            labels[row, len(prompt) : length] = torch.tensor(completion, dtype=torch.long)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}

    def _transcript_tokens(self, examples: list[_Example], prompts: list[list[int]]) -> dict[str, torch.Tensor]:
        """The tokens of the transcripts, alone and after what stands before the audio."""
        audio_token_id = self.processor.audio_token_id
        tokens: list[list[int]] = []
        beginnings = []
        for example, prompt in zip(examples, prompts, strict=True):
            is_heard = example.transcript is not None and audio_token_id in prompt
            beginnings.append(prompt[: prompt.index(audio_token_id)] if is_heard else prompt[:1])
            text = example.transcript or "" if is_heard else ""
            tokens.append(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"] if text else [])
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row, dtype=torch.long) for row in tokens], batch_first=True
        )
        read = self._pad(beginnings, tokens)
        return {
            "transcript_tokens": padded,
            "transcript_token_lengths": torch.tensor([len(row) for row in tokens], dtype=torch.long),
            "text_input_ids": read["input_ids"],
            "text_attention_mask": read["attention_mask"],
        }

    def _check_length(self, example: _Example, length: int) -> None:
        if self.max_length is not None and length > self.max_length:
            seconds = 0.0
            if example.waveform is not None:
                seconds = len(example.waveform) / self.processor.feature_extractor.sampling_rate
            raise ValueError(
                f"A row has {length} tokens, `max_length` is {self.max_length} (audio of {seconds:.1f} s, answer "
                f"{_shorten(example.answer)}). Rows are never cut: raise `max_length`, or leave the row out."
            )

    def _warn_of_text_only_rows(self) -> None:
        if not self._warned_of_text_only_rows:
            self._warned_of_text_only_rows = True
            logger.warning(
                "Text-only rows are skipped: where LoRA follows the audio (`lora_scope` 'rows' or 'audio') the student's "
                "text path is the base LLM and such rows have no gradient. They teach only with `lora_scope='always'`."
            )


def _at_drawn_level(waveform: np.ndarray, max_gain_db: float, rng: np.random.Generator) -> np.ndarray:
    """The clip, louder or softer by up to `max_gain_db` decibels, but not louder than full scale: no recorder is."""
    peak = float(np.abs(waveform).max(initial=0.0))
    headroom_db = -20 * np.log10(peak) if peak > 0 else max_gain_db
    gain_db = rng.uniform(-max_gain_db, np.clip(headroom_db, -max_gain_db, max_gain_db))
    return waveform * np.float32(10 ** (gain_db / 20))


def _shorten(text: str | None) -> str:
    return repr(text if text is None or len(text) <= 40 else f"{text[:37]}...")


def _describe(row: Mapping[str, Any]) -> str:
    """A row for an error message, without its audio."""
    parts = [
        f"{key}={'...' if key == 'audio' and row.get(key) is not None else _shorten(row.get(key))}" for key in ROW_KEYS
    ]
    return ", ".join(parts)
