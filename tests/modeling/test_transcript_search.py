"""The transcript that is found is the best of all by letters, tokens and LLMs; by exhaustive search, where all can be counted."""

import itertools

import numpy as np
import pytest
import torch

from transformers_aura.modeling import transcript_search
from transformers_aura.modeling.ctc_forward import CTCForward, Forward
from transformers_aura.modeling.spelling import LETTERS, UNSPELLED, SpelledVocabulary
from transformers_aura.modeling.transcript_search import ClipSearch, Weights, search_transcripts


END = 0
TEXTS = [None, "a", " a", "b", " ba", "?", "7", " "]
VOCABULARY = SpelledVocabulary(TEXTS)
WEIGHTS = Weights(letters=0.8, tokens=0.5, hears=0.5, reads=0.4)


class Trees:
    """Stands for LLMs' trees: what follows a text is drawn once for each prompt and text."""

    def __init__(self, num_prompts: int) -> None:
        self._read: list[set] = [{()} for _ in range(num_prompts)]
        self.asked: list[int] = [0] * num_prompts
        self.passes = 0

    def keep(self, texts) -> None:
        for known, of_prompt in zip(self._read, texts, strict=True):
            assert known.issuperset(of_prompt)

    def read(self, texts) -> list[np.ndarray]:
        self.passes += 1
        for prompt, of_prompt in enumerate(texts):
            for text in of_prompt:
                assert text[:-1] in self._read[prompt]
                assert text not in self._read[prompt]
                self._read[prompt].add(text)
                self.asked[prompt] += 1
        return [
            np.array([self.following(prompt, text) for text in of_prompt]) for prompt, of_prompt in enumerate(texts)
        ]

    def following(self, prompt: int, text: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([prompt, *text])
        return torch.tensor(generator.normal(scale=1.0, size=len(TEXTS))).log_softmax(-1).numpy()

    def whole(self, prompt: int, text: tuple[int, ...]) -> float:
        return sum(float(self.following(prompt, text[:n])[token]) for n, token in enumerate((*text, END)))


def heard(steps: int, symbols: int, said: list[int], seed: int) -> np.ndarray:
    """Log-probabilities of a clip in which some symbols are said, each two steps apart, and not all of them clearly."""
    logits = np.random.default_rng(seed).normal(size=(steps, symbols))
    logits[:, 0] += 3.0
    for place, symbol in enumerate(said):
        logits[2 * place + 1, symbol] += 6.0
    return torch.tensor(logits).log_softmax(-1).numpy()


def search(said: str, tokens: list[int], seed: int, steps: int = 14, audio_tokens: int = 8) -> ClipSearch:
    letters = [1 + LETTERS.index(letter) for letter in said]
    return ClipSearch(
        heard(steps, 1 + len(LETTERS), letters, seed), heard(audio_tokens, 1 + len(TEXTS), [1 + token for token in tokens], seed + 1),
        VOCABULARY, [END], WEIGHTS, steps_per_second=50.0,
    )  # fmt: skip


def one_longer(forward: CTCForward, before: Forward, last: int, symbol: int, empty: bool) -> Forward:
    one = Forward.stack([before])
    return forward.extend(one, np.array([last]), np.array([symbol]), np.array([empty]))[0]


def fit(forward: CTCForward, symbols: list[int]) -> float:
    text = forward.nothing()
    for place, symbol in enumerate(symbols):
        if symbol == UNSPELLED:
            again = place > 0 and symbols[place - 1] == UNSPELLED
            text = text if again else forward.anything(text, place == 0, transcript_search.NUMBER_FIT)
        else:
            text = one_longer(forward, text, symbols[place - 1] if place else 0, symbol, place == 0)
    return forward.fits_whole(text)


def score(clip: ClipSearch, trees: Trees, prompts: tuple[int, int], text: tuple[int, ...]) -> float:
    spelled: list[int] = []
    apart = False
    for token in text:
        piece = VOCABULARY.pieces[token]
        if spelled and piece.symbols and (apart or piece.begins_apart):
            spelled.append(1)
        spelled += piece.symbols
        apart = piece.ends_apart
    return (
        WEIGHTS.letters * fit(clip._letters, spelled)
        + WEIGHTS.tokens * fit(clip._tokens, [1 + token for token in text])
        + WEIGHTS.hears * trees.whole(prompts[0], text)
        + WEIGHTS.reads * trees.whole(prompts[1], text)
    )


def could_be_written(text: tuple[int, ...]) -> bool:
    """No punctuation behind another or at the beginning, no number behind letters or the end of a sentence."""
    return all(
        (VOCABULARY.pieces[token].symbols or (place and VOCABULARY.pieces[text[place - 1]].symbols))
        and (TEXTS[token] != "7" or not place or TEXTS[text[place - 1]] in ("7", " "))
        for place, token in enumerate(text)
    )


ALL = [
    text
    for length in range(5)
    for text in itertools.product(range(1, len(TEXTS)), repeat=length)
    if could_be_written(text)
]


@pytest.fixture
def unlimited(monkeypatch):
    for name in ("BEAMS", "BEAMS_PER_MOMENT", "TOKENS_PER_BEAM"):
        monkeypatch.setattr(transcript_search, name, 10**6)
    for name in ("WORST", "WORST_LETTERS", "BACK", "AHEAD", "TOKENS_BACK", "TOKENS_AHEAD"):
        monkeypatch.setattr(transcript_search, name, 100.0)
    monkeypatch.setattr(transcript_search, "OTHERS_HEARD", -100.0)


def test_the_best_of_all_is_found(unlimited):
    clips = [search("a ba", [1, 4, 5], 1), search("ba a", [3, 1, 2], 5), search("a", [1], 9, steps=6, audio_tokens=4)]
    trees = Trees(6)
    start = np.array([trees.following(prompt, ()) for prompt in range(6)])
    found = search_transcripts(clips, trees, start, [True, True, True])
    for number, (clip, text) in enumerate(zip(clips, found, strict=True)):
        prompts = (number, 3 + number)
        best = max(ALL, key=lambda candidate: score(clip, trees, prompts, candidate))
        assert text == best
        assert text


def test_what_is_spelled_as_it_was_heard_is_written_though_the_tokens_say_another():
    clip = search("ba", [2], 1)
    trees = Trees(2)
    trees.following = lambda prompt, text: np.full(len(TEXTS), -np.log(len(TEXTS)))
    found = search_transcripts([clip], trees, np.full((2, len(TEXTS)), -np.log(len(TEXTS))), [True])
    assert found == [(4,)]
    assert trees.passes < 20


def test_an_llm_that_is_not_asked_reads_nothing():
    clips = [search("a ba", [1, 4], 1), search("ba a", [4, 2], 5)]
    trees = Trees(4)
    start = np.array([trees.following(prompt, ()) for prompt in range(4)])
    search_transcripts(clips, trees, start, [False, True])
    assert trees.asked[2] == 0
    assert all(trees.asked[prompt] for prompt in (0, 1, 3))


def test_digits_fit_what_nobody_can_spell():
    clip = search("abbab a", [6, 2], 3)
    trees = Trees(2)
    digits = np.full(len(TEXTS), -9.0)
    digits[[2, 6, END]] = -1.0
    trees.following = lambda prompt, text: digits
    found = search_transcripts([clip], trees, np.array([digits, digits]), [True])
    assert found == [(6, 2)]


def silence(steps: int, symbols: int) -> np.ndarray:
    return torch.tensor([[12.0] + [0.0] * (symbols - 1)] * steps).log_softmax(-1).numpy()


@pytest.mark.parametrize("cough", [False, True])
def test_words_behind_a_long_pause_are_found(cough):
    """Of eight seconds in which nothing is said, or but for a sound that is no word."""
    trees = Trees(2)
    following = np.full(len(TEXTS), -np.log(len(TEXTS)))
    trees.following = lambda prompt, text: following
    letters = np.concatenate([silence(400, 1 + len(LETTERS)), heard(14, 1 + len(LETTERS), [3, 2], 3)])
    tokens = np.concatenate([silence(100, 1 + len(TEXTS)), heard(4, 1 + len(TEXTS), [5], 5)])
    if cough:  # somewhat like a letter that no token has, hardly like silence, not at all like another
        letters[20] = -16.0
        letters[20, [0, 9]] = np.log([0.02, 0.98])
    clip = ClipSearch(letters, tokens, VOCABULARY, [END], WEIGHTS, steps_per_second=50.0)
    assert search_transcripts([clip], trees, np.stack([following] * 2), [True]) == [(4,)]
    assert trees.passes < 20
