"""What in a text says that it is worth remembering: requests, facts, names and figures.

The text alone is read, so its markers are the same whatever surrounds it and can be stored. Each
kind counts once: to say a thing twice, or with many words around it, adds nothing.
"""

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from memory import phrases

Kind = Literal["request", "fact", "event", "exact", "name", "time", "number"]

# How sure each kind makes it that somebody will ask for this.
WORTH: dict[Kind, float] = {
    "request": 0.8,
    "fact": 0.5,
    "exact": 0.35,
    "event": 0.3,
    "name": 0.3,
    "time": 0.25,
    "number": 0.2,
}

# Words, and what ends a sentence. No part of the pattern can match what another could, so it
# takes one pass over any text.
TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[.!?:;\n。！？…,、\uff0c]")
ENDS = frozenset(".!?:;\n。！？…")
COMMAS = frozenset(",、\uff0c")
DIGIT = re.compile(r"\d")
FIGURE = re.compile(r"[\d@]|://")
JOINED_DIGITS = re.compile(r"\d[-/.:,]\d")
# Ids, times and units, and what East Asian dates and prices have after the digits.
LETTERED = re.compile(r"[A-Za-z]\d|\d[A-Za-z年月日点點时時号號円元원]")
MANY_DIGITS = 4
MONEY = frozenset("$€£¥₹%")
ORDINAL = re.compile(r"\d{1,3}(?:st|nd|rd|th|er|e|º|ª|o|a|x)")
FACES = frozenset("<:;=")
FACE_MAX_CHARS = 4
AROUND_PIECES = "()[]{}<>\"'.,;:!?*_`„“”»«"
# A relation stands so many words after whose it is: "my two younger sisters".
RELATION_WITHIN = 3
ELISIONS = frozenset("cdjlmnqst")

# Accented Latin letters without their accents, and no accents that stand by themselves.
FOLDED = {
    code: unicodedata.normalize("NFD", chr(code))[0] for code in (*range(0xC0, 0x250), 0x1E9E)
} | dict.fromkeys(range(0x300, 0x370), "")
FOLDED |= str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "’": "'"})


class Phrase(NamedTuple):
    """The words of a phrase after its first two; `opens` is one that must begin a clause."""

    rest: tuple[str, ...]
    kind: Kind
    opens: bool = False


def _by_first_words() -> dict[str, dict[str, list[Phrase]]]:
    """The phrases by their first word, then by their second, which is empty where there is none."""
    table: dict[str, dict[str, list[Phrase]]] = defaultdict(lambda: defaultdict(list))
    tables: tuple[tuple[str, Kind], ...] = (
        (phrases.REQUESTS, "request"),
        (phrases.STANDING, "request"),
        (phrases.FACTS, "fact"),
        (phrases.EVENTS, "event"),
        (phrases.TIMES, "time"),
    )
    for text, kind in tables:
        opens = text is phrases.REQUESTS
        for phrase in phrases.spellings(phrases.listed(text)):
            first, second, *rest = (*phrase.split(), "") if " " not in phrase else phrase.split()
            table[first][second].append(Phrase(tuple(rest), kind, opens))
    return {first: dict(seconds) for first, seconds in table.items()}


PHRASES = _by_first_words()
LABELS = phrases.listed(phrases.LABELS)
IDLE = phrases.listed(phrases.IDLE)
OPENERS = phrases.listed(phrases.OPENERS)
ASKING = phrases.listed(phrases.ASKING)
OWN = phrases.listed(phrases.OWN)
RELATIONS = phrases.listed(phrases.RELATIONS)
RELATIONS |= {f"{relation}{ending}" for relation in RELATIONS for ending in ("s", "'s")}
NAMING = phrases.listed(phrases.NAMING)
PLAIN = phrases.listed(phrases.PLAIN)
GERMAN = phrases.listed(phrases.GERMAN)
MEASURES = phrases.listed(phrases.MEASURES)


def markers(text: str) -> float:
    """How much of `text` is marked as worth remembering, in 0..1.

    1 - (1 - w1) * (1 - w2) * ... over the `WORTH` of the kinds that it has (a noisy-or): each kind
    is a reason of its own, and several make it more sure.
    """
    missing = 1.0
    for kind in kinds_of(text):
        missing *= 1 - WORTH[kind]
    return 1 - missing


def kinds_of(text: str) -> set[Kind]:
    """The kinds of markers that `text` has; time and memory are linear in its length."""
    folded = text if text.isascii() else text.translate(FOLDED)
    tokens = TOKEN.findall(folded)
    words = [token.lower() for token in tokens]
    found = set(spoken(words))
    if _has_name(tokens, words):
        found.add("name")
    if FIGURE.search(folded):
        for line in folded.splitlines():
            found |= set(_figures(line.split()))
    # A date is a number too, and no second reason.
    return found - {"number"} if "exact" in found else found


def spoken(words: Sequence[str]) -> Iterator[Kind]:
    """Requests, and facts about the speaker."""
    for place, word in enumerate(words):
        if word in PHRASES:
            yield from _said_from(words, place)
        if word in LABELS and words[place + 1 : place + 2] == [":"]:
            yield "request"
        if word in OWN and not RELATIONS.isdisjoint(_owned(words, place)):
            yield "fact"


def _said_from(words: Sequence[str], place: int) -> Iterator[Kind]:
    """The kinds of the phrases that begin at `place`."""
    following = PHRASES[words[place]]
    second = words[place + 1] if place + 1 < len(words) else "\n"
    for start, phrases_there in (place + 1, following.get("")), (place + 2, following.get(second)):
        for phrase in phrases_there or ():
            end = start + len(phrase.rest)
            if tuple(words[start:end]) == phrase.rest and _meant(words, place, end, phrase):
                yield phrase.kind


def _meant(words: Sequence[str], place: int, end: int, phrase: Phrase) -> bool:
    """Whether a phrase is more than a turn of speech where it stands."""
    if phrase.opens:
        return _begins_a_clause(words, place)
    return phrase.kind == "time" or end == len(words) or words[end] not in IDLE


def _begins_a_clause(words: Sequence[str], place: int) -> bool:
    before = words[max(0, place - 2) : place]
    if not before or before[-1] in ENDS or before[-1] in COMMAS or before[-1] in OPENERS:
        return True
    return before[-1] == "you" and before[0] in ASKING


def _owned(words: Sequence[str], place: int) -> Iterable[str]:
    """What may be the relation that "my" at `place` is about."""
    near = words[place + 1 : place + 1 + RELATION_WITHIN]
    return itertools.takewhile(lambda word: word not in ENDS and word not in COMMAS, near)


def _has_name(tokens: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a name stands within a sentence, told by its capital.

    In a sentence where most words have one, or in German where every noun has, only what follows
    "Mr" or "named" is a name.
    """
    capitals_tell = GERMAN.isdisjoint(words)
    names = small = 0
    before, inside, in_name = "", False, False
    for token, word in zip((*tokens, "\n"), (*words, "\n"), strict=True):
        if word in ENDS:
            if capitals_tell and 0 < names <= small:
                return True
            names = small = 0
            before, inside = "" if word == "\n" else before, False
            continue
        if word in COMMAS:
            in_name = False
            continue
        capital = _capital(token, word)
        if capital and before in NAMING:
            return True
        # New York is one name.
        in_name, begins = capital and inside, capital and inside and not in_name
        names += begins
        small += token == word and len(word) > 1
        before, inside = word, True
    return False


def _capital(token: str, word: str) -> bool:
    """Whether a word is written as a name is: Anna, McDonald, d'Annunzio."""
    if len(token) > 2 and token[1] == "'" and word[0] in ELISIONS:
        token, word = token[2:], word[2:]
    if not token[0].isupper() or len(token) < 2 or token[1] == "'":
        return False
    return not token.isupper() and word not in PLAIN


def _figures(pieces: Sequence[str]) -> Iterator[Kind]:
    """Dates, amounts, addresses and ids, which are exact, and numbers."""
    for place, raw in enumerate(pieces):
        if not FIGURE.search(raw) or (len(raw) <= FACE_MAX_CHARS and raw[0] in FACES):
            continue
        piece = raw.strip(AROUND_PIECES)
        if _is_exact(piece):
            yield "exact"
        elif DIGIT.search(piece):
            beside = (*pieces[max(0, place - 1) : place], *pieces[place + 1 : place + 3])
            measured = any(each.strip(AROUND_PIECES).lower() in MEASURES for each in beside)
            yield "exact" if measured else "number"


def _is_exact(piece: str) -> bool:
    """Whether a piece of text can be told apart from all others, as no small number can."""
    local, at, domain = piece.partition("@")
    if at:
        return bool(local) and "." in domain
    if "://" in piece:
        return True
    if ORDINAL.fullmatch(piece):
        return False
    return (
        not MONEY.isdisjoint(piece)
        or JOINED_DIGITS.search(piece) is not None
        or LETTERED.search(piece) is not None
        or len(DIGIT.findall(piece)) >= MANY_DIGITS
    )
