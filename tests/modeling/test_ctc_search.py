"""The transcript that is found is the best of all by CTC and the LLMs together; by exhaustive search, where all can be counted."""

import itertools
import math

import pytest
import torch

from transformers_aura.modeling import ctc_search
from transformers_aura.modeling.ctc_search import CTCBeams, Opinion, search_transcripts


END = 0
TOKENS = (1, 2, 3)


class Reader:
    """Stands for an LLM's tree: what follows a text is drawn once for each text."""

    def __init__(self, seed: int, num_prompts: int) -> None:
        self._seed = seed
        self._read: list[set] = [set() for _ in range(num_prompts)]
        self.passes = 0

    def read(self, texts) -> None:
        self.passes += 1
        for known, new in zip(self._read, texts, strict=True):
            known.update(new)

    def log_probability(self, prompt: int, text: tuple[int, ...]) -> float:
        assert text in self._read[prompt]
        return self.likely(text)

    def end(self, prompt: int, text: tuple[int, ...]) -> float:
        assert text in self._read[prompt]
        return float(self.following(text)[END])

    def likely(self, text: tuple[int, ...]) -> float:
        return sum(float(self.following(text[:end])[token]) for end, token in enumerate(text))

    def following(self, text: tuple[int, ...]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash((self._seed, text)) % 2**32)
        return torch.randn(len(TOKENS) + 1, generator=generator, dtype=torch.double).mul(2).log_softmax(-1)


def heard(seed: int, steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    log_probabilities = torch.randn(steps, 2 + len(TOKENS), generator=generator, dtype=torch.double).mul(1.5)
    log_probabilities[:, 1 + END] = -100.0
    return log_probabilities.log_softmax(-1)


def by_ctc(log_probabilities: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of every transcript, over all ways to say it."""
    found: dict[tuple[int, ...], list[float]] = {}
    for path in itertools.product((0, *(1 + token for token in TOKENS)), repeat=len(log_probabilities)):
        text = tuple(symbol - 1 for symbol, _ in itertools.groupby(path) if symbol)
        found.setdefault(text, []).append(float(log_probabilities[range(len(path)), list(path)].sum()))
    return {text: float(torch.tensor(values).logsumexp(0)) for text, values in found.items()}


@pytest.mark.parametrize("audio_tokens_per_reading", [1, 2, 16])
@pytest.mark.parametrize(("ctc_weight", "weights"), [(1.0, ()), (0.5, (0.5,)), (0.4, (0.6, 0.3)), (0.0, (1.0,))])
def test_the_best_of_all_is_found(monkeypatch, audio_tokens_per_reading, ctc_weight, weights):
    monkeypatch.setattr(ctc_search, "BEAMS", 10**6)
    monkeypatch.setattr(ctc_search, "AUDIO_TOKENS_PER_READING", audio_tokens_per_reading)
    clips = [heard(seed, steps) for seed, steps in ((1, 6), (2, 3), (3, 5))]
    beams = [CTCBeams(clip, [END], ctc_weight) for clip in clips]
    readers = [Reader(seed, len(clips)) for seed in range(len(weights))]
    opinions = [Opinion(reader, [weight] * len(clips)) for reader, weight in zip(readers, weights, strict=True)]
    found = search_transcripts(beams, opinions)
    for text, clip in zip(found, clips, strict=True):

        def total(candidate: tuple[int, ...]) -> float:
            read = sum(
                weight * reader.likely((*candidate, END)) for reader, weight in zip(readers, weights, strict=True)
            )
            return ctc_weight * heard_alone[candidate] + read  # noqa: B023

        heard_alone = by_ctc(clip)
        best = max(heard_alone, key=total)
        assert text == best


def test_an_llm_that_is_not_asked_changes_nothing(monkeypatch):
    monkeypatch.setattr(ctc_search, "AUDIO_TOKENS_PER_READING", 2)
    clips = [heard(seed, 12) for seed in range(4)]

    def search(weights: list[float]) -> tuple[list, Reader]:
        beams = [CTCBeams(clip, [END], 0.5) for clip in clips]
        reader = Reader(7, len(clips))
        return search_transcripts(beams, [Opinion(reader, weights)]), reader

    alone, _ = search([0.0] * 4)
    asked, reader = search([1.0] * 4)
    mixed, _ = search([0.0, 1.0, 0.0, 1.0])
    assert alone != asked
    assert mixed == [alone[0], asked[1], alone[2], asked[3]]
    assert reader.passes == 6


def test_few_beams_and_silence(monkeypatch):
    monkeypatch.setattr(ctc_search, "BEAMS", 1)
    assert search_transcripts([CTCBeams(heard(5, 8), [END], 1.0)], [])[0]
    silence = torch.full((4, 2 + len(TOKENS)), -math.inf)
    silence[:, 0] = 0.0
    assert search_transcripts([CTCBeams(silence, [END], 1.0)], []) == [()]
