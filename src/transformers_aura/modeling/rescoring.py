"""What the base LLM thinks of several texts behind a prompt: all of them in one pass, as a prefix tree, and of all rows with that prompt as one tree.

Tree attention of Miao et al., "SpecInfer: Accelerating Large Language Model Serving with Tree-based Speculative Inference and Verification" (ASPLOS 2024): tokens
that several texts start with are computed once, and each token attends to the prompt, to the tokens before it in its own text, and to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.masking_utils import create_masks_for_generate

from .cache_argument import CACHE_ARGUMENT, caches_every_token


@dataclass(frozen=True)
class Candidates:
    """
    A prompt and texts that may stand behind it.

    Attributes:
        prompt: token ids, at least one.
        texts: token ids of each text, none of them empty.
    """

    prompt: list[int]
    texts: list[list[int]]


@dataclass(frozen=True)
class TextCache:
    """
    Keys and values of a text that the base LLM has processed: `generate` goes on from them.

    Attributes:
        input_ids: the text's token ids.
        cache: of one row.
    """

    input_ids: list[int]
    cache: DynamicCache

    def first(self, num_tokens: int) -> DynamicCache:
        """Keys and values of the first so many tokens; they are shared, not copied."""
        return _of_columns(self.cache, slice(None), slice(num_tokens))


@dataclass(frozen=True)
class Scores:
    """
    What the base LLM thinks of the texts of one prompt.

    Attributes:
        log_probabilities: natural log of the probability of each text behind the prompt, the end of the text included where one was asked for.
        text_cache: gives the [`TextCache`] of the prompt with one of the texts, by its place.
    """

    log_probabilities: list[float]
    text_cache: Callable[[int], TextCache]


def can_score_texts(language_model: PreTrainedModel) -> bool:
    """Whether a token of this LLM can be shown any of the tokens before it: not behind a sliding window or in linear attention, and not by flash attention."""
    config = language_model.config
    return "flash" not in (config._attn_implementation or "") and caches_every_token(config)


class _Tree:
    """One row of the pass: the prompt's tokens, then each token that some texts have in common once."""

    def __init__(self, prompt: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        self.tokens = list(prompt)
        self.columns_seen = [list(range(column + 1)) for column in range(len(self.tokens))]
        self.positions = list(range(len(self.tokens)))
        start = len(self.tokens) - 1
        children: dict[tuple[int, int], int] = {}
        self.paths: list[list[int]] = []
        """Columns of each text, behind the prompt's last one."""
        for text in texts:
            column, path = start, []
            for token in text:
                child = children.get((column, token))
                if child is None:
                    child = len(self.tokens)
                    children[column, token] = child
                    self.tokens.append(token)
                    self.columns_seen.append([*self.columns_seen[column], child])
                    self.positions.append(self.positions[column] + 1)
                column = child
                path.append(column)
            self.paths.append(path)
        self.prompt_length = start + 1

    def followers(self, text: int) -> list[int]:
        """Columns behind which the tokens of a text, and its end, are expected."""
        return [self.prompt_length - 1, *self.paths[text]]


@torch.no_grad()
def score_texts(
    language_model: PreTrainedModel,
    compute_logits: Callable[[torch.Tensor], torch.Tensor],
    rows: Sequence[Candidates],
    end: int | None,
) -> list[Scores]:
    """
    Scores the texts of every row in one pass of the LLM. Rows with the same prompt, such as the chunks of a recording, cost it once and no padding.

    Args:
        language_model: headless, called as it is: LoRA does not act.
        compute_logits: its head, `(..., hidden)` to `(..., vocabulary)`.
        rows: prompts and texts.
        end: id of the token that ends a text; `None` = the end of a text is not scored.
    """
    of_prompts: dict[tuple[int, ...], list[list[int]]] = {}
    places = []  # of each row: its tree, and its texts there
    for row in rows:
        texts = of_prompts.setdefault(tuple(row.prompt), [])
        places.append((list(of_prompts).index(tuple(row.prompt)), range(len(texts), len(texts) + len(row.texts))))
        texts += row.texts
    trees = [_Tree(prompt, texts) for prompt, texts in of_prompts.items()]
    longest = max(len(tree.tokens) for tree in trees)
    input_ids = torch.zeros(len(trees), longest, dtype=torch.long)
    positions = torch.zeros_like(input_ids)
    visible = torch.eye(longest, dtype=torch.bool).repeat(len(trees), 1, 1)  # padding sees itself, and nothing sees it
    for number, tree in enumerate(trees):
        count = len(tree.tokens)
        input_ids[number, :count] = torch.tensor(tree.tokens)
        positions[number, :count] = torch.tensor(tree.positions)
        for column, seen in enumerate(tree.columns_seen):
            visible[number, column, seen] = True
    device = language_model.get_input_embeddings().weight.device
    input_ids, positions, visible = input_ids.to(device), positions.to(device), visible.to(device)
    cache = DynamicCache(config=language_model.config)
    masks = create_masks_for_generate(
        config=language_model.config,
        inputs_embeds=language_model.get_input_embeddings().weight.new_empty(len(trees), longest, 1),
        attention_mask=None,
        position_ids=positions,
        and_mask_function=lambda row, head, query, key: visible[row, query, key],
        **{CACHE_ARGUMENT: cache},
    )
    states = language_model(
        input_ids=input_ids, attention_mask=masks, position_ids=positions, use_cache=True, **{CACHE_ARGUMENT: cache}
    ).last_hidden_state
    return [_scores(states[tree], trees[tree], texts, compute_logits, end, cache, tree) for tree, texts in places]


def _scores(
    states: torch.Tensor,
    tree: _Tree,
    texts: Sequence[int],
    compute_logits: Callable[[torch.Tensor], torch.Tensor],
    end: int | None,
    cache: DynamicCache,
    row: int,
) -> Scores:
    """Of some texts of a tree, which is a row of the pass."""
    columns = sorted({column for text in texts for column in tree.followers(text)})
    place = {column: number for number, column in enumerate(columns)}
    log_probabilities = compute_logits(states[columns]).float().log_softmax(-1).cpu()
    found = []
    for text in texts:
        expected = [tree.tokens[column] for column in tree.paths[text]] + ([] if end is None else [end])
        before = [place[column] for column in tree.followers(text)][: len(expected)]
        found.append(float(log_probabilities[before, expected].sum()))

    def text_cache(text: int) -> TextCache:
        columns = [*range(tree.prompt_length), *tree.paths[texts[text]]]
        kept = _of_columns(cache, slice(row, row + 1), torch.tensor(columns, device=states.device))
        return TextCache([tree.tokens[column] for column in columns], kept)

    return Scores(found, text_cache)


def _of_columns(cache: DynamicCache, rows: slice, columns: slice | torch.Tensor) -> DynamicCache:
    kept = DynamicCache()
    for number, layer in enumerate(cache.layers):
        kept.update(layer.keys[rows][:, :, columns], layer.values[rows][:, :, columns], number)
    return kept


__all__ = ["Candidates", "Scores", "TextCache", "can_score_texts", "score_texts"]
