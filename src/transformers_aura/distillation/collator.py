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

from ..processing.conversation import Conversation, build_conversation
from ..processing.processing_aura import AuraProcessor
from .augmentation import WaveformAugmentation
from .examples import (
    AUGMENTATION_SEED_KEY,
    ROW_KEYS,
    ROW_NUMBER_KEY,
    ColumnMaker,
    Example,
    ExampleBatch,
    tokenize_chats,
)
from .objectives import ROW_SWITCHES


logger = logging.get_logger(__name__)


@dataclass
class AuraDataCollator:
    """Turns rows into one right-padded training batch.

    A row is a dict with these keys; one that is absent counts as `None`, any other key is an error (but for `answer_kl: False`, which keeps a row out
    of [`AnswerKLObjective`]):

    | row                   | `audio` | `transcript` | `question` | `answer` | the user's message            | the answer   |
    |-----------------------|---------|--------------|------------|----------|-------------------------------|--------------|
    | transcription         | yes     | yes          |            |          | audio, the processor's `transcription_instruction`| `transcript` |
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
        columns: makers of further columns, such as those that the objectives need ([`Objective.columns`]); none makes a column of another.
        max_length: longest allowed row in tokens, answer included: the LLM's longest context. Longer rows are an error, never cut.
        random_gain_db: the student gets each clip louder or softer by up to this many decibels, but no louder than full
            scale, drawn anew each time. Its features are not normalised to the clip's loudness, so it has to learn every
            level. The teacher gets the clip as it is.
        context_texts: texts from which a context is drawn that stands before the audio, so that the student learns to listen
            wherever the audio starts.
        context_probability: share of the rows with audio that get a context.
        context_max_words: a context has 1 to this many words.
        augmentation: what the student gets in place of the clean clip, before the random gain. The teacher gets the clean clip.
        pad_to_multiple_of: pad sequences, and clips in audio tokens, to a multiple of this.

    A call returns a dict with
        - `input_ids`, `attention_mask`, `labels` (`torch.LongTensor` of shape `(batch, sequence)`);
        - if there is audio, `input_features` (`(num_audios, num_frames, num_mel_bins)`) and `input_features_mask`
          (`torch.BoolTensor` of shape `(num_audios, num_frames)`);
        - what `columns` make.

    Example:

    ```python
    >>> collate = AuraDataCollator(processor)
    >>> batch = collate([{"audio": "order.flac", "transcript": "a small latte please"}])
    >>> batch["labels"].shape == batch["input_ids"].shape
    True
    ```

    Raises:
        ValueError: for a row that has none of the forms above or is longer than `max_length`.
        AudioLoadingError: for audio that cannot be read.
    """

    processor: AuraProcessor
    keep_text_only_rows: bool = False
    labels_required: bool = True
    columns: Sequence[ColumnMaker] = ()
    max_length: int | None = None
    random_gain_db: float = 0.0
    context_texts: Sequence[str] | None = None
    context_probability: float = 0.0
    context_max_words: int = 50
    augmentation: WaveformAugmentation | None = None
    pad_to_multiple_of: int | None = None

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
        """One batch.

        Args:
            rows: as above.

        Returns:
            the columns, as above.
        """
        waveforms = [self.load_waveform(row) for row in rows]
        examples = [
            example
            for number, row in enumerate(rows)
            if (example := self._read(row, waveforms[number], waveforms[:number] + waveforms[number + 1 :]))
            is not None
        ]
        inputs = tokenize_chats(self.processor, [example.chat for example in examples])
        for example, prompt in zip(examples, inputs["input_ids"], strict=True):
            example.prompt, example.completion = prompt, self._completion(example.chat, example.answer)
            self._check_length(example)
        read = ExampleBatch(examples, self.processor, self.pad_to_multiple_of or 1)
        batch: dict[str, Any] = read.pad([e.prompt for e in examples], [e.completion for e in examples])
        if "input_features" in inputs:
            batch |= self._pad_features(inputs["input_features"], inputs["input_features_mask"])
        for make_columns in self.columns:
            batch |= make_columns(read)
        return batch

    def load_waveform(self, row: Mapping[str, Any]) -> np.ndarray | None:
        """The audio of a row, without augmentation.

        Args:
            row: with the key `audio`, or without.

        Returns:
            `(samples,)`, float32, 16 kHz; `None` for a text-only row.
        """
        audio = row.get("audio")
        return None if audio is None else self.processor.load_audio(audio)

    def _read(
        self, row: Mapping[str, Any], waveform: np.ndarray | None, others: Sequence[np.ndarray | None]
    ) -> Example | None:
        unknown = sorted(set(row) - {*ROW_KEYS, *ROW_SWITCHES, AUGMENTATION_SEED_KEY, ROW_NUMBER_KEY})
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
            return Example(row, None, build_conversation(question=question), answer)

        if not answer and question:
            raise ValueError(f"A row with a `question` needs an `answer`; got {_describe(row)}.")
        if not answer and transcript:
            question, answer = self.processor.transcription_instruction, transcript
        if not answer and self.labels_required:
            raise ValueError(
                f"A row with audio needs a `transcript` or an `answer`; got {_describe(row)}. Speech without text can be "
                'learnt from with `supervision="distillation"` only.'
            )
        rng = self._rng(row)
        altered = waveform
        if self.augmentation is not None:
            altered = self.augmentation(waveform, [other for other in others if other is not None], rng)
        if self.random_gain_db > 0:
            altered = _at_drawn_level(altered, self.random_gain_db, rng)
        context = self._draw_context(rng)
        audio = {"array": altered, "sampling_rate": self.processor.feature_extractor.sampling_rate}
        chat = build_conversation(audio=audio, question=question, context=context)
        return Example(row, waveform, chat, answer)

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

    def _pad_features(self, features: np.ndarray, mask: np.ndarray) -> dict[str, torch.Tensor]:
        """The features of all clips, their frames brought up to whole audio tokens."""
        multiple = self.processor.frames_per_token * (self.pad_to_multiple_of or 1)
        missing = -features.shape[1] % multiple
        return {
            "input_features": F.pad(torch.from_numpy(features), (0, 0, 0, missing)),
            "input_features_mask": F.pad(torch.from_numpy(mask), (0, missing)),
        }

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

    def _check_length(self, example: Example) -> None:
        length = len(example.prompt) + len(example.completion)
        if self.max_length is None or length <= self.max_length:
            return
        seconds = 0.0
        if example.waveform is not None:
            seconds = len(example.waveform) / self.processor.feature_extractor.sampling_rate
        raise ValueError(
            f"A row has {length} tokens, the LLM takes {self.max_length} at most (audio of {seconds:.1f} s, answer "
            f"{_shorten(example.answer)}). Rows are never cut: leave the row out, or split its recording."
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
