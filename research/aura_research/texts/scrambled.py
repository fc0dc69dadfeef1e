"""Texts that nobody wrote: runs of words from different sentences and questions, one behind the other, so that what comes next must be heard.

A student that meets the same few ten thousand sentences again and again learns them by heart; here every clip says something else.
"""

import random
import re
from collections.abc import Mapping, Sequence


SHARES = {"everyday": 0.35, "sentences": 0.3, "questions": 0.2, "law": 0.15}
"""Of the runs, by where they are from."""

QUESTION_OPENINGS = 0.3
"""Of the texts, those that open as a question does."""

ANY_WORD = 0.15
"""Of the words, those drawn from the whole vocabulary, whatever their neighbours."""


def scramble(generator: random.Random, texts: Mapping[str, Sequence[str]]) -> str:
    """One text of 4 to 14 words.

    Args:
        texts: those to take from, under the names of `SHARES`.
    """
    names = list(SHARES)
    words: list[str] = []
    asks = generator.random() < QUESTION_OPENINGS
    if asks:
        words += _words(generator.choice(texts["questions"]))[: generator.randint(2, 4)]
    length = generator.randint(4, 12)
    while len(words) < length:
        name = generator.choices(names, [SHARES[name] for name in names])[0]
        run = _words(generator.choice(texts[name]))[1:]  # the first has its capital from where it stands
        start = generator.randrange(max(1, len(run)))
        for word in run[start : start + generator.randint(1, 4)]:
            if generator.random() < ANY_WORD:
                others = _words(generator.choice(texts[generator.choice(names)]))[1:]
                word = generator.choice(others or [word])
            words.append(word)
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]][:14]) + ("?" if asks else ".")


def _words(text: str) -> list[str]:
    return [word.strip("'") for word in re.findall(r"[A-Za-z][A-Za-z']*", text) if word.strip("'")]
