"""The search for the texts that explain character emissions best: a CTC prefix beam search over words, with token scorers at every word's end.

Prefix beam search of Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs" (arXiv 1408.2873): a
hypothesis is a sequence of characters, with the probabilities that it ends on a blank and on its last character. Words are scored when they end, as the tokens
that the LLM's own tokenizer makes of them; until then the likeliest word that begins so stands for them (look-ahead in a lexicon trie). Where a script has no
blanks between words, all of a text is one word that no lexicon has, so no penalty is taken for that: the tokens are scored at its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alphabet import BLANK, GAP, CharacterAlphabet
from .config import DecodingConfig
from .ctc import NEVER, Emissions
from .lexicon import LexiconTrie, Word
from .scorers import TokenScorer
from .scripts import is_written_without_blanks


@dataclass(frozen=True)
class Hypothesis:
    """
    A text that may have been said.

    Attributes:
        tokens: ids of its tokens.
        words: its words as they are written, without punctuation.
        labelling: its characters, as symbols of the alphabet: the words with a gap between two.
        ctc_log_probability: natural log of the probability of its characters, by the emissions alone.
        score: all that speaks for it, weighed.
    """

    tokens: tuple[int, ...]
    words: tuple[str, ...]
    labelling: tuple[int, ...]
    ctc_log_probability: float
    score: float


@dataclass(frozen=True, slots=True)
class _OtherForm:
    """The second likeliest form of a word: which word of the text, where its tokens stand there, the form's own tokens, and what it loses."""

    word: int
    tokens: slice
    form: str
    form_tokens: tuple[int, ...]
    loss: float


@dataclass(slots=True)
class _Words:
    """The whole words of hypotheses: tokens, forms, states of the scorers, the weighed score so far, and other forms."""

    tokens: tuple[int, ...]
    forms: tuple[str, ...]
    states: list[Any]
    score: float
    others: tuple[_OtherForm, ...] = ()


class WordForms:
    """
    How words are written and tokenised; remembers what it was asked.

    Args:
        lexicon: words with their forms; another word is written as it sounds, in lower case and with a capital.
        alphabet: of the emissions.
        tokenize: token ids of each of some texts.
    """

    def __init__(
        self, lexicon: LexiconTrie, alphabet: CharacterAlphabet, tokenize: Callable[[list[str]], list[list[int]]]
    ) -> None:
        self.lexicon = lexicon
        self.alphabet = alphabet
        self._tokenize = tokenize
        self._known: dict[tuple[Word, bool], list[tuple[str, list[int]]]] = {}

    def look_up(self, wanted: Sequence[tuple[Word, bool]]) -> list[list[tuple[str, list[int]]]]:
        """Forms and tokens of each word; `True` = it is the first of its text, so no space stands before it."""
        new = list(dict.fromkeys(key for key in wanted if key not in self._known))
        forms = [self._forms(word, is_first) for word, is_first in new]
        texts = [
            form if is_first else " " + form
            for (_, is_first), of_word in zip(new, forms, strict=True)
            for form in of_word
        ]
        tokens = iter(self._tokenize(texts) if texts else [])
        for key, of_word in zip(new, forms, strict=True):
            self._known[key] = [(form, next(tokens)) for form in of_word]
        return [self._known[key] for key in wanted]

    def _forms(self, word: Word, is_first: bool) -> list[str]:
        forms = list(self.lexicon.forms.get(word, ()))
        if not forms:
            plain = "".join(self.alphabet.characters[symbol - 1] for symbol in word)
            forms = [plain, plain.capitalize()]
        if is_first:
            forms = [form[0].upper() + form[1:] for form in forms] + forms
        return list(dict.fromkeys(forms))


class BeamSearch:
    """
    A search over one recording's emissions.

    Args:
        forms: words, their forms and tokens.
        scorers: each with its weight.
        closing_tokens: ids of the punctuation that may end the text.
        config: beams, thresholds and weights.
    """

    def __init__(
        self,
        forms: WordForms,
        scorers: Sequence[tuple[TokenScorer, float]],
        closing_tokens: Sequence[int],
        config: DecodingConfig,
    ) -> None:
        self._forms = forms
        self._lexicon = forms.lexicon
        self._scorers = list(scorers)
        self._closing_tokens = list(closing_tokens)
        if is_written_without_blanks(forms.alphabet.characters):
            config = replace(config, unknown_word_penalty=0.0, unknown_character_penalty=0.0)
        self._config = config

    def search(self, emissions: Emissions) -> list[Hypothesis]:
        """
        The best hypotheses, at most `beam_size`, the best first.

        Args:
            emissions: natural log of the probability of the blank and of every character at each frame, `(frames, 1 + characters)`.
        """
        beam = _Beam(_Words((), (), [scorer.start() for scorer, _ in self._scorers], 0.0))
        for frame in emissions.astype(np.float64):
            self._advance(beam, frame)
        return self._finish(beam)

    def _advance(self, beam: _Beam, frame: NDArray[np.float64]) -> None:
        config, nodes = self._config, beam.nodes
        symbols = beam.symbol[nodes]
        total = np.logaddexp(beam.on_blank, beam.on_symbol)
        on_blank = total + frame[BLANK]
        on_symbol = np.where(symbols == BLANK, NEVER, beam.on_symbol + frame[symbols])
        characters = 1 + np.flatnonzero(frame[1:] > frame.max() - config.symbol_threshold)
        if not len(characters):
            beam.on_blank, beam.on_symbol = on_blank, on_symbol
            return
        longer = (
            np.where(symbols[:, None] == characters[None], beam.on_blank[:, None], total[:, None]) + frame[characters]
        )
        if characters[0] == GAP:  # none at the start, and none behind another
            longer[(symbols == GAP) | (nodes == 0), 0] = NEVER
        self._merge(beam, nodes, symbols, characters, longer, on_symbol)

        children = self._lexicon.children(beam.trie[nodes], characters)
        words = beam.word_scores[beam.words_of[nodes]]
        unknown = config.unknown_word_penalty + config.unknown_character_penalty * (1 + beam.length[nodes])
        is_unknown = children == self._lexicon.nowhere
        ngram = config.ngram_weight * np.where(is_unknown, 0.0, self._lexicon.lookahead[children])
        text = words[:, None] + np.where(is_unknown, -unknown[:, None], ngram)
        if characters[0] == GAP:
            text[:, 0] = beam.text_score[nodes]  # until the word is scored
        stay = config.character_weight * np.logaddexp(on_blank, on_symbol) + beam.text_score[nodes]
        scores = np.concatenate([stay, (config.character_weight * longer + text).ravel()])
        kept = self._best(scores)
        old, new = kept[kept < len(nodes)], kept[kept >= len(nodes)] - len(nodes)
        rows, columns = np.divmod(new, len(characters))
        new_nodes = self._new_nodes(
            beam, nodes[rows], characters[columns], children[rows, columns], text[rows, columns]
        )
        beam.nodes = np.concatenate([nodes[old], new_nodes])
        beam.on_blank = np.concatenate([on_blank[old], np.full(len(new), NEVER)])
        beam.on_symbol = np.concatenate([on_symbol[old], longer[rows, columns]])

    def _best(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        size = min(self._config.beam_size, len(scores))
        kept = np.argpartition(-scores, size - 1)[:size]
        return np.sort(kept[scores[kept] >= scores.max() - self._config.beam_threshold])

    @staticmethod
    def _merge(
        beam: _Beam,
        nodes: NDArray[np.int64],
        symbols: NDArray[np.int64],
        characters: NDArray[np.int64],
        longer: NDArray[np.float64],
        on_symbol: NDArray[np.float64],
    ) -> None:
        """Adds what leads to a hypothesis that is there already to it."""
        place = np.full(beam.count, -1)
        place[nodes] = np.arange(len(nodes))
        column = np.full(max(int(symbols.max()), int(characters[-1])) + 1, -1)
        column[characters] = np.arange(len(characters))
        rows, columns = np.where(nodes > 0, place[beam.parent[nodes]], -1), column[symbols]
        there = np.flatnonzero((rows >= 0) & (columns >= 0))
        rows, columns = rows[there], columns[there]
        on_symbol[there] = np.logaddexp(on_symbol[there], longer[rows, columns])
        longer[rows, columns] = NEVER

    def _new_nodes(
        self,
        beam: _Beam,
        parents: NDArray[np.int64],
        symbols: NDArray[np.int64],
        children: NDArray[np.int64],
        text: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """The node of each parent with a symbol more; one that was left before is found again."""
        found = np.zeros(len(parents), dtype=np.int64)
        ended = []
        for index, (parent, symbol) in enumerate(zip(parents.tolist(), symbols.tolist(), strict=True)):
            node = beam.children.get((parent, symbol))
            if node is None and symbol == GAP:
                ended.append(index)
            elif node is None:
                node = beam.add(parent, symbol, int(children[index]), float(text[index]))
            found[index] = -1 if node is None else node
        words = self._end_words(beam, [int(parents[index]) for index in ended])
        for index, of_one in zip(ended, words, strict=True):
            found[index] = beam.add_words(int(parents[index]), of_one)
        return found

    def _end_words(self, beam: _Beam, nodes: Sequence[int]) -> list[_Words]:
        """The whole words of hypotheses whose last word ends here: its likeliest form is taken."""
        if not nodes:
            return []
        config = self._config
        before = [beam.words[beam.words_of[node]] for node in nodes]
        last = [beam.last_word(node) for node in nodes]
        forms = self._forms.look_up([(word, not words.tokens) for word, words in zip(last, before, strict=True)])
        jobs = [(place, form, tokens) for place, of_word in enumerate(forms) for form, tokens in of_word]
        states, scores = self._extend(
            [before[place].states for place, _, _ in jobs], [tokens for _, _, tokens in jobs]
        )
        best: dict[int, _Words] = {}
        second: dict[int, tuple[float, str, tuple[int, ...]]] = {}
        for (place, form, tokens), of_one, score in zip(jobs, states, scores.tolist(), strict=True):
            words, word = before[place], last[place]
            total = words.score + score + config.word_bonus
            if word not in self._lexicon.forms:
                total -= config.unknown_word_penalty + config.unknown_character_penalty * len(word)
            if place not in best or total > best[place].score:
                if place in best:
                    old = best[place]
                    second[place] = old.score, old.forms[-1], old.tokens[len(words.tokens) :]
                best[place] = _Words((*words.tokens, *tokens), (*words.forms, form), of_one, total, words.others)
            elif place not in second or total > second[place][0]:
                second[place] = total, form, tuple(tokens)
        for place, (score, form, form_tokens) in second.items():
            chosen, words = best[place], before[place]
            span = slice(len(words.tokens), len(chosen.tokens))
            other = _OtherForm(len(words.forms), span, form, form_tokens, chosen.score - score)
            chosen.others = (*words.others, other)
        return [best[place] for place in range(len(nodes))]

    def _extend(
        self, states: Sequence[list[Any]], texts: Sequence[Sequence[int]]
    ) -> tuple[list[list[Any]], NDArray[np.float64]]:
        """States of the scorers behind the tokens of each text, and what these add, weighed."""
        states = [list(of_one) for of_one in states]
        scores = np.zeros(len(texts))
        for depth in range(max(map(len, texts), default=0)):
            active = [index for index, text in enumerate(texts) if len(text) > depth]
            tokens = np.array([texts[index][depth] for index in active], dtype=np.int64)
            for number, (scorer, weight) in enumerate(self._scorers):
                added, new = scorer.extend([states[index][number] for index in active], tokens)
                scores[active] += weight * added
                for index, state in zip(active, new, strict=True):
                    states[index][number] = state
        return states, scores

    def _finish(self, beam: _Beam) -> list[Hypothesis]:
        """The hypotheses with their last words, closing punctuation, and the end of the text."""
        nodes = beam.nodes.tolist()
        ending = [node for node in nodes if beam.length[node]]
        ended = dict(zip(ending, self._end_words(beam, ending), strict=True))
        words = [ended.get(node) or beam.words[beam.words_of[node]] for node in nodes]
        closings: list[tuple[int, ...]] = [(), *((token,) for token in self._closing_tokens)]
        jobs = [
            (place, closing)
            for place, of_one in enumerate(words)
            for closing in (closings if of_one.tokens else closings[:1])
        ]
        states, added = self._extend([words[place].states for place, _ in jobs], [closing for _, closing in jobs])
        for number, (scorer, weight) in enumerate(self._scorers):
            added += weight * scorer.finish([of_one[number] for of_one in states])
        likelihoods = np.logaddexp(beam.on_blank, beam.on_symbol).tolist()
        found: dict[tuple[int, ...], tuple[float, int]] = {}
        for (place, closing), score in zip(jobs, added.tolist(), strict=True):
            of_one = words[place]
            tokens = (*of_one.tokens, *closing)
            total = self._config.character_weight * likelihoods[place] + of_one.score + score
            if tokens not in found or total > found[tokens][0]:
                found[tokens] = total, place
        best = sorted(found.items(), key=lambda item: -item[1][0])[: self._config.beam_size]
        hypotheses = [
            Hypothesis(tokens, words[place].forms, beam.labelling(nodes[place]), likelihoods[place], total)
            for tokens, (total, place) in best
        ]
        if not hypotheses or not hypotheses[0].tokens:
            return hypotheses
        written = _in_other_forms(hypotheses[0], words[best[0][1][1]].others, self._config.other_forms)
        return sorted([*hypotheses, *written], key=lambda hypothesis: -hypothesis.score)


FARTHEST_NEIGHBOUR = 2
"""Words between the first and the second of two neighbours, at most, the second counted: `Declaration of Independence`."""


def _in_other_forms(hypothesis: Hypothesis, others: Sequence[_OtherForm], most: int) -> list[Hypothesis]:
    """A hypothesis with one word or two neighbours in another form (`Civil War` for `civil war`), of the `most` words that lose least by it."""
    likeliest = sorted(sorted(others, key=lambda other: other.loss)[:most], key=lambda other: other.word)
    groups: list[tuple[_OtherForm, ...]] = [(other,) for other in likeliest]
    groups += [
        pair for pair in itertools.combinations(likeliest, 2) if pair[1].word - pair[0].word <= FARTHEST_NEIGHBOUR
    ]
    written = []
    for group in groups:
        tokens, forms = list(hypothesis.tokens), list(hypothesis.words)
        for other in sorted(group, key=lambda other: -other.word):
            tokens[other.tokens] = other.form_tokens
            forms[other.word] = other.form
        loss = sum(other.loss for other in group)
        written.append(
            Hypothesis(
                tuple(tokens),
                tuple(forms),
                hypothesis.labelling,
                hypothesis.ctc_log_probability,
                hypothesis.score - loss,
            )
        )
    return written


class _Beam:
    """
    Hypotheses that go on, as nodes of the tree of all that went on at some frame.

    Attributes:
        nodes, on_blank, on_symbol (`(beam,)`): of each hypothesis its node, and natural logs of the probabilities that it ends on a blank and on its last character.
        parent, symbol, trie, length, words_of, text_score (`(count,)`, with room for more): of each node the one before, its last symbol, its node in the lexicon, the
            characters of its last word, the number of its whole words, and the score of its text.
    """

    def __init__(self, start: _Words) -> None:
        self.nodes = np.zeros(1, dtype=np.int64)
        self.on_blank, self.on_symbol = np.zeros(1), np.full(1, NEVER)
        self.count = 1
        self.parent, self.symbol, self.trie, self.length, self.words_of = (
            np.zeros(1024, dtype=np.int64) for _ in range(5)
        )
        self.text_score = np.zeros(1024)
        self.words = [start]
        self.word_scores = np.zeros(256)
        self.children: dict[tuple[int, int], int] = {}

    def add(self, parent: int, symbol: int, trie: int, text_score: float) -> int:
        """A node with one character more."""
        return self._add(parent, symbol, trie, int(self.length[parent]) + 1, int(self.words_of[parent]), text_score)

    def add_words(self, parent: int, words: _Words) -> int:
        """A node with a gap more, behind whole words."""
        number = len(self.words)
        self.words.append(words)
        if number == len(self.word_scores):
            self.word_scores = np.concatenate([self.word_scores, np.zeros(number)])
        self.word_scores[number] = words.score
        return self._add(parent, GAP, 0, 0, number, words.score)

    def _add(self, parent: int, symbol: int, trie: int, length: int, words: int, text_score: float) -> int:
        node = self.count
        if node == len(self.parent):
            for name in ("parent", "symbol", "trie", "length", "words_of", "text_score"):
                values = getattr(self, name)
                setattr(self, name, np.concatenate([values, np.zeros_like(values)]))
        self.parent[node], self.symbol[node], self.trie[node] = parent, symbol, trie
        self.length[node], self.words_of[node], self.text_score[node] = length, words, text_score
        self.children[parent, symbol] = node
        self.count += 1
        return node

    def last_word(self, node: int) -> Word:
        """Symbols behind the last gap."""
        word = []
        for _ in range(int(self.length[node])):
            word.append(int(self.symbol[node]))
            node = int(self.parent[node])
        return tuple(word[::-1])

    def labelling(self, node: int) -> tuple[int, ...]:
        """All symbols, without a gap at the end."""
        symbols = []
        while node:
            symbols.append(int(self.symbol[node]))
            node = int(self.parent[node])
        symbols = symbols[::-1]
        return tuple(symbols[:-1] if symbols and symbols[-1] == GAP else symbols)
