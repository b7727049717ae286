"""What is said and asked: from a file of conversations, or made up, the same each time."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.datasets.reading import read_dataset

MADE_MESSAGES = 3_000
MADE_QUESTIONS = 800


def choices(text: str) -> list[str]:
    """What stands between the bars of a text, whose lines may be broken anywhere."""
    return [" ".join(each.split()) for each in text.split("|")]


PEOPLE = choices(
    "Ada|Ben|Carla|Dev|Elif|Farid|Greta|Hugo|Ines|Jonas|Kemi|Lena|Marek|Nora|Otis|Priya"
)
PLACES = choices("""
    Lisbon|the harbour|my sister's flat|the old library|Nagoya|the climbing hall|the clinic
    |a village near Graz|the allotment|the night train|the music school|Cape Town|the workshop
    |the seaside|our first office|the mountain hut
""")
THINGS = choices("""
    a second-hand cello|the leaking roof|a sourdough starter|two concert tickets|the tax papers
    |a blue kayak|my grandmother's recipes|the broken dishwasher|a rescue dog|the visa
    |a marathon plan|the guitar lessons|an offer for the new job|a pottery course|the insurance
    |a telescope|the wedding list|three boxes of photographs|the physiotherapy|a tent
""")
DEEDS = choices("""
    picked up|forgot about|finally sorted out|sold|asked about|photographed|repaired|lost|wrote down
    everything on|is worried about|paid for|cancelled|borrowed|is proud of|gave away
""")
TIMES = choices("""
    last Friday|in the spring|two weeks ago|yesterday evening|on the way home|before the holidays
    |at half past nine|every Tuesday|when it rained|in November|after the move|this morning
""")
# Most words of a language are rare: with surnames of two parts, of which there are 400, some words
# of each text stand in few others.
BEGINNINGS = choices("Al|Ber|Cor|Dan|El|Fer|Gor|Hal|Is|Jan|Kes|Lor|Mar|Nev|Or|Pal|Ros|Sel|Tor|Vin")
ENDINGS = choices("""
    bach|brook|castel|dahl|dorf|elli|feld|gard|holm|ine|kamp|land|mann|nik|oso|quist|rup|stein|vik|wood
""")
COMMENTS = choices("""
    It took far longer than anyone had thought.|Honestly, it made my whole week.|I would do it again
    tomorrow.|We should talk about the money, though.|The neighbours were kind about it.|Nobody had
    told me how tiring that is.|It reminded me of the summer we met.|I still have to call them back.
    |Next time I will bring the children.|The doctor says it is nothing to fear.
""")
ASKED = choices("""
    When did {person} say something about {thing}?|Where was {person} {time}?
    |Did {person} say who {deed} {thing}?
    |What happened to {person} at {place} {time}?|What does {person} think of {thing}?
    |Why was {person} at {place}?
""")


class Texts(NamedTuple):
    """Messages and questions; `origin` says in few words where they are from."""

    messages: list[str]
    questions: list[str]
    origin: str


def texts(dataset: Path | None) -> Texts:
    """Those of a file of conversations, or else made ones. Raises `DatasetError`."""
    if dataset is None:
        return made()
    conversations = read_dataset(dataset).conversations
    messages = {turn.content: None for each in conversations for turn in each.turns}
    questions = {question.text: None for each in conversations for question in each.questions}
    return Texts(list(messages), list(questions), f"messages and questions of {dataset.name}")


def made() -> Texts:
    """Sentences of everyday life, no two alike; the same in each run."""
    draw = random.Random("texts")
    messages = _distinct(_messages(draw), MADE_MESSAGES)
    return Texts(messages, _distinct(_questions(draw), MADE_QUESTIONS), "made-up sentences")


def _distinct(endless: Iterator[str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[next(endless)] = None
    return list(found)


def _messages(draw: random.Random) -> Iterator[str]:
    while True:
        said = [
            f"{draw.choice(PEOPLE)} {_surname(draw)} {draw.choice(DEEDS)} {draw.choice(THINGS)}"
            f" at {draw.choice(PLACES)} {draw.choice(TIMES)}."
            for _ in range(draw.choice((1, 1, 2)))
        ]
        yield f"{draw.choice(PEOPLE)}: {' '.join(said)} {draw.choice(COMMENTS)}"


def _surname(draw: random.Random) -> str:
    return draw.choice(BEGINNINGS) + draw.choice(ENDINGS)


def _questions(draw: random.Random) -> Iterator[str]:
    while True:
        yield draw.choice(ASKED).format(
            person=f"{draw.choice(PEOPLE)} {_surname(draw)}",
            thing=draw.choice(THINGS),
            place=draw.choice(PLACES),
            time=draw.choice(TIMES),
            deed=draw.choice(DEEDS),
        )
