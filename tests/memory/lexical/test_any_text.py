"""Whatever is written, however long: terms are made of it, and in time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lexical.analysis import TERM_SPACE, Analyser, analyser
from memory.lexical.languages import LANGUAGES, Language
from tests.memory.lexical.finding import asked, found_by

LENGTH = 100_000
LANGUAGE = st.sampled_from(LANGUAGES)
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=60)
# What chunks, compounds, cases and pairs are made of, mixed as no one would.
TRICKY = st.text(st.sampled_from("aAbZ1٣_-.,'’#+/@ \n東京กรุ서हिéß\u0301\u200dﬁ\ufdfa❤\ufe0f\ud800"))
WORDS = st.lists(st.text(st.characters(categories=["L"]), min_size=1), min_size=1, max_size=8)

LONG = {
    "a word": "a",
    "capitals": "A",
    "a digit": "1",
    "camel case": "aA",
    "snake case": "a_",
    "hyphens": "a-",
    "underscores": "_",
    "both joined": "-_",
    "dots": ".",
    "pluses": "a++",
    "apostrophes": "a'",
    "Han": "東",
    "Han and Latin": "東a",
    "Thai": "กรุง",
    "Hindi": "हि",
    "a mark": "\u0301",
    "a ligature of 18": "\ufdfa",
    "endings": "ings",
    "surrogates": "\ud800",
    "words": "tea ",
    "emoji": "❤️",
}


@given(LANGUAGE, ANY_TEXT | TRICKY)
def test_terms_are_places_in_a_sparse_vector(language: Language, text: str) -> None:
    terms = analyser(language).terms(text)
    assert all(1 <= term <= TERM_SPACE for term in terms)
    assert all(count >= 1 for count in terms.values())


@given(LANGUAGE, ANY_TEXT | TRICKY)
def test_a_text_is_found_by_all_that_it_asks_for(language: Language, text: str) -> None:
    assert found_by(text, text, language) == asked(text, language)


@given(LANGUAGE, ANY_TEXT | TRICKY)
def test_a_text_is_found_by_each_of_its_words(language: Language, text: str) -> None:
    for word in text.split():
        assert found_by(word, text, language) == asked(word, language)


@given(WORDS)
def test_no_word_of_letters_is_lost_where_none_says_nothing(words: list[str]) -> None:
    for word in words:
        assert found_by(word, " ".join(words), "none")


@given(LANGUAGE, ANY_TEXT | TRICKY)
def test_what_is_remembered_is_what_was_found(language: Language, text: str) -> None:
    known = Analyser(language)
    first = known.terms(text)
    assert known.terms(text) == analyser(language).terms(text) == first


@pytest.mark.parametrize("unit", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("language", ["english", "arabic", "none"])
def test_a_long_text_has_terms_in_proportion(language: Language, unit: str) -> None:
    known = analyser(language)
    started = time.process_time()
    short, long = (
        sum(known.terms(unit * (size // len(unit))).values()) for size in (LENGTH // 10, LENGTH)
    )
    assert long <= 10 * (short + len(unit))
    assert long <= 4 * LENGTH
    assert time.process_time() - started < 3


@pytest.mark.parametrize("marks", ["\u0301\u0316", "ﾞ\u0301"])
def test_a_flood_of_marks_takes_no_longer(marks: str) -> None:
    """To put them in order takes the square of their number."""
    started = time.process_time()
    analyser("none").terms("a" + marks * (LENGTH // 3))
    assert time.process_time() - started < 1


def test_a_long_word_is_one_and_is_found() -> None:
    word = "x" * LENGTH
    assert found_by(word, f"see {word} there") == [word]
    assert not found_by(word[1:], f"see {word} there")


@pytest.mark.parametrize("text", ["❤️tea", "e\u200dmail", "1️⃣", "auto\u00admatic"])
def test_what_is_not_seen_is_none_of_a_word(text: str) -> None:
    seen = "".join(character for character in text if character.isalnum())
    assert found_by(seen, text)


@pytest.mark.parametrize("text", ["❤️", "👩\u200d👩\u200d👧", "1 \u0301", "\u20e3"])
def test_emoji_have_nothing_in_common(text: str) -> None:
    assert not found_by(text, "✈️ 👨\u200d🍳 \u0301 \u20e3")
