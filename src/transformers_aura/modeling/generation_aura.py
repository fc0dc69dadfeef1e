"""What stock `generate` has to know of audio: clips go in once, each row keeps its own, and nothing looks up a token that the LLM does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from transformers import GenerationConfig, GenerationMixin, LogitsProcessor, LogitsProcessorList

from ..processing.audio_tokens import clips_of_rows, num_audio_tokens
from .cache_argument import CACHE_ARGUMENT
from .context_length import check_context_length, context_length


_CLIP_INPUTS = ("input_features", "input_features_mask", "audio_embeds", "audio_embeds_mask")
"""Inputs with a row for each clip of the batch, not for each row of text."""

_AUDIO_INPUTS = (*_CLIP_INPUTS, "audio_positions", "audio_rows")

_LOOKS_UP_THE_PROMPT = {"encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0}
"""Settings that take the prompt's ids for columns of the logits, with the values that do nothing."""


class AudioGenerationMixin(GenerationMixin):
    """[`GenerationMixin`] for [`AuraForSpeechQA`]."""

    config: Any
    model: Any

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.LongTensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[torch.LongTensor | None, dict[str, Any]]:
        """Marks the audio positions of the prompt and the rows that have any, and repeats rows for beams and several answers; clips count per audio, so
        each row's clips are repeated together.
        """
        clips = {name: model_kwargs.pop(name) for name in _CLIP_INPUTS if model_kwargs.get(name) is not None}
        if clips and input_ids is not None:
            clip_tokens = self._audio_tokens_of_clips(clips)
            if model_kwargs.get("audio_positions") is None:
                model_kwargs["audio_positions"] = self.model.find_audio_positions(
                    input_ids, clip_tokens, model_kwargs.get("inputs_embeds")
                )
            rows = clips_of_rows(clip_tokens, model_kwargs["audio_positions"].sum(-1))
            order = torch.cat(
                [(rows == row).nonzero().view(-1).repeat(expand_size) for row in range(input_ids.shape[0])]
            )
            clips = {name: value[order] for name, value in clips.items()}
        rows = _audio_rows(model_kwargs)
        if isinstance(rows, torch.Tensor):  # looked at once, so that no later token has to
            model_kwargs["audio_rows"] = True if bool(rows.all()) else rows
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return input_ids, model_kwargs | clips

    def audio_positions_of(self, inputs: Mapping[str, Any]) -> torch.Tensor | None:
        """Where the clips of some inputs of `generate` stand, `torch.BoolTensor` of shape `(batch, seq)`; `None` where they hold no clip.

        Args:
            inputs: what the processor returned, or such inputs in the other forms that [`forward`] takes.
        """
        if inputs.get("audio_positions") is not None:
            return inputs["audio_positions"]
        clips = {name: inputs[name] for name in _CLIP_INPUTS if inputs.get(name) is not None}
        if not clips:
            return None
        return self.model.find_audio_positions(
            inputs.get("input_ids"), self._audio_tokens_of_clips(clips), inputs.get("inputs_embeds")
        )

    def generate_batch(self, inputs: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        """As in [`GenerationMixin`], continuous batching: of prompts without audio, since its requests are token ids and nothing beside them.

        Raises:
            ValueError: a prompt holds audio positions, or is longer than the LLM's context.
        """
        for prompt in inputs:
            check_context_length(self.config, len(prompt))
            if holds_audio_positions(torch.tensor([list(prompt)]), self.config):
                raise ValueError(
                    "A prompt holds audio positions, but `generate_batch` takes token ids alone: a request of transformers' continuous batching has no "
                    "place for features, and its batches are one row, in which blocks of audio would be causal. Answer audio with "
                    "`model.generate(**inputs)`, several requests at once with the pipeline's `batch_size=`."
                )
        return super().generate_batch(inputs, *args, **kwargs)

    def _audio_tokens_of_clips(self, clips: dict[str, torch.Tensor]) -> torch.Tensor:
        """Audio tokens of each clip, `(num_audios,)`."""
        if "audio_embeds" in clips:
            embeds, mask = clips["audio_embeds"], clips.get("audio_embeds_mask")
            return torch.full((len(embeds),), embeds.shape[1], device=embeds.device) if mask is None else mask.sum(-1)
        features, mask = clips["input_features"], clips.get("input_features_mask")
        if mask is None:
            mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return num_audio_tokens(mask.sum(-1), self.config.audio_config.frames_per_token)

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        audio_positions: torch.Tensor | None = None,
        audio_rows: torch.Tensor | Literal[True] | None = None,
        is_first_iteration: bool | None = False,
        use_cache: bool | None = True,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As in [`GenerationMixin`]: audio goes in once, and which rows have audio is remembered for every later token."""
        clips = {name: value for name in _CLIP_INPUTS if (value := kwargs.pop(name, None)) is not None}
        if clips and audio_positions is None:
            audio_positions = self.model.find_audio_positions(
                input_ids, self._audio_tokens_of_clips(clips), inputs_embeds
            )
        if audio_positions is not None and audio_rows is None:
            audio_rows = audio_positions.any(-1)
        model_inputs = super().prepare_inputs_for_generation(
            input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            audio_rows=audio_rows,
            is_first_iteration=is_first_iteration,
            use_cache=use_cache,
            **kwargs,
        )
        # An assistant is asked again and again, each time with an older cache: for it no iteration is the first.
        cache = kwargs.get(CACHE_ARGUMENT)
        is_prefill = is_first_iteration or not use_cache or cache is None or cache.get_seq_length() == 0
        if audio_positions is not None and clips and is_prefill:
            length = (input_ids if inputs_embeds is None else inputs_embeds).shape[1]
            later = length - audio_positions.shape[1]  # what is no part of the prompt is text
            given = model_inputs["input_ids"] if inputs_embeds is None else model_inputs["inputs_embeds"]
            positions = nn.functional.pad(audio_positions, (0, later))[:, -given.shape[1] :]  # not what the cache has
            model_inputs |= clips | {"audio_positions": positions}
            model_inputs["attention_mask"] = attention_mask  # the model adds the blocks of audio to it
        return model_inputs

    def _prepare_generated_length(
        self, generation_config: GenerationConfig, *, input_ids_length: int, inputs_tensor: torch.Tensor, **kwargs: Any
    ) -> GenerationConfig:
        """As in [`GenerationMixin`], but nothing is generated beyond the LLM's context. A number of new tokens that the call asks for must fit in."""
        asked = generation_config.max_new_tokens
        generation_config = super()._prepare_generated_length(
            generation_config, input_ids_length=input_ids_length, inputs_tensor=inputs_tensor, **kwargs
        )
        num_audio = 0
        if inputs_tensor.ndim == 2:
            num_audio = int((inputs_tensor == self.config.audio_token_id).sum(-1).max())
        by_default = asked is None or asked == self.generation_config.max_new_tokens
        check_context_length(self.config, input_ids_length - num_audio, num_audio, 1 if by_default else asked)
        limit = context_length(self.config.text_config)
        if limit is not None:
            generation_config.max_length = min(generation_config.max_length, limit)
        return generation_config

    def _get_logits_processor(
        self,
        generation_config: GenerationConfig,
        *args: Any,
        model_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> LogitsProcessorList:
        """As in [`GenerationMixin`]; the audio token is no answer to audio. In rows of text it is what it is for the base LLM."""
        rows = _audio_rows(model_kwargs or {})
        if rows is not None:
            for name, off in _LOOKS_UP_THE_PROMPT.items():
                if getattr(generation_config, name, None) not in (None, off):
                    self._check_audio_token_can_be_looked_up(name)
        processors = super()._get_logits_processor(generation_config, *args, model_kwargs=model_kwargs, **kwargs)
        if rows is not None and self.config.audio_token_is_in_vocabulary:
            processors.append(_NoAudioToken(self.config.audio_token_id, rows))
        return processors

    def _get_candidate_generator(
        self,
        generation_config: GenerationConfig,
        *args: Any,
        model_kwargs: dict[str, Any],
        assistant_model: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As in [`GenerationMixin`]; an assistant that takes no audio guesses from the tokens alone."""
        if generation_config.assistant_early_exit is not None:
            raise ValueError(
                "`assistant_early_exit` does not work with an AuRA student. Pass `prompt_lookup_num_tokens` or an `assistant_model`."
            )
        if _audio_rows(model_kwargs) is not None:
            self._check_audio_token_can_be_looked_up(
                "prompt_lookup_num_tokens" if assistant_model is None else "assistant_model"
            )
        if assistant_model is not None and not isinstance(assistant_model, AudioGenerationMixin):
            model_kwargs = {name: value for name, value in model_kwargs.items() if name not in _AUDIO_INPUTS}
        return super()._get_candidate_generator(
            generation_config, *args, model_kwargs=model_kwargs, assistant_model=assistant_model, **kwargs
        )

    def _check_audio_token_can_be_looked_up(self, setting: str) -> None:
        if not self.config.audio_token_is_in_vocabulary:
            raise ValueError(
                f"`{setting}` looks up the prompt's tokens, but this student's audio token has the id {self.config.audio_token_id}, beyond the "
                f"{self.config.text_config.vocab_size} tokens of its LLM. Leave the setting out. (Students that are made with this version have an "
                "id that can be looked up, if their LLM has a token to spare.)"
            )


def holds_audio_positions(input_ids: torch.Tensor, config: Any) -> bool:
    """Whether `input_ids`, `(batch, seq)`, come from a processor that made audio features of a recording too.

    Where the audio token is one of the LLM's, nobody writes it so many times in a row.
    """
    is_audio = input_ids == config.audio_token_id
    if not config.audio_token_is_in_vocabulary or not bool(is_audio.any()):
        return bool(is_audio.any())
    windows = nn.functional.pad(is_audio, (_PLACEHOLDERS_OF_AUDIO - 1, 0)).unfold(-1, _PLACEHOLDERS_OF_AUDIO, 1)
    return bool(windows.all(-1).any())


_PLACEHOLDERS_OF_AUDIO = 4
"""So many audio tokens in a row come from a processor: a third of a second of audio at the usual 12.5 a second."""


def _audio_rows(model_kwargs: dict[str, Any]) -> torch.Tensor | Literal[True] | None:
    """Rows with audio, `(batch,)`, beams included, `True` for all of them; `None` where there is no audio."""
    if model_kwargs.get("audio_rows") is None and model_kwargs.get("audio_positions") is not None:
        return model_kwargs["audio_positions"].any(-1)
    return model_kwargs.get("audio_rows")


class _NoAudioToken(LogitsProcessor):
    """Leaves the audio token out of what rows with audio may say."""

    def __init__(self, audio_token_id: int, rows: torch.Tensor | Literal[True]) -> None:
        self.audio_token_id = audio_token_id
        self.rows = rows

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        scores = scores.clone()
        rows = slice(None) if self.rows is True else self.rows.to(scores.device)
        scores[rows, self.audio_token_id] = -torch.inf
        return scores


__all__ = ["AudioGenerationMixin"]
