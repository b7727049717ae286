"""Terms: words without their endings, accents and emptiness, the same in every process."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memory.lexical.analysis import ANALYSER_VERSION, analyser, folded, term_number
from memory.lexical.languages import Language
from tests.memory.lexical.finding import asked, found_by

ROOT = Path(__file__).parents[3]
TEXT = "Anna's café isn't in 東京; mail anna@cafe.example, call 555-0199. Мы любим чай!"


@pytest.mark.parametrize(
    ("language", "query", "text"),
    [
        ("english", "allergies", "I have an allergy."),
        ("english", "running", "She runs daily."),
        ("german", "Häuser", "Das alte Haus steht."),
        ("german", "arbeitet", "Wir arbeiten morgen."),
        ("french", "chevaux", "un cheval blanc"),
        ("spanish", "canciones", "una canción nueva"),
        ("italian", "gatti", "il gatto nero"),
        ("russian", "книги", "Это интересная книга."),
        ("dutch", "honden", "mijn hond"),
        ("swedish", "bilarna", "en bil"),
        ("finnish", "talossa", "vanha talo"),
        ("turkish", "kitaplar", "yeni kitap"),
        ("arabic", "الكتاب", "كتاب جديد"),
        ("hindi", "किताबें", "मेरी किताब"),
    ],
)
def test_a_word_is_found_in_its_other_forms(language: Language, query: str, text: str) -> None:
    assert found_by(query, text, language)
    assert not found_by(query, text, "none")


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("english", "café", "cafe"),
        ("english", "naïve", "naive"),
        ("english", "Müller", "Muller"),
        ("none", "café", "cafe"),
        ("german", "Müller", "Muller"),
        ("german", "Häuser", "Hauser"),
        ("french", "café", "cafe"),
        ("french", "société", "societe"),
        ("spanish", "teléfono", "telefono"),
        ("italian", "città", "citta"),
        ("czech", "příliš", "prilis"),
        ("greek", "άνθρωπος", "ανθρωπος"),
    ],
)
def test_accents_need_not_be_typed(language: Language, one: str, other: str) -> None:
    """Save where the stemmer takes an accented ending for another: `cafe` in German."""
    assert found_by(other, f"1 {one} 2", language)
    assert found_by(one, f"1 {other} 2", language)


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("café", "cafe"),
        ("cafe\u0301", "cafe"),
        ("ώρα", "ωρα"),
        ("ộ", "o"),
        ("йод", "йод"),
        ("ёлка", "ёлка"),
        ("हिन्दी", "हिन्दी"),
        ("كِتَاب", "كِتَاب"),
        ("ガ", "ガ"),
        ("서울", "서울"),
        ("", ""),
    ],
)
def test_only_latin_and_greek_letters_lose_their_marks(word: str, plain: str) -> None:
    assert folded(word) == plain


def test_sharp_s_is_two() -> None:
    assert found_by("Grösse", "Die Größe passt.", "german")
    assert found_by("STRASSE", "die lange Straße", "german")


def test_marks_that_are_vowels_tell_words_apart() -> None:
    assert found_by("हिंदी", "मुझे हिंदी पसंद है", "none")
    assert not found_by("हद", "मुझे हिंदी पसंद है", "none")
    assert not found_by("йод", "иод", "none")


@pytest.mark.parametrize(
    ("language", "text", "left"),
    [
        ("english", "Where will the meeting be?", ["meeting"]),
        ("english", "the and of it", []),
        ("english", "The the THE", ["the"]),
        ("german", "Wo ist das Treffen, dass wir planen?", ["treffen", "planen"]),
        ("french", "où est le chat", ["où", "chat"]),
        ("none", "the cat", ["the", "cat"]),
    ],
)
def test_words_that_say_nothing_are_dropped(language: Language, text: str, left: list[str]) -> None:
    assert asked(text, language) == left
    assert analyser(language).terms(text).keys() == analyser(language).query_terms(text).keys()


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("When did I meet Will?", "I met Will in May."),
        ("who works in IT", "Anna works in IT."),
        ("WHO report", "The WHO has written."),
        ("moved to the US", "We left for the US."),
        ("What about May?", "See you in May."),
    ],
)
def test_a_name_is_kept_that_is_spelt_like_such_a_word(query: str, text: str) -> None:
    assert found_by(query, text)
    assert "will" not in asked("Will you come?")


def test_a_german_capital_makes_no_name() -> None:
    assert asked("Ich sah Dich, Deine Katze und Den Hund", "german") == ["sah", "katze", "hund"]


@pytest.mark.parametrize(
    "query", ["東", "東京", "東京タ", "京タワー", "กรุง", "서울", "서울에", "서", "北京大学"]
)
def test_what_is_written_without_spaces_is_found_by_any_run_of_it(query: str) -> None:
    text = "昨日は東京タワーへ。 ไปกรุงเทพฯ มา 서울에서 我在北京大学读书。"
    assert found_by(query, text) == asked(query) != []


def test_what_is_not_there_is_not_found_by_pairs() -> None:
    assert not found_by("京東", "東京")


def test_terms_are_counted() -> None:
    known = analyser("english")
    assert known.terms("tea Tea TEAS, milk") == {term_number("tea"): 3, term_number("milk"): 1}


def test_each_term_is_shown_as_the_first_word_that_asks_for_it() -> None:
    assert asked("peanuts Peanut café cafe") == ["peanuts", "café"]


def test_a_number_is_the_same_for_ever() -> None:
    """Messages are stored with these: another number needs another `ANALYSER_VERSION`."""
    assert ANALYSER_VERSION == 1
    assert term_number("peanut") == 768_283_927
    assert term_number("東京") == 215_949_809
    assert analyser("german").name == "german/1"


def test_terms_are_the_same_in_every_process() -> None:
    code = (
        "import sys; from memory.lexical.analysis import analyser;"
        "print(dict(analyser('english').terms(sys.argv[1])))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, TEXT],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {str(dict(analyser("english").terms(TEXT)))}


def test_threads_do_not_disturb_each_other() -> None:
    known = analyser("russian")
    texts = [f"{word}{end}" for word in ("книг", "бежал", "стол") for end in ("ам", "и", "ами")]
    expected = [known.terms(text * 50) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(known.terms, [text * 50 for text in texts] * 40)) == expected * 40
