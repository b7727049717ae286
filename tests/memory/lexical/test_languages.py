"""The languages on offer: each with a stemmer, some with a list of words that say nothing."""

import pytest
import Stemmer

from memory.lexical.analysis import analyser
from memory.lexical.languages import LANGUAGES, Language, stop_words

# Of these PostgreSQL 18 brings lists of stop words.
LISTED = [
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "hungarian",
    "italian",
    "nepali",
    "norwegian",
    "portuguese",
    "russian",
    "spanish",
    "swedish",
    "turkish",
]


def test_every_language_but_none_has_a_stemmer() -> None:
    assert set(LANGUAGES) - set(Stemmer.algorithms()) == {"none"}
    assert list(LANGUAGES) == sorted(set(LANGUAGES))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_can_be_analysed(language: Language) -> None:
    assert sum(analyser(language).terms("Zebra 東京 42").values()) == 5


@pytest.mark.parametrize("language", LANGUAGES)
def test_lists_of_stop_words_are_there_where_known(language: Language) -> None:
    assert (len(stop_words(language)) > 50) == (language in LISTED)


@pytest.mark.parametrize("language", LISTED)
def test_no_stop_word_survives_as_people_write_it(language: Language) -> None:
    known = analyser(language)
    written = {form for word in stop_words(language) for form in (word, word.capitalize())}
    assert {form for form in written if known.terms(form)} == set()


def test_content_words_are_no_stop_words() -> None:
    assert {"the", "is", "do"} <= stop_words("english")
    assert not {"peanut", "allergy", "not-a-word"} & stop_words("english")
