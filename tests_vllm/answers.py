"""Greedy answers to recordings, from vLLM and from transformers, as token ids."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

from transformers_aura import AuraForSpeechQA, AuraProcessor, build_conversation


SETTINGS = {"dtype": "float32", "enforce_eager": True, "max_model_len": 1024, "disable_log_stats": True}


def prompt_of(processor: AuraProcessor, question: str | None) -> str:
    """The rendered chat of a recording and a written question."""
    return processor.apply_chat_template(build_conversation(np.zeros(0), question), add_generation_prompt=True)


def from_vllm(
    model: Path,
    clips: Sequence[np.ndarray],
    question: str | None = None,
    num_tokens: int = 12,
    texts: Sequence[str] = (),
    adapter: Path | None = None,
    may_end: bool = False,
    **settings: Any,
) -> tuple[list[list[int]], list[list[int]]]:
    """Answers to clips, with an adapter if there is one, and to texts, without; all in one batch of one engine."""
    processor = AuraProcessor.from_pretrained(model)
    prompt = prompt_of(processor, question)
    prompts: list[Any] = [{"prompt": prompt, "multi_modal_data": {"audio": (clip, 16_000)}} for clip in clips]
    lora: list[Any] = [None] * (len(clips) + len(texts))
    if adapter is not None:
        from vllm.lora.request import LoRARequest

        lora = [LoRARequest("ears", 1, str(adapter))] * len(clips) + [None] * len(texts)
        # One place for adapters more than there are: vLLM's code for CPUs takes the last one for requests without.
        settings |= {"enable_lora": True, "max_lora_rank": 8, "max_loras": 2}
    engine = LLM(str(model), **(SETTINGS | settings))
    sampling = SamplingParams(temperature=0, max_tokens=num_tokens, min_tokens=0 if may_end else num_tokens)
    outputs = engine.generate([*prompts, *texts], sampling, lora_request=lora, use_tqdm=False)
    answers = [list(output.outputs[0].token_ids) for output in outputs]
    engine.llm_engine.engine_core.shutdown()
    del engine
    cleanup_dist_env_and_memory()
    return answers[: len(clips)], answers[len(clips) :]


def from_transformers(
    model: Path, clips: Sequence[np.ndarray], question: str | None = None, num_tokens: int = 12
) -> list[list[int]]:
    """The same by `generate`, one by one."""
    student, processor = AuraForSpeechQA.from_pretrained(model, dtype="float32"), AuraProcessor.from_pretrained(model)
    prompt = prompt_of(processor, question)
    settings = {"max_new_tokens": num_tokens, "min_new_tokens": num_tokens, "do_sample": False}
    settings["eos_token_id"] = processor.tokenizer.eos_token_id
    answers = []
    for clip in clips:
        inputs = processor(text=prompt, audio=clip, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            tokens = student.generate(**inputs, **settings)
        answers.append(tokens[0, inputs["input_ids"].shape[1] :].tolist())
    return answers
