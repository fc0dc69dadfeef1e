"""The base LLM, as a writer of sentences and as the one whose answers the student learns to give from sound."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from tools.real_models import make_real_model


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE_MODEL = "smollm2-135m-instruct"


class LanguageModel:
    """SmolLM2-135M-Instruct in bfloat16, behind its own chat template. Its folder is made by `tools/real_models.py` if it is not there."""

    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = make_real_model(BASE_MODEL)
        self.tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()

    def reply(
        self,
        messages: Sequence[str],
        max_new_tokens: int,
        batch_size: int = 64,
        temperature: float | None = None,
    ) -> Iterator[list[str]]:
        """Yields the replies to `batch_size` user messages at a time, in order.

        Greedy without `temperature`; sampled with torch's global random state (`torch.manual_seed`) with it.
        """
        sampling = {"do_sample": False} if temperature is None else {"do_sample": True, "temperature": temperature}
        for start in range(0, len(messages), batch_size):
            prompts = [
                self.tokenizer.apply_chat_template(
                    [{"role": "user", "content": message}], add_generation_prompt=True, tokenize=False
                )
                for message in messages[start : start + batch_size]
            ]
            inputs = self.tokenizer(prompts, padding=True, add_special_tokens=False, return_tensors="pt")
            with torch.inference_mode():
                tokens = self.model.generate(**inputs, max_new_tokens=max_new_tokens, **sampling)
            yield self.tokenizer.batch_decode(tokens[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
