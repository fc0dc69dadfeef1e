"""The base LLM as the one whose answers the student learns to give from sound."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from tools.real_models import make_real_model
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE_MODEL = "smollm2-135m-instruct"


class LanguageModel:
    """A causal language model behind its own chat template."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", model: "PreTrainedModel") -> None:
        self.tokenizer = tokenizer
        self.model = model.eval()

    @classmethod
    def load(cls) -> "LanguageModel":
        """SmolLM2-135M-Instruct in bfloat16. Its folder is made by `tools/real_models.py` if it is not there."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = make_real_model(BASE_MODEL)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        return cls(AutoTokenizer.from_pretrained(folder), model)

    def reply(
        self,
        messages: Sequence[str],
        max_new_tokens: int,
        is_done: Callable[[str], bool],
        batch_size: int = 128,
    ) -> Iterator[tuple[int, str]]:
        """Greedy replies to user messages, each as `(index of the message, text)`, in the order in which they come to an end.

        A reply ends with the LLM's end token, when `is_done` holds for its text so far, or after `max_new_tokens`. Messages of equal
        length share a batch, so that nothing is padded; what all prompts begin with is computed once, and rows that ended are dropped.
        """
        from transformers import DynamicCache

        prompts = [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": message}], add_generation_prompt=True, return_dict=False
            )
            for message in messages
        ]
        shared = 0
        while len({tuple(prompt[: shared + 1]) for prompt in prompts}) == 1 and shared + 1 < min(map(len, prompts)):
            shared += 1
        with torch.inference_mode():
            prefix = DynamicCache(config=self.model.config)
            if shared:
                self.model(torch.tensor([prompts[0][:shared]]), logits_to_keep=1, **{CACHE_ARGUMENT: prefix})
            for batch in self._batches(prompts, batch_size):
                cache = copy.deepcopy(prefix)
                if shared:
                    cache.batch_repeat_interleave(len(batch))
                replies: dict[int, list[int]] = {index: [] for index in batch}
                tokens = torch.tensor([prompts[index][shared:] for index in batch])
                while batch:
                    logits = self.model(tokens, logits_to_keep=1, **{CACHE_ARGUMENT: cache}).logits[:, -1]
                    tokens = logits.argmax(dim=-1, keepdim=True)
                    going_on = []
                    for row, index in enumerate(batch):
                        token = int(tokens[row])
                        if token != self.tokenizer.eos_token_id:
                            replies[index].append(token)
                        text = self.tokenizer.decode(replies[index])
                        if (
                            token == self.tokenizer.eos_token_id
                            or is_done(text)
                            or len(replies[index]) == max_new_tokens
                        ):
                            yield index, text
                        else:
                            going_on.append(row)
                    if len(going_on) < len(batch):
                        batch = [batch[row] for row in going_on]
                        tokens = tokens[going_on]
                        if batch:
                            cache.batch_select_indices(torch.tensor(going_on))

    @staticmethod
    def _batches(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
        """Indices of up to `batch_size` prompts of equal length at a time."""
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
        for _, indices in sorted(by_length.items()):
            for start in range(0, len(indices), batch_size):
                yield indices[start : start + batch_size]
