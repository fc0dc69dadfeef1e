"""Writing a transcript down along the recording: what CTC heard up to a moment, weighed with what LLMs think of the words.

CTC prefix beam search of Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs" (2014), in
which the LLMs are asked once for all beams and several audio tokens, not once for each token that is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .token_tree import Text, TokenTree


BEAMS = 32
"""Beginnings of a transcript that are followed."""

AUDIO_TOKENS_PER_READING = 20
"""After so many audio tokens the LLMs read what is new."""

TOKENS_PER_STEP = 24
"""Tokens that one audio token may stand for."""

INAUDIBLE = -12.0
"""Natural log of the probability below which a token is taken for inaudible at an audio token."""

_NEVER = -math.inf


@dataclass
class Opinion:
    """What an LLM thinks of transcripts.

    Attributes:
        tree: that reads them.
        weights: of each prompt; 0 where it is not asked.
    """

    tree: TokenTree
    weights: Sequence[float]


class CTCBeams:
    """The likeliest beginnings of one clip's transcript.

    Args:
        log_probabilities: of the blank (column 0) and of every token (its id + 1) at every audio token, `(steps, 1 + vocabulary)`.
        eos_token_ids: tokens that end a transcript.
        ctc_weight: of what CTC heard.
    """

    def __init__(self, log_probabilities: torch.Tensor, eos_token_ids: Sequence[int], ctc_weight: float) -> None:
        likeliest = log_probabilities[:, 1:].topk(min(TOKENS_PER_STEP, log_probabilities.shape[1] - 1))
        self._blanks = log_probabilities[:, 0].double().tolist()
        self._tokens = [
            [
                (token, value)
                for token, value in zip(tokens, values, strict=True)
                if value > INAUDIBLE and token not in eos_token_ids
            ]
            for tokens, values in zip(likeliest.indices.tolist(), likeliest.values.double().tolist(), strict=True)
        ]
        self._says = [dict(step) for step in self._tokens]
        self.tokens = sorted({token for step in self._tokens for token, _ in step})
        """Of which transcripts may consist."""
        self._weight = ctc_weight
        self._step = 0
        self._beams: dict[Text, tuple[float, float]] = {(): (0.0, _NEVER)}  # ends on a blank, on its last token
        self._opinions: dict[Text, float] = {(): 0.0}

    @property
    def ended(self) -> bool:
        """Whether the whole clip has been heard."""
        return self._step == len(self._blanks)

    @property
    def texts(self) -> list[Text]:
        """The beginnings that are followed."""
        return list(self._beams)

    def listen(self, num_steps: int) -> None:
        """Goes on by so many audio tokens; what is new is thought of as well as what it begins with."""
        for step in range(self._step, min(self._step + num_steps, len(self._blanks))):
            self._hear(self._blanks[step], self._tokens[step], self._says[step])
        self._step = min(self._step + num_steps, len(self._blanks))

    def _hear(self, blank: float, tokens: list[tuple[int, float]], says: dict[int, float]) -> None:
        found: dict[Text, list[float]] = {}
        for text, (on_blank, on_token) in self._beams.items():
            either = _log_add(on_blank, on_token)
            last = text[-1] if text else None
            same = found.setdefault(text, [_NEVER, _NEVER])
            same[0] = _log_add(same[0], either + blank)
            if last in says:
                same[1] = _log_add(same[1], on_token + says[last])
            for token, value in tokens:
                before = on_blank if token == last else either
                if before == _NEVER:
                    continue
                longer = (*text, token)
                if longer in found:
                    found[longer][1] = _log_add(found[longer][1], before + value)
                else:
                    found[longer] = [_NEVER, before + value]
                    if longer not in self._opinions:
                        self._opinions[longer] = self._opinions[text]
        self._beams = {text: (ends[0], ends[1]) for text, ends in found.items()}
        self._keep_best()

    def think(self, prompt: int, opinions: Sequence[Opinion]) -> None:
        """Takes over what LLMs think of the beginnings, which they have read."""
        self._opinions = {
            text: sum(
                opinion.weights[prompt] * opinion.tree.log_probability(prompt, text)
                for opinion in opinions
                if opinion.weights[prompt]
            )
            for text in self._beams
        }
        self._keep_best()

    def best(self, prompt: int, opinions: Sequence[Opinion]) -> Text:
        """The best transcript of the whole clip: its end is thought of, too."""

        def score(text: Text) -> float:
            return self._score(text) + sum(
                opinion.weights[prompt] * opinion.tree.end(prompt, text)
                for opinion in opinions
                if opinion.weights[prompt]
            )

        return max(self._beams, key=score)

    def _keep_best(self) -> None:
        best = sorted(self._beams, key=self._score, reverse=True)[:BEAMS]
        self._beams = {text: self._beams[text] for text in best}
        self._opinions = {text: self._opinions[text] for text in best}

    def _score(self, text: Text) -> float:
        return self._weight * _log_add(*self._beams[text]) + self._opinions[text]


def search_transcripts(beams: Sequence[CTCBeams], opinions: Sequence[Opinion]) -> list[Text]:
    """The best transcript of each clip."""
    while True:
        for clip in beams:
            clip.listen(AUDIO_TOKENS_PER_READING)
        for opinion in opinions:
            asked = zip(beams, opinion.weights, strict=True)
            opinion.tree.read([clip.texts if weight else () for clip, weight in asked])
        for prompt, clip in enumerate(beams):
            clip.think(prompt, opinions)
        if all(clip.ended for clip in beams):
            return [clip.best(prompt, opinions) for prompt, clip in enumerate(beams)]


def _log_add(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a if b == _NEVER else a + math.log1p(math.exp(b - a))
