"""Writing a transcript down along the recording, token by token, by four opinions: letters and tokens that were heard, and LLMs that hear and read.

A stack decoder (Paul, "An efficient A* stack decoder algorithm for continuous speech recognition with a stochastic language model", ICASSP 1992):
of the beginnings that explain the recording up to about the same moment, the best are read by the LLMs and go on; with which tokens, the letters
that were heard say. So a word that the student never met is written as it sounds, if the LLM knows how that is spelled.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .ctc_forward import BLANK, CTCForward, Forward
from .spelling import GAP, UNSPELLED, SpelledVocabulary
from .token_tree import Text, TokenTree


BEAMS = 20
"""Beginnings that go on, of those that explain the recording up to about the same moment."""

TOKENS_PER_BEAM = 24
"""With which each goes on."""

BEAMS_PER_MOMENT, FEWEST_BEAMS = 36, 4
"""Of them in all, as those that went on with a short token explain no more than before; and how many go on at once even then."""

WORST = 9.0
"""How much worse than the best such beginning one may be."""

WORST_LETTERS = 7.0
"""How much worse a token's letters may fit what was heard than the likeliest letters, in nats."""

SAME_MOMENT = 0.6
"""Seconds."""

BACK, AHEAD = 0.4, 1.4
"""Seconds before the first and behind the last of these moments where the letters of a token may be heard."""

TOKENS_BACK, TOKENS_AHEAD = 3.2, 4.8
"""Seconds around these moments where a token may be heard by the token head, whose layers see blocks of audio at once."""

SECONDS_OF_A_NUMBER = 0.2
"""About how long a token of digits takes."""

NUMBER_FIT = -6.0
"""How well digits fit whatever was heard: nobody knows how they are said."""

OTHERS_PER_STEP, OTHERS_HEARD = 24, -12.0
"""Tokens of punctuation and digits may be written where they are among so many that the token head heard at a step, at this log-probability or above."""


@dataclass(frozen=True)
class Weights:
    """Of the four opinions, natural logs of probabilities: letters and tokens that were heard, the LLM that hears, the LLM that reads (0: is not asked)."""

    letters: float
    tokens: float
    hears: float
    reads: float


@dataclass(slots=True)
class Beginning:
    """Of a transcript.

    Attributes:
        text: its tokens.
        letters: its symbols of the letter head.
        ends_apart: whether a gap follows its last letter.
        spelled, heard: forward probabilities of its letters and of its tokens.
        letters_fit, tokens_fit: how well they fit where they fit best.
        moment: step of the letters up to which it explains the recording.
        hears, reads: what the LLMs think of it.
        score: all of it, weighed.
    """

    text: Text
    letters: tuple[int, ...]
    ends_apart: bool
    spelled: Forward
    heard: Forward
    letters_fit: float
    tokens_fit: float
    moment: int
    hears: float
    reads: float
    score: float


@dataclass(slots=True)
class Spelled:
    """Letters behind a beginning: how well all fit with them, the moment that they explain, the new symbols, and the forward probabilities of all."""

    fit: float
    moment: int
    letters: tuple[int, ...]
    forward: Forward


@dataclass(slots=True)
class Candidates:
    """Tokens that may come next: of each the place of its beginning in the group, the token, and the letters with it."""

    places: list[int]
    tokens: list[int]
    spelled: list[Spelled]

    def add(self, place: int, tokens: Sequence[int], spelled: Spelled) -> None:
        self.places += [place] * len(tokens)
        self.tokens += tokens
        self.spelled += [spelled] * len(tokens)


@dataclass(slots=True)
class Level:
    """Letters of one depth of the trie, behind beginnings that are spelled alike.

    Attributes:
        forward: probabilities of all that was spelled.
        last: the last symbol of each.
        nodes: of the trie.
        alike: numbers of the beginnings' groups.
        letters: the symbols behind the beginnings.
    """

    forward: Forward
    last: np.ndarray
    nodes: np.ndarray
    alike: np.ndarray
    letters: list[tuple[int, ...]]


class ClipSearch:
    """The search for one clip's transcript.

    Args:
        letters: log-probabilities of the blank and every letter, `(steps, 1 + letters)`.
        tokens: log-probabilities of the blank and every token, `(audio tokens, 1 + vocabulary)`.
        vocabulary: of the LLM.
        eos_token_ids: tokens that end a transcript.
        weights: of the opinions.
        steps_per_second: of `letters`.
    """

    def __init__(
        self,
        letters: np.ndarray,
        tokens: np.ndarray,
        vocabulary: SpelledVocabulary,
        eos_token_ids: Sequence[int],
        weights: Weights,
        steps_per_second: float,
    ) -> None:
        self._letters, self._tokens = CTCForward(letters), CTCForward(tokens)
        self._vocabulary = vocabulary
        self._ends = list(eos_token_ids)
        self._weights = weights
        self._same_moment = round(SAME_MOMENT * steps_per_second)
        self._back, self._ahead = round(BACK * steps_per_second), round(AHEAD * steps_per_second)
        self._steps_per_token = max(1, len(letters) // len(tokens))
        tokens_per_second = steps_per_second / self._steps_per_token
        self._tokens_back, self._tokens_ahead = (
            round(seconds * tokens_per_second) for seconds in (TOKENS_BACK, TOKENS_AHEAD)
        )
        self._number = round(SECONDS_OF_A_NUMBER * steps_per_second)
        self._others = self._heard_others(tokens)
        self._next_sound = self._steps_of_next_sounds(letters)
        nothing = self._letters.nothing(), self._tokens.nothing()
        self._open = [Beginning((), (), False, *nothing, 0.0, 0.0, self._until_sound(0), 0.0, 0.0, 0.0)]
        self._group: list[Beginning] = []
        self._went_on: Counter[int] = Counter()
        self.best: Text = ()
        """The best transcript so far."""
        self._best_score = -np.inf

    @staticmethod
    def _steps_of_next_sounds(letters: np.ndarray) -> np.ndarray:
        """Of each step: itself or the next one at which a letter is likelier than the blank; the number of steps where there is none."""
        sounds = np.where(letters.argmax(axis=1) != BLANK, np.arange(len(letters)), len(letters))
        return np.minimum.accumulate(sounds[::-1])[::-1]

    def _until_sound(self, step: int) -> int:
        """The last step of the silence that begins at a step, or behind it."""
        following = min(step + 1, self._letters.steps - 1)
        return max(step, int(self._next_sound[following]) - 1)

    def _heard_others(self, tokens: np.ndarray) -> list[int]:
        per_step = min(OTHERS_PER_STEP, tokens.shape[1] - 1)
        likeliest = np.argpartition(-tokens[:, 1:], per_step - 1, axis=1)[:, :per_step]
        heard = likeliest[np.take_along_axis(tokens[:, 1:], likeliest, axis=1) > OTHERS_HEARD]
        return [token for token in np.unique(heard).tolist() if token in self._vocabulary.others]

    def next_texts(self) -> list[Text]:
        """The beginnings that the LLMs are to read next; none where the search is over."""
        self._group = []
        while self._open and not self._group:
            until = min(beginning.moment for beginning in self._open) + self._same_moment
            group = [beginning for beginning in self._open if beginning.moment <= until]
            self._open = [beginning for beginning in self._open if beginning.moment > until]
            group = self._still_wanted(heapq.nlargest(BEAMS, group, key=lambda beginning: beginning.score))
            self._forget_hopeless()
            worst = max(group[0].score - WORST, self._best_score)
            self._group = [beginning for beginning in group if beginning.score > worst]
        return [beginning.text for beginning in self._group]

    def _still_wanted(self, best_first: list[Beginning]) -> list[Beginning]:
        """Only a few of those of moments of which enough went on already."""
        wanted = []
        now: Counter[int] = Counter()
        for beginning in best_first:
            moment = beginning.moment // max(self._same_moment, 1)
            if now[moment] < max(BEAMS_PER_MOMENT - self._went_on[moment], FEWEST_BEAMS):
                now[moment] += 1
                wanted.append(beginning)
        self._went_on += now
        return wanted

    def _forget_hopeless(self) -> None:
        """Closes what cannot be among the best of its moment, not even of half of it."""
        by_moment = defaultdict(list)
        for beginning in self._open:
            by_moment[beginning.moment // max(self._same_moment, 1)].append(beginning)
        self._open = [
            beginning
            for of_one in by_moment.values()
            for beginning in heapq.nlargest(2 * BEAMS, of_one, key=lambda beginning: beginning.score)
        ]

    @property
    def needed_texts(self) -> set[Text]:
        """Those that were read and that beginnings go on from."""
        return {beginning.text[:-1] for beginning in (*self._open, *self._group)}

    def go_on(self, hears: np.ndarray, reads: np.ndarray | None) -> None:
        """Goes on behind the beginnings of the last [`next_texts`].

        Args:
            hears, reads: log-probability of every token behind each, `(beginnings, vocabulary)`, of the LLM that hears and of the one that reads.
        """
        weights = self._weights
        for beginning, of_hears, of_reads in zip(self._group, hears, hears if reads is None else reads, strict=True):
            score = (
                weights.letters * self._letters.fits_whole(beginning.spelled)
                + weights.tokens * self._tokens.fits_whole(beginning.heard)
                + weights.hears * (beginning.hears + self._end(of_hears))
                + weights.reads * (beginning.reads + self._end(of_reads))
            )
            if score > self._best_score:
                self.best, self._best_score = beginning.text, score
        found = Candidates([], [], [])
        self._add_words(found)
        self._add_others(found)
        if not found.tokens:
            return
        places, tokens = np.array(found.places), np.array(found.tokens)
        of_hears = np.array([beginning.hears for beginning in self._group])[places] + hears[places, tokens]
        of_reads = np.zeros(len(places))
        if reads is not None:
            of_reads = np.array([beginning.reads for beginning in self._group])[places] + reads[places, tokens]
        scores = weights.letters * np.array([spelled.fit for spelled in found.spelled])
        scores += weights.hears * of_hears + weights.reads * of_reads
        scores += weights.tokens * np.array([beginning.tokens_fit for beginning in self._group])[places]
        for place, beginning in enumerate(self._group):
            of_one = np.nonzero(places == place)[0]
            kept = of_one[np.argsort(-scores[of_one])[:TOKENS_PER_BEAM]]
            kept = kept[scores[kept] > self._best_score]
            if len(kept):
                spelled = [found.spelled[index] for index in kept]
                self._open_up(beginning, tokens[kept], spelled, of_hears[kept], of_reads[kept])

    def _end(self, following: np.ndarray) -> float:
        return float(following[self._ends].max()) if self._ends else 0.0

    def _add_words(self, found: Candidates) -> None:
        """Adds tokens of letters that fit what was heard behind each beginning, however long nothing was said."""
        moments = [beginning.moment for beginning in self._group]
        first, ahead = max(0, min(moments) - self._back), self._ahead
        while not found.tokens:
            end = min(self._letters.steps, max(moments) + ahead)
            self._add_words_between(found, first, end)
            if end == self._letters.steps:
                return
            ahead *= 2

    def _add_words_between(self, found: Candidates, first: int, end: int) -> None:
        alike: dict[tuple, list[int]] = defaultdict(list)  # what is spelled alike goes on alike
        for place, beginning in enumerate(self._group):
            alike[beginning.letters, beginning.ends_apart].append(place)
        groups = list(alike.values())
        worst = np.array([self._group[places[0]].letters_fit - WORST_LETTERS for places in groups])
        is_empty = np.array([not self._group[places[0]].letters for places in groups])
        heard = self._letters.log_probabilities[first:end]
        audible = (heard - heard.max(axis=1, keepdims=True)).max(axis=0) > -WORST_LETTERS
        level = self._before_words([self._group[places[0]] for places in groups], first, end)
        while len(level.nodes):
            children, parents = self._vocabulary.children(level.nodes)
            symbols = self._vocabulary.symbols[children]
            children, parents, symbols = (of_all[audible[symbols]] for of_all in (children, parents, symbols))
            if not len(children):
                return
            empty = np.array([not letters for letters in level.letters]) & is_empty[level.alike]
            kept, forward, fits = self._letters.extend_well(
                level.forward, parents, level.last, symbols, empty, worst[level.alike]
            )
            children, parents, symbols = children[kept], parents[kept], symbols[kept]
            best = fits.max(axis=1)
            letters = [
                (*level.letters[parent], symbol) for parent, symbol in zip(parents, symbols.tolist(), strict=True)
            ]
            for child, of_child in enumerate(letters):
                tokens = self._vocabulary.tokens[children[child]]
                if not tokens:
                    continue
                # It explains the silence behind it, too.
                moment = self._until_sound(first + int(np.nonzero(fits[child] >= best[child] - 1.0)[0][-1]))
                spelled = Spelled(float(best[child]), moment, of_child, forward[child])
                for place in groups[level.alike[parents[child]]]:
                    found.add(place, tokens, spelled)
            level = Level(forward, symbols, children, level.alike[parents], letters)

    def _before_words(self, beginnings: Sequence[Beginning], first: int, end: int) -> Level:
        """What stands before the first letter of a token behind each beginning: a gap, or none."""
        forwards, last, nodes, alike = [], [], [], []
        letters: list[tuple[int, ...]] = []
        for number, beginning in enumerate(beginnings):
            at_once = self._letters.window(beginning.spelled, first, end)
            last_letter = beginning.letters[-1] if beginning.letters else 0
            behind_gap = self._letters.extend(
                Forward.stack([at_once]), np.array([last_letter]), np.array([GAP]), np.array([False])
            )[0]
            for apart in (True, False):
                has_gap = bool(beginning.letters) and (apart or beginning.ends_apart)
                forwards.append(behind_gap if has_gap else at_once)
                last.append(GAP if has_gap else last_letter)
                letters.append((GAP,) if has_gap else ())
                nodes.append(self._vocabulary.roots[apart])
                alike.append(number)
        return Level(Forward.stack(forwards), np.array(last), np.array(nodes), np.array(alike), letters)

    def _add_others(self, found: Candidates) -> None:
        """Adds tokens of punctuation and of digits."""
        pieces = self._vocabulary.pieces
        punctuation = [token for token in self._others if not pieces[token].symbols]
        digits = [token for token in self._others if pieces[token].symbols]
        digits_apart = [token for token in digits if pieces[token].begins_apart]
        for place, beginning in enumerate(self._group):
            same = Spelled(beginning.letters_fit, beginning.moment, (), beginning.spelled)
            if beginning.text and pieces[beginning.text[-1]].symbols:  # none behind another
                found.add(place, punctuation, same)
            if beginning.letters and beginning.letters[-1] == UNSPELLED:  # the number goes on
                found.add(place, digits, same)
                continue
            may_begin = not beginning.text or beginning.text[-1] in self._vocabulary.before_numbers
            if begin := digits if may_begin else digits_apart:
                found.add(place, begin, self._number_behind(beginning))

    def _number_behind(self, beginning: Beginning) -> Spelled:
        first = max(0, beginning.moment - self._back)
        end = min(self._letters.steps, beginning.moment + self._ahead)
        before = self._letters.window(beginning.spelled, first, end)
        forward = self._letters.anything(before, not beginning.letters, NUMBER_FIT)
        moment = min(beginning.moment + self._number, self._letters.steps - 1)
        fit = float(self._letters.fits(forward).max())
        return Spelled(fit, moment, (UNSPELLED,), forward)

    def _open_up(
        self,
        beginning: Beginning,
        tokens: np.ndarray,
        spelled: Sequence[Spelled],
        of_hears: np.ndarray,
        of_reads: np.ndarray,
    ) -> None:
        """Opens a beginning with one token more."""
        weights, count = self._weights, len(tokens)
        moment = beginning.moment // self._steps_per_token
        first = max(0, moment - self._tokens_back)
        last_moment = max(each.moment for each in spelled) // self._steps_per_token
        end = min(self._tokens.steps, max(moment + self._tokens_ahead, last_moment + self._tokens_back))
        before = self._tokens.window(beginning.heard, first, end)
        heard = self._tokens.extend(
            Forward.stack([before] * count),
            np.full(count, 1 + beginning.text[-1] if beginning.text else 0),
            1 + tokens,
            np.full(count, not beginning.text),
        )
        tokens_fit = self._tokens.fits(heard).max(axis=1)
        scores = weights.letters * np.array([each.fit for each in spelled]) + weights.tokens * tokens_fit
        scores += weights.hears * of_hears + weights.reads * of_reads
        for index in np.nonzero(scores > self._best_score)[0]:
            token, each = int(tokens[index]), spelled[index]
            self._open.append(
                Beginning(
                    text=(*beginning.text, token),
                    letters=(*beginning.letters, *each.letters),
                    ends_apart=self._vocabulary.pieces[token].ends_apart,
                    spelled=each.forward,
                    heard=heard[index],
                    letters_fit=each.fit,
                    tokens_fit=float(tokens_fit[index]),
                    moment=max(each.moment, beginning.moment),
                    hears=float(of_hears[index]),
                    reads=float(of_reads[index]),
                    score=float(scores[index]),
                )
            )


def _of_both(texts: Sequence[Collection[Text]], reads: Sequence[bool]) -> list[Sequence[Text]]:
    """Texts of each clip for the LLM that hears and, if any is to be read, for the one that reads."""
    hears = [list(of_clip) for of_clip in texts]
    return [
        *hears,
        *([of_clip if asked else [] for of_clip, asked in zip(hears, reads, strict=True)] if any(reads) else []),
    ]


def search_transcripts(
    clips: Sequence[ClipSearch], tree: TokenTree, last_logits: np.ndarray, reads: Sequence[bool]
) -> list[Text]:
    """The best transcript of each clip.

    Args:
        clips: the searches.
        tree: behind the prompts of the LLM that hears, one for each clip, and, where any is to be read, behind as many of the LLM that reads.
        last_logits: log-probability of every token behind each of these prompts, `(prompts, vocabulary)`.
        reads: of each clip, whether the LLM that reads is asked.
    """
    texts = [clip.next_texts() for clip in clips]
    following = [of_prompt[None] for of_prompt in last_logits]
    while any(texts):
        for number, clip in enumerate(clips):
            if texts[number]:
                clip.go_on(following[number], following[len(clips) + number] if reads[number] else None)
        texts = [clip.next_texts() for clip in clips]
        if any(texts):
            needed = [clip.needed_texts for clip in clips]
            tree.keep(_of_both(needed, reads))
            following = tree.read(_of_both(texts, reads))
    return [clip.best for clip in clips]
