"""The AuRA student: a stock `transformers` LLM that understands speech, through audio patch embeddings and LoRA in its first layers."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModel, Cache, PreTrainedModel
from transformers.masking_utils import create_masks_for_generate
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.utils import can_return_tuple
from transformers.utils.output_capturing import maybe_install_capturing_hooks

from ..decoding.text_statistics import TEXT_STATISTICS_FILE_NAME
from ..processing.audio_tokens import find_audio_positions
from .adapter import (
    LoraGate,
    check_lora_acted,
    lora_gate,
)
from .audio_embedding import AuraAudioEmbedding
from .cache_argument import CACHE_ARGUMENT, one_cache
from .configuration_aura import AuraAudioConfig, AuraConfig
from .context_length import check_context_length, context_length
from .ctc_heads import CharacterCTCHead, SubwordCTCHead
from .generation_aura import AudioGenerationMixin, holds_audio_positions
from .loading import compose_student
from .long_prompts import parts_of_prompt
from .merging import merge_student
from .pretrained_aura import AuraPreTrainedModel
from .transcription_aura import TranscriptionMixin


@dataclass
class AuraAudioFeatures(BaseModelOutputWithPooling):
    """Audio embeddings of a batch of clips.

    Attributes:
        last_hidden_state (`(num_audios, audio_tokens, hidden)`): embeddings, padded on the right.
        pooler_output (`(total_audio_tokens, hidden)`): the real embeddings of all clips, one clip after the other: what
            takes the place of the placeholders, in reading order.
        audio_token_mask (`torch.BoolTensor` of shape `(num_audios, audio_tokens)`): `True` = a real audio token.
    """

    audio_token_mask: torch.Tensor | None = None

    def in_reading_order(self, of_tokens: torch.Tensor) -> torch.Tensor:
        """`(num_audios, audio_tokens, ...)` as `(num_audios * audio_tokens, ...)`: the real tokens of all clips, one clip after the other, then the padding.

        What boolean indexing does, but of a shape that does not depend on values, so that it can be compiled.
        """
        assert self.audio_token_mask is not None
        order = self.audio_token_mask.flatten().argsort(descending=True, stable=True)
        return of_tokens.flatten(0, 1)[order]


class AuraModel(AuraPreTrainedModel):
    """The headless student: base LLM with LoRA in its first layers, and the audio patch embedding before it.

    Args:
        config ([`AuraConfig`]): of the student.
        add_lora (`bool`, defaults to `True`): put LoRA into the LLM; `False` where the model around it does so.

    Example:

    ```python
    >>> hidden_states = student.model(**inputs).last_hidden_state  # (batch, sequence, hidden)
    ```
    """

    _keys_to_ignore_on_load_unexpected = [*AuraPreTrainedModel._keys_to_ignore_on_load_unexpected, r"^lm_head\."]

    lora_is_merged = False
    """Whether the LLM's weights have LoRA merged in, see `merge_lora` of [`from_pretrained`]."""

    num_lora_layers: list[int]
    """Linear layers with LoRA in each decoder layer that has any."""

    def __init__(self, config: AuraConfig, *, add_lora: bool = True):
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.embed_audio = AuraAudioEmbedding(config.audio_config, config.text_config.hidden_size)
        has_subword_ctc_head = config.subword_ctc_layer is not None
        self.subword_ctc_head = SubwordCTCHead(config.text_config.hidden_size) if has_subword_ctc_head else None
        self.character_ctc_head = None
        if config.character_ctc_alphabet is not None:
            self.character_ctc_head = CharacterCTCHead(config.text_config.hidden_size, config.character_ctc_alphabet)
        self.post_init()
        if add_lora:
            self._add_lora()

    @can_return_tuple
    def get_audio_features(
        self,
        input_features: torch.Tensor,
        input_features_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,
    ) -> AuraAudioFeatures:
        """Embeds clips into the LLM's space.

        Args:
            input_features (`(num_audios, num_frames, num_mel_bins)`): log-mel frames, padded on the right.
            input_features_mask (`(num_audios, num_frames)`, *optional*): `True` = a real frame; all when not given.
            output_hidden_states (`bool`, *optional*): also return what the patch embedding makes on the way, see
                [`AuraAudioEmbedding.forward`]. As the config says when not given.
            output_attentions (`bool`, *optional*): also return attentions, of which the patch embedding has none: `()`.
            return_dict (`bool`, *optional*): `False` = a tuple, without what is `None`. As the config says when not given.

        Returns:
            [`AuraAudioFeatures`]: `last_hidden_state` of shape `(num_audios, audio_tokens, hidden)`, padded on the right, and
            `pooler_output` of shape `(audio tokens of all clips, hidden)`, without padding.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        on_the_way: dict[str, list[torch.Tensor]] = {"hidden_states": []} if output_hidden_states else {}
        embeddings, token_mask = self._embed_clips(input_features, input_features_mask, **on_the_way)
        return AuraAudioFeatures(
            last_hidden_state=embeddings,
            pooler_output=embeddings[token_mask],
            hidden_states=tuple(on_the_way["hidden_states"]) if on_the_way else None,
            attentions=() if output_attentions else None,
            audio_token_mask=token_mask,
        )

    def _embed_clips(
        self,
        input_features: torch.Tensor,
        input_features_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if input_features_mask is None:
            input_features_mask = torch.ones(input_features.shape[:2], dtype=torch.bool, device=input_features.device)
        return self.embed_audio(input_features, input_features_mask.bool(), **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | dict[str, torch.Tensor] | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.BoolTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
        audio_embeds_mask: torch.BoolTensor | None = None,
        audio_positions: torch.BoolTensor | None = None,
        audio_rows: torch.BoolTensor | Literal[True] | None = None,
        num_hidden_layers: int | None = None,
        *,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """
        Args:
            input_ids (`(batch, seq)`): tokens, with `config.audio_token_id` at every audio position. Where no audio is given, and in rows that
                no clip belongs to, this id is a token like any other.
            inputs_embeds (`(batch, seq, hidden)`): embeddings in the place of `input_ids`; audio positions have that of the audio token, or
                `audio_positions` marks them.
            attention_mask (`(batch, seq)`): 1 = a real token; or masks that `create_masks_for_generate` made.
            cache ([`Cache`]): keys and values of earlier tokens. Also taken as `past_key_values`, its name before
                transformers 5.24, whichever release is installed.
            input_features (`(num_audios, num_frames, num_mel_bins)`): log-mel frames of the clips of the whole batch,
                in reading order, padded on the right.
            input_features_mask (`(num_audios, num_frames)`): `True` = a real frame.
            audio_embeds (`(num_audios, audio_tokens, hidden)`): audio patch embeddings of the clips, where they were computed before
                (`last_hidden_state` of [`get_audio_features`]), in the place of `input_features`.
            audio_embeds_mask (`(num_audios, audio_tokens)`): `True` = a real audio token; all when not given.
            audio_positions (`torch.BoolTensor` of shape `(batch, seq)`): where the audio goes; found from `input_ids` or `inputs_embeds` and the
                clips' lengths when not given.
            audio_rows (`torch.BoolTensor` of shape `(batch,)`, or `True` for all rows): rows whose sequence holds audio. Found from
                the audio positions when not given; needed when the audio is in the cache already (`generate` passes it).
            num_hidden_layers (`int`, *optional*): run only the first so many decoder layers, without the final norm
                (a training step that needs no more). 0: the first layer's input.

        Raises:
            ValueError: audio positions and audio embeddings differ in number, or one is there without the other; the
                cache was passed under both names; or the sequence is longer than the LLM's context.
        """
        cache = one_cache(cache, past_key_values)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Pass exactly one of `input_ids` and `inputs_embeds`.")
        if num_hidden_layers != 0:  # else nothing attends
            self._check_length(input_ids if inputs_embeds is None else inputs_embeds, attention_mask, cache)
        is_audio = block_ids = None
        if input_features is None and audio_embeds is None:
            if inputs_embeds is None:
                self._check_no_audio_position(input_ids, cache)
                inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds_with_audio = inputs_embeds
        else:
            features = self.audio_features(input_features, input_features_mask, audio_embeds, audio_embeds_mask)
            is_audio = self._audio_positions(input_ids, inputs_embeds, audio_positions, features)
            if input_ids is not None:
                inputs_embeds = self.get_input_embeddings()(input_ids.masked_fill(is_audio, 0))
            assert inputs_embeds is not None  # one of the two is there
            inputs_embeds_with_audio = inputs_embeds.masked_scatter(
                is_audio.unsqueeze(-1), features.in_reading_order(features.last_hidden_state).to(inputs_embeds.dtype)
            )
            if num_hidden_layers == 0:
                pass  # nothing attends
            elif isinstance(attention_mask, dict) or (attention_mask is not None and attention_mask.ndim == 4):
                pass  # made by the caller, blocks included
            elif self.config.audio_config.tokens_per_block != 1:
                block_ids = self._block_sequence_ids(is_audio, features)
        if num_hidden_layers == 0:
            return BaseModelOutputWithPast(
                last_hidden_state=inputs_embeds_with_audio, hidden_states=(inputs_embeds_with_audio,)
            )
        kwargs = {**kwargs, "cache": cache, "num_hidden_layers": num_hidden_layers}
        gate = self._gate(is_audio, audio_rows)
        if is_audio is None or block_ids is None:
            return self._outputs_of(inputs_embeds_with_audio, attention_mask, position_ids, gate, **kwargs)
        assert not isinstance(attention_mask, dict)
        parts = parts_of_prompt(block_ids) if self._may_take_parts(is_audio, cache, kwargs) else []
        if cache is None or len(parts) < 2:
            masks = self._block_masks(inputs_embeds_with_audio, block_ids, attention_mask, position_ids, cache)
            return self._outputs_of(inputs_embeds_with_audio, masks, position_ids, gate, **kwargs)
        before = int(cache.get_seq_length())
        states = []
        for part in parts:
            embeds = inputs_embeds_with_audio[:, part]
            mask = None if attention_mask is None else attention_mask[:, : before + part.stop]
            positions = None if position_ids is None else position_ids[..., part]
            masks = self._block_masks(embeds, block_ids[:, part], mask, positions, cache)
            of_part = gate[:, part] if isinstance(gate, torch.Tensor) and gate.shape[1] > 1 else gate
            outputs = self._outputs_of(embeds, masks, positions, of_part, **kwargs)
            states.append(outputs.last_hidden_state)
        outputs.last_hidden_state = torch.cat(states, 1)
        return outputs

    def _outputs_of(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: Any,
        position_ids: torch.Tensor | None,
        gate: LoraGate,
        *,
        cache: Cache | None,
        num_hidden_layers: int | None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """One pass of the language model, or of its first layers, with LoRA where the gate says."""
        language_model = self.language_model if num_hidden_layers is None else self.first_layers(num_hidden_layers)
        if isinstance(gate, torch.Tensor):
            gate = gate.expand(-1, inputs_embeds.shape[1], -1)
        with lora_gate(gate) as lora_pass:
            outputs = language_model(
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                return_dict=True,
                **{CACHE_ARGUMENT: cache},
                **kwargs,
            )
        if self.lora_is_merged or not (isinstance(gate, str) and gate == "off"):
            check_lora_acted(lora_pass, sum(self.num_lora_layers[:num_hidden_layers]))
        return outputs

    def _may_take_parts(self, is_audio: torch.Tensor, cache: Cache | None, kwargs: dict[str, Any]) -> bool:
        """Whether a long prompt may go through the language model in parts: there is a cache, nobody asks for more than its last states, and every row
        has audio, since rows of text are the base LLM bit for bit.
        """
        if cache is None or self.training or torch.compiler.is_compiling():
            return False
        if self.config.output_hidden_states or self.config.output_attentions:
            return False
        asked = {name for name, value in kwargs.items() if value is not None and value is not False}
        return asked <= {"use_cache", "cache", "num_hidden_layers"} and bool(is_audio.any(-1).all())

    def audio_features(
        self,
        input_features: torch.Tensor | None,
        input_features_mask: torch.Tensor | None,
        audio_embeds: torch.Tensor | None,
        audio_embeds_mask: torch.Tensor | None,
    ) -> AuraAudioFeatures:
        """The clips of a call, in either form, as [`get_audio_features`] returns them, but for `pooler_output`.

        Args:
            input_features (`(num_audios, num_frames, num_mel_bins)`): log-mel frames, padded on the right.
            input_features_mask (`(num_audios, num_frames)`): `True` = a real frame; `None` = all.
            audio_embeds (`(num_audios, audio_tokens, hidden)`): audio patch embeddings, in the place of features.
            audio_embeds_mask (`(num_audios, audio_tokens)`): `True` = a real audio token; `None` = all.

        Returns:
            [`AuraAudioFeatures`]: embeddings and their mask.

        Raises:
            ValueError: both forms were given, or none.
        """
        if audio_embeds is None:
            if input_features is None:
                raise ValueError(
                    "There is no audio: pass `input_features`, as the processor returns them, or `audio_embeds`."
                )
            embeddings, token_mask = self._embed_clips(input_features, input_features_mask)
            return AuraAudioFeatures(last_hidden_state=embeddings, audio_token_mask=token_mask)
        if input_features is not None:
            raise ValueError("`input_features` and `audio_embeds` are two forms of the same clips: pass one.")
        audio_embeds = audio_embeds.to(self.embed_audio.norm.weight.dtype)  # may be computed under autocast
        if audio_embeds_mask is None:
            audio_embeds_mask = torch.ones(audio_embeds.shape[:2], dtype=torch.bool, device=audio_embeds.device)
        return AuraAudioFeatures(last_hidden_state=audio_embeds, audio_token_mask=audio_embeds_mask.bool())

    def _gate(self, is_audio: torch.Tensor | None, audio_rows: torch.Tensor | Literal[True] | None) -> LoraGate:
        """Where LoRA acts in this pass, by `config.lora_scope`."""
        if not self.config.lora_rank:
            return "off"
        if self.config.lora_scope == "always":
            return "on"
        if self.config.lora_scope == "audio":
            return "off" if is_audio is None else is_audio.unsqueeze(-1)
        if audio_rows is None:
            if is_audio is None:
                return "off"
            audio_rows = is_audio.any(-1)
        if not isinstance(audio_rows, torch.Tensor):
            return "on" if audio_rows else "off"
        if not torch.compiler.is_compiling() and bool(audio_rows.all()):
            return "on"
        return audio_rows.view(-1, 1, 1)

    def find_audio_positions(
        self,
        input_ids: torch.Tensor | None,
        clip_tokens: torch.Tensor,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The positions that the clips of a batch take, see [`~processing.audio_tokens.find_audio_positions`].

        Args:
            input_ids (`(batch, seq)`): as in [`forward`].
            clip_tokens (`(num_audios,)`): audio tokens of each clip, in reading order.
            inputs_embeds (`(batch, seq, hidden)`): as in [`forward`], where there are no ids.

        Returns:
            `torch.BoolTensor` of shape `(batch, seq)`.

        Raises:
            ValueError: the audio token has no embedding and there are no ids, or text holds it.
        """
        if inputs_embeds is None or (input_ids is not None and input_ids.numel()):
            is_audio_token = input_ids == self.config.audio_token_id
        elif self.config.audio_token_is_in_vocabulary:
            audio_token_id = torch.tensor(self.config.audio_token_id, device=inputs_embeds.device)
            is_audio_token = (inputs_embeds == self.get_input_embeddings()(audio_token_id)).all(-1)
        else:
            raise ValueError(
                f"Pass `audio_positions` beside `inputs_embeds`: this student's audio token (id {self.config.audio_token_id}) is no token of its "
                "LLM and has no embedding, by which audio positions could be found."
            )
        positions = find_audio_positions(is_audio_token, clip_tokens)
        if positions is not is_audio_token and not self.config.audio_token_is_in_vocabulary:
            raise ValueError(
                f"A row without audio holds the audio token (id {self.config.audio_token_id}), which is no token of this student's LLM. Leave "
                "its text out of what is written, or pass the row's audio."
            )
        return positions

    def _check_length(self, inputs: torch.Tensor, attention_mask: Any, cache: Cache | None) -> None:
        """Raise where the sequence is longer than the LLM's context; padding does not count."""
        if torch.compiler.is_compiling() or (cache is not None and not isinstance(cache, Cache)):
            return
        limit, length = context_length(self.config.text_config), inputs.shape[1]
        if limit is None:
            return
        before = 0 if cache is None else cache.get_seq_length()
        if length == 1 and isinstance(before, torch.Tensor):
            return  # a step of `generate` with a static cache: to look would make the accelerator wait
        length += int(before)
        if length <= limit:
            return
        if isinstance(attention_mask, torch.Tensor) and attention_mask.ndim == 2:
            length = int(attention_mask.sum(-1).max())
        num_audio = int((inputs == self.config.audio_token_id).sum(-1).max()) if inputs.ndim == 2 else 0
        check_context_length(self.config, length - num_audio, num_audio)

    def _check_no_audio_position(self, input_ids: torch.Tensor, cache: Cache | None) -> None:
        """Raises if `input_ids` come from a processor that made audio features of a recording too, which were not passed."""
        if torch.compiler.is_compiling() or (cache is not None and not isinstance(cache, Cache)):
            return  # continuous batching's cache: `generate_batch` looked at the prompts
        if (cache is None or cache.get_seq_length() == 0) and holds_audio_positions(input_ids, self.config):
            positions = int((input_ids == self.config.audio_token_id).sum())
            raise ValueError(
                f"`input_ids` hold {positions} audio positions, but no `input_features` were passed. Pass "
                "everything that the processor returned: `model(**processor(text=..., audio=...))`."
            )

    def _audio_positions(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        given: torch.Tensor | None,
        features: AuraAudioFeatures,
    ) -> torch.Tensor:
        assert features.audio_token_mask is not None
        if given is None:
            return self.find_audio_positions(input_ids, features.audio_token_mask.sum(-1), inputs_embeds)
        if torch.compiler.is_compiling():  # a check of values would break the graph
            return given
        shape = (inputs_embeds if input_ids is None else input_ids).shape[:2]  # type: ignore[union-attr]  # one of the two is there
        positions, embeddings = int(given.sum()), int(features.audio_token_mask.sum())
        if given.shape != shape or positions != embeddings:
            raise ValueError(
                f"`audio_positions` of shape {tuple(given.shape)} mark {positions} positions of a batch of shape {tuple(shape)}, but the clips "
                f"make {embeddings} audio embeddings."
            )
        return given

    def _block_sequence_ids(self, is_audio: torch.Tensor, features: AuraAudioFeatures) -> torch.Tensor:
        """Block of audio that each position belongs to, `(batch, seq)`; -1 = it is text."""
        assert features.audio_token_mask is not None
        block_ids = audio_block_ids(features.audio_token_mask, self.config.audio_config.tokens_per_block)
        return torch.full_like(is_audio, -1, dtype=torch.long).masked_scatter(
            is_audio, features.in_reading_order(block_ids)
        )

    def _block_masks(
        self,
        inputs_embeds: torch.Tensor,
        block_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        cache: Cache | None,
    ) -> torch.Tensor | dict[str, torch.Tensor] | None:
        """Attention masks in which audio tokens of one block see each other in both directions."""
        implementation = self.language_model.config._attn_implementation
        if "flash" in implementation:
            raise ValueError(
                f"`attn_implementation={implementation!r}` cannot attend in blocks of audio. Load the student with "
                '`attn_implementation="sdpa"`, or train it with `tokens_per_block=1` (causal).'
            )
        before = 0 if cache is None else cache.get_seq_length()  # the overlay indexes absolute positions
        if isinstance(before, torch.Tensor):  # of a static cache, where no shape depends on it
            assert cache is not None
            everywhere = block_ids.new_full((len(block_ids), cache.layers[0].max_cache_len), -1)
            columns = before + torch.arange(block_ids.shape[1], device=before.device)
            block_ids = everywhere.index_copy(1, columns, block_ids)
        elif before:
            block_ids = nn.functional.pad(block_ids, (before, 0), value=-1)
        return create_masks_for_generate(
            config=self.language_model.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            block_sequence_ids=block_ids,
            **{CACHE_ARGUMENT: cache},
        )

    def first_layers(self, num_hidden_layers: int) -> PreTrainedModel:
        """The language model cut after `num_hidden_layers` layers, without the final norm: a view on the same layers, not a copy.

        Called by itself it is the base LLM: only this model's `forward` turns LoRA on. All layers = the whole language model.

        Args:
            num_hidden_layers: decoder layers to keep, counted from the embedding.

        Returns:
            the view, which shares all weights with this model.
        """
        if num_hidden_layers >= self.config.text_config.num_hidden_layers:
            return self.language_model
        # transformers installs its recording hooks on the layers once per model: here, before the view shares them.
        maybe_install_capturing_hooks(self.language_model)
        view = copy.copy(self.language_model)
        view._modules = dict(self.language_model._modules)
        view._modules["layers"] = self.language_model.layers[:num_hidden_layers]
        view._modules["norm"] = nn.Identity()
        return view


class AuraForSpeechQA(TranscriptionMixin, AudioGenerationMixin, AuraPreTrainedModel):
    """The student with the base LLM's language-modelling head: `generate` answers what was said, `transcribe` writes it down.

    Args:
        config ([`AuraConfig`]): of the student. Mostly `from_pretrained` or [`from_language_model_pretrained`] makes one.
    """

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}  # the base LLM's plan shards the embedding that it may be tied to

    def __init__(self, config: AuraConfig):
        super().__init__(config)
        self.model = AuraModel(config, add_lora=False)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        head_settings = config.text_config.to_dict()
        self._final_logit_softcapping = head_settings.get("final_logit_softcapping")  # Gemma's
        self._logits_scaling = head_settings.get("logits_scaling")  # Granite's, a divisor
        self._logit_scale = head_settings.get("logit_scale")  # Cohere's, a factor
        self.post_init()
        self._add_lora()

    @classmethod
    def from_language_model_pretrained(
        cls,
        base_model: str | os.PathLike,
        *,
        gguf_file: str | None = None,
        revision: str | None = None,
        audio_config: AuraAudioConfig | dict[str, Any] | None = None,
        lora_rank: int = 64,
        lora_alpha: float | None = None,
        lora_num_layers: int | None = None,
        lora_target_modules: list[str] | None = None,
        lora_dropout: float = 0.0,
        lora_scope: str = "rows",
        character_ctc_alphabet: str | None = None,
        subword_ctc_layer: int | None = None,
        answer_from: str = "audio",
        **kwargs: Any,
    ) -> AuraForSpeechQA:
        """A new, untrained student of an LLM, in one call.

        Args:
            base_model: hub id or folder of a causal LLM of a supported family, or a path to a `.gguf` file.
            gguf_file: name of the GGUF file inside `base_model`, when that is a hub id or folder.
            revision: commit, branch or tag of `base_model`; what it resolves to is kept in the config.
            audio_config: settings of the patch embedding, an [`AuraAudioConfig`] or its fields as a `dict`. Its fields
                (`num_mel_bins`, `frames_per_token`, `frames_per_step`, `patch_embedding`, `conv_width`, `conv_blocks`,
                `conv_block_type`, `tokens_per_block`) may be given
                as keyword arguments too.
            lora_rank, lora_alpha, lora_num_layers, lora_target_modules, lora_dropout, lora_scope: see [`AuraConfig`].
            character_ctc_alphabet, subword_ctc_layer: make the CTC heads, see [`AuraConfig`].
            answer_from: see [`AuraConfig`].
            kwargs: fields of [`AuraAudioConfig`]; all others go to the stock loader (`dtype`, `device_map`,
                `attn_implementation`, `token`, ...).

        Returns:
            a student in evaluation mode, of which only LoRA, the patch embedding and the heads are trainable. Until it is trained,
            its answers to audio mean nothing; its answers to text are the base LLM's.

        Example:

        ```python
        >>> student = AuraForSpeechQA.from_language_model_pretrained("Qwen/Qwen2.5-7B-Instruct", lora_rank=256)
        ```
        """
        settings = {
            "lora_rank": lora_rank,
            "lora_alpha": lora_alpha,
            "lora_num_layers": lora_num_layers,
            "lora_target_modules": lora_target_modules,
            "lora_dropout": lora_dropout,
            "lora_scope": lora_scope,
            "character_ctc_alphabet": character_ctc_alphabet,
            "subword_ctc_layer": subword_ctc_layer,
            "answer_from": answer_from,
        }
        return compose_student(cls, base_model, gguf_file, revision, audio_config, settings, kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in [`PreTrainedModel`]; the counted text of `transcribe` goes along, where the student has any."""
        super().save_pretrained(save_directory, *args, **kwargs)
        is_main_process = args[0] if args else kwargs.get("is_main_process", True)
        if self.text_statistics is not None and is_main_process:
            self.text_statistics.save(os.path.join(save_directory, TEXT_STATISTICS_FILE_NAME))

    def merge(self) -> AuraForSpeechQA:
        """A plain full checkpoint of this student, with LoRA merged into the LLM; this model is left as it is.

        The result needs neither PEFT nor the base LLM's repo, and is what generic serving engines load. On rows with audio
        it equals this student. Text-only rows feel the adapter too, as under scope `"always"`: they are no longer the base
        LLM's.

        Returns:
            the merged student, another model.

        Raises:
            ValueError: the base is quantised, or LoRA acts on audio positions only, which merged weights cannot do.
        """
        return merge_student(self)

    def stream(self, processor: Any, prompt_before: list[dict[str, Any]] | None = None, **kwargs: Any) -> Any:
        """A conversation by voice: listens while somebody speaks, and answers as soon as they stop.

        Args:
            processor ([`AuraProcessor`]): the student's.
            prompt_before (`list[dict]`, *optional*): messages before the first turn, for instance a system message.
            kwargs: further arguments of [`~transformers_aura.streaming.aura_stream.AuraStream`]: `context`, `pause_seconds`, `answer_from`,
                `chat_template_kwargs`.

        Returns:
            [`~transformers_aura.streaming.aura_stream.AuraStream`].
        """
        return self.open_stream(self, processor, prompt_before, **kwargs)

    def get_audio_features(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> AuraAudioFeatures:
        """Embeds clips into the LLM's space, see [`AuraModel.get_audio_features`].

        Args:
            input_features (`(num_audios, num_frames, num_mel_bins)`): log-mel frames, padded on the right.
            input_features_mask (`(num_audios, num_frames)`, *optional*): `True` = a real frame; all when not given.

        Returns:
            [`AuraAudioFeatures`]: `pooler_output` of shape `(audio tokens of all clips, hidden)` holds no padding.
        """
        return self.model.get_audio_features(input_features, input_features_mask, **kwargs)

    def init_audio_embedding_from_teacher(
        self, encoder: nn.Module, attention_kernels: torch.Tensor | None = None
    ) -> None:
        """Starts the patch embedding from a Whisper encoder of the same width and mel bins.

        Args:
            encoder: a `WhisperEncoder`, such as that of [`AuraTeacher`].
            attention_kernels (`(layers, heads, 41)`, *optional*): its heads' mean attention by distance in time. Needed for
                `conv_block_type="kernel"`, and for nothing else.
        """
        self.model.embed_audio.init_from_teacher(encoder, attention_kernels)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Logits as the base LLM computes them.

        Args:
            hidden_states (`(..., hidden)`): states after the final norm.

        Returns:
            `torch.Tensor` of shape `(..., vocab_size)`.
        """
        logits = self.lm_head(hidden_states)
        if self._logits_scaling is not None:
            logits = logits / self._logits_scaling
        if self._logit_scale is not None:
            logits = logits * self._logit_scale
        if self._final_logit_softcapping is not None:
            logits = torch.tanh(logits / self._final_logit_softcapping) * self._final_logit_softcapping
        return logits

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | dict[str, torch.Tensor] | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.BoolTensor | None = None,
        audio_embeds: torch.FloatTensor | None = None,
        audio_embeds_mask: torch.BoolTensor | None = None,
        audio_positions: torch.BoolTensor | None = None,
        audio_rows: torch.BoolTensor | Literal[True] | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        *,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """
        Args:
            labels (`(batch, seq)`): next-token targets, -100 = not scored (prompt, audio positions, padding).
            logits_to_keep (`int` or 1-D `torch.LongTensor`): compute logits for the last so many positions, or for
                these positions, only; 0 = all.

        See [`AuraModel.forward`] for the rest.

        Example:

        ```python
        >>> inputs = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True,
        ...                                        return_dict=True, return_tensors="pt")
        >>> tokens = model.generate(**inputs, max_new_tokens=40)
        ```
        """
        loss_kwargs = {name: kwargs.pop(name) for name in _LOSS_ARGUMENTS if name in kwargs}
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            input_features=input_features,
            input_features_mask=input_features_mask,
            audio_embeds=audio_embeds,
            audio_embeds_mask=audio_embeds_mask,
            audio_positions=audio_positions,
            audio_rows=audio_rows,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.compute_logits(outputs.last_hidden_state[:, kept, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **loss_kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{CACHE_ARGUMENT: getattr(outputs, CACHE_ARGUMENT)},
        )


_LOSS_ARGUMENTS = ("num_items_in_batch", "shift_labels")
"""Arguments of `forward` that are for the loss alone."""


def audio_block_ids(audio_token_mask: torch.Tensor, tokens_per_block: int | None) -> torch.Tensor:
    """Block that each audio token of a batch belongs to; no two clips share a block.

    Args:
        audio_token_mask (`torch.BoolTensor` of shape `(num_audios, audio_tokens)`): `True` = a real audio token.
        tokens_per_block (`int` or `None`): tokens in a block; `None` = the clip is one block.

    Returns:
        `torch.LongTensor` of shape `(num_audios, audio_tokens)`.
    """
    num_audios, num_tokens = audio_token_mask.shape
    size = num_tokens if tokens_per_block is None else tokens_per_block
    blocks_per_clip = -(-num_tokens // max(size, 1))
    clip = torch.arange(num_audios, device=audio_token_mask.device).unsqueeze(-1)
    token = torch.arange(num_tokens, device=audio_token_mask.device)
    return clip * blocks_per_clip + token // max(size, 1)


__all__ = ["AuraAudioFeatures", "AuraForSpeechQA", "AuraModel"]
