"""Students in the trainers of TRL: SFT, DPO and GRPO on chats with audio parts.

TRL (1.16) knows text and images. These are its own trainers, with all of its arguments; what is added is what audio needs: chats become inputs when their
batch comes, as those with images do, the audio features go along, and audio positions are never learnt nor sampled. Needs `pip install transformers-aura[trl]`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from .extras import import_extra
from .modeling.modeling_aura import AuraForSpeechQA
from .processing.conversation import Conversation
from .processing.processing_aura import AuraProcessor


import_extra("trl", "trl", "Training in the trainers of TRL")

from datasets import Dataset  # noqa: E402
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer  # noqa: E402


IGNORED_LABEL = -100


class AuraSFTTrainer(SFTTrainer):
    """[`~trl.SFTTrainer`] for chats with audio parts.

    A row has `prompt` and `completion`, or `messages`, of which the last is the completion. The completion and the token that ends it are learnt, as
    `lm` of [`AuraTrainer`] learns an answer: never the prompt, nor an audio position.

    Args:
        model ([`AuraForSpeechQA`] or `str`): the student, its hub id or its folder. All that it trains is trained: LoRA and patch embedding.
        args ([`~trl.SFTConfig`], *optional*): longer rows than `max_length` are an error, as cut audio would be.
        data_collator, train_dataset, eval_dataset, kwargs: as in [`~trl.SFTTrainer`].
        processing_class ([`AuraProcessor`]): that of the student; loaded beside it when not given.

    Raises:
        ValueError: a setting asks for the prompt to be learnt too, or a row is too long or ends with nobody's answer.
    """

    def __init__(
        self,
        model: AuraForSpeechQA | str,
        args: SFTConfig | None = None,
        data_collator: Callable | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: AuraProcessor | None = None,
        **kwargs: Any,
    ) -> None:
        args = SFTConfig("aura-sft") if args is None else args
        if args.completion_only_loss is False:
            raise ValueError(
                "`completion_only_loss=False` would teach the student to say audio positions: leave it out."
            )
        processor = processing_class or AuraProcessor.from_pretrained(_name_of(model))
        super().__init__(
            _loaded(model, args),
            args,
            data_collator or SFTCollator(processor, args.max_length),
            train_dataset=_read_in_batches(train_dataset),
            eval_dataset=_read_in_batches(eval_dataset),
            processing_class=processor,
            **kwargs,
        )


class AuraDPOTrainer(DPOTrainer):
    """[`~trl.DPOTrainer`] for chats with audio parts: rows of `prompt`, `chosen` and `rejected`.

    Args:
        model ([`AuraForSpeechQA`] or `str`): as for [`AuraSFTTrainer`].
        ref_model ([`AuraForSpeechQA`], *optional*): what the student is compared with; the student as it comes when not given, which shares the weights
            of the base LLM with it.
        args ([`~trl.DPOConfig`], *optional*): longer rows than `max_length` are an error.
        data_collator, train_dataset, eval_dataset, kwargs: as in [`~trl.DPOTrainer`].
        processing_class ([`AuraProcessor`]): that of the student; loaded beside it when not given.

    Raises:
        ValueError: a row is too long or ends with nobody's answer.
    """

    def __init__(
        self,
        model: AuraForSpeechQA | str,
        ref_model: AuraForSpeechQA | None = None,
        args: DPOConfig | None = None,
        data_collator: Callable | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: AuraProcessor | None = None,
        **kwargs: Any,
    ) -> None:
        args = DPOConfig("aura-dpo") if args is None else args
        processor = processing_class or AuraProcessor.from_pretrained(_name_of(model))
        student = _loaded(model, args)
        if ref_model is None and kwargs.get("peft_config") is None:
            ref_model = _reference(student)
        super().__init__(
            student,
            ref_model,
            args,
            data_collator or DPOCollator(processor, args.max_length),
            train_dataset=_read_in_batches(train_dataset),
            eval_dataset=_read_in_batches(eval_dataset),
            processing_class=processor,
            **kwargs,
        )


class AuraGRPOTrainer(GRPOTrainer):
    """[`~trl.GRPOTrainer`] for prompts with audio parts: the completions that are rewarded are those of the student's own `generate`.

    Args:
        model ([`AuraForSpeechQA`] or `str`): as for [`AuraSFTTrainer`].
        reward_funcs: as in [`~trl.GRPOTrainer`]; they get the other columns of the rows, for instance the transcript.
        args ([`~trl.GRPOConfig`], *optional*): without `use_vllm`, which TRL hands no audio, and with `beta=0` (TRL's default), as TRL loads the reference
            model itself.
        train_dataset, eval_dataset, kwargs: as in [`~trl.GRPOTrainer`].
        processing_class ([`AuraProcessor`]): that of the student; loaded beside it when not given.

    Raises:
        ValueError: `use_vllm` or `beta` is set.
    """

    def __init__(
        self,
        model: AuraForSpeechQA | str,
        reward_funcs: Any,
        args: GRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: AuraProcessor | None = None,
        **kwargs: Any,
    ) -> None:
        args = GRPOConfig("aura-grpo") if args is None else args
        if args.use_vllm:
            raise ValueError(
                "`use_vllm=True` is not supported: TRL hands vLLM text and images, no audio. Leave it out."
            )
        if args.beta != 0:
            raise ValueError(
                f"`beta={args.beta}` is not supported: TRL would load the reference model as one of text. Use `beta=0.0`."
            )
        student = _loaded(model, args)
        self._clips: list[list[torch.Tensor]] = []
        student.config.image_token_id = student.config.audio_token_id  # what GRPOTrainer keeps from being sampled
        try:
            super().__init__(
                student,
                reward_funcs,
                args,
                train_dataset=train_dataset,
                eval_dataset=eval_dataset,
                processing_class=processing_class or AuraProcessor.from_pretrained(_name_of(model)),
                **kwargs,
            )
        finally:
            del student.config.image_token_id

    # Clips travel beside TRL's own columns, a list for each row, so that they are shuffled and split with the rows.

    def _tokenize_prompts(self, prompts: list) -> tuple[list[list[int]], None, dict[str, torch.Tensor]]:
        template_settings: Any = self.chat_template_kwargs
        rows = [
            self.processing_class.apply_chat_template(
                prompt,
                chat_template=self.chat_template,
                tools=self.tools or None,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                **template_settings,
            )
            for prompt in prompts
        ]
        self._clips = [_clips_of(row) for row in rows]
        return [row["input_ids"][0] for row in rows], None, _audio_inputs(self._clips)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        return {**output, "clips": [[clip.to(self.accelerator.device) for clip in row] for row in self._clips]}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._clips = inputs["clips"]
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        rows = iter(self._clips)

        def with_audio(input_ids: torch.Tensor, **inputs: Any) -> Any:
            audio = _audio_inputs([next(rows) for _ in input_ids])
            return model(
                input_ids=input_ids, **inputs, **{name: column.to(input_ids.device) for name, column in audio.items()}
            )

        return super()._get_per_token_logps_and_entropies(with_audio, input_ids, *args, **kwargs)


@dataclass
class SFTCollator:
    """Rows of `prompt` and `completion`, or of `messages`, as inputs of a student, right padded.

    Args:
        processor: of the student.
        max_length: most tokens of a row.

    A call returns `input_ids`, `attention_mask`, `labels` (`torch.LongTensor` of shape `(rows, sequence)`), and where there is audio `input_features`
    (`(audios, frames, mel bins)`) and `input_features_mask` (`(audios, frames)`).
    """

    processor: AuraProcessor
    max_length: int | None = None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        chats = [
            (row["messages"][:-1], row["messages"][-1:]) if "messages" in row else (row["prompt"], row["completion"])
            for row in rows
        ]
        completions = [_completion_tokens(self.processor, prompt, completion) for prompt, completion in chats]
        prompts, audio = _read_prompts(self.processor, [prompt for prompt, _ in chats])
        columns, is_completion = _joined(self.processor, prompts, completions, self.max_length)
        return {**columns, "labels": columns["input_ids"].masked_fill(~is_completion, IGNORED_LABEL), **audio}


@dataclass
class DPOCollator:
    """Rows of `prompt`, `chosen` and `rejected` as inputs of a student: all chosen answers, then all rejected ones, right padded.

    Args:
        processor: of the student.
        max_length: most tokens of a row.

    A call returns `input_ids`, `attention_mask`, `completion_mask` (`torch.LongTensor` of shape `(2 * rows, sequence)`), and audio as [`SFTCollator`].
    """

    processor: AuraProcessor
    max_length: int | None = None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        prompts, audio = _read_prompts(self.processor, [row["prompt"] for row in rows])
        completions = [
            _completion_tokens(self.processor, row["prompt"], row[kind])
            for kind in ("chosen", "rejected")
            for row in rows
        ]
        columns, is_completion = _joined(self.processor, prompts * 2, completions, self.max_length)
        return {
            **columns,
            "completion_mask": is_completion.long(),
            **{name: torch.cat([column] * 2) for name, column in audio.items()},
        }


def _read_prompts(
    processor: AuraProcessor, chats: list[Conversation]
) -> tuple[list[list[int]], dict[str, torch.Tensor]]:
    """The tokens of each prompt up to where the answer begins, and the audio of all."""
    inputs = processor.apply_chat_template(
        chats, tokenize=True, add_generation_prompt=True, return_dict=True, padding=False
    )
    return inputs["input_ids"], {
        name: torch.as_tensor(inputs[name]) for name in processor.feature_extractor.model_input_names if name in inputs
    }


def _completion_tokens(processor: AuraProcessor, prompt: Conversation, completion: Conversation) -> list[int]:
    """The tokens of an answer and of what ends it, as the chat template writes them."""
    if not completion or completion[-1]["role"] != "assistant":
        raise ValueError(f"A completion must end with a message of the assistant, got {completion!r:.200}.")
    before = processor.apply_chat_template(prompt, add_generation_prompt=True)
    whole = processor.apply_chat_template([*prompt, *completion])
    if not whole.startswith(before):
        raise ValueError(
            "The chat template writes a finished turn otherwise than an open one (a template for thinking?), so where the completion begins is not "
            "known. Pass the processor another `chat_template`."
        )
    ids = processor(text=whole[len(before) :], add_special_tokens=False, padding=False)["input_ids"][0]
    special = {index for index, token in processor.tokenizer.added_tokens_decoder.items() if token.special}
    ends = [index for index, token in enumerate(ids) if token in special]
    return ids[: ends[-1] + 1] if ends else [*ids, processor.tokenizer.eos_token_id]


def _joined(
    processor: AuraProcessor, prompts: Sequence[list[int]], completions: Sequence[list[int]], max_length: int | None
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """`input_ids` and `attention_mask` of prompts and their completions, right padded, and where the completions are."""
    rows = [torch.tensor([*prompt, *completion]) for prompt, completion in zip(prompts, completions, strict=True)]
    longest = max(map(len, rows))
    if max_length is not None and longest > max_length:
        raise ValueError(
            f"A row has {longest} tokens, `max_length` allows {max_length}. Rows with audio are never cut: set `max_length` higher or to None, or leave the "
            "row out."
        )
    positions = torch.arange(longest)
    is_token = torch.stack([positions < len(row) for row in rows])
    is_completion = is_token & torch.stack([positions >= len(prompt) for prompt in prompts])
    input_ids = pad_sequence(rows, batch_first=True, padding_value=processor.tokenizer.pad_token_id)
    return {"input_ids": input_ids, "attention_mask": is_token.long()}, is_completion


def _clips_of(inputs: Mapping[str, Any]) -> list[torch.Tensor]:
    """The features of each clip of a chat, `(frames, mel bins)`, without padding."""
    features, masks = inputs.get("input_features", ()), inputs.get("input_features_mask", ())
    return [torch.as_tensor(clip[mask]) for clip, mask in zip(features, masks, strict=True)]


def _audio_inputs(clips_of_rows: Sequence[Sequence[torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The clips of all rows as inputs of a student."""
    clips = [clip for row in clips_of_rows for clip in row]
    if not clips:
        return {}
    features = pad_sequence(clips, batch_first=True)
    lengths = torch.tensor([len(clip) for clip in clips])
    return {"input_features": features, "input_features_mask": torch.arange(features.shape[1]) < lengths[:, None]}


def _name_of(model: AuraForSpeechQA | str) -> str:
    """Where the student lies, whose processor is looked for."""
    return model if isinstance(model, str) else model.name_or_path


def _loaded(model: AuraForSpeechQA | str, args: SFTConfig | DPOConfig | GRPOConfig) -> AuraForSpeechQA:
    """The student; by its name in float32, if the arguments do not say otherwise, as TRL loads models."""
    if not isinstance(model, str):
        return model
    given = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    return AuraForSpeechQA.from_pretrained(model, **{"dtype": torch.float32, **given})


def _reference(student: AuraForSpeechQA) -> AuraForSpeechQA:
    """A frozen copy of what is trained, on the very weights of the base LLM."""
    shared = {id(parameter): parameter for parameter in student.parameters() if not parameter.requires_grad}
    return copy.deepcopy(student, shared).eval().requires_grad_(False)


def _read_in_batches(dataset: Any) -> Any:
    """The rows with an empty column `images`: TRL leaves such rows as they are until the data collator gets them."""
    if isinstance(dataset, dict):
        return {name: _read_in_batches(rows) for name, rows in dataset.items()}
    if dataset is None:
        return None
    if isinstance(dataset, Dataset):
        return dataset.add_column("images", [[]] * len(dataset))
    return dataset.map(lambda row: {**row, "images": []})
