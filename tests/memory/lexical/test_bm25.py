"""What is stored of a message: weights that become BM25 whatever the mean length is later."""

import re
from itertools import islice, product

import pytest

from memory.lexical.analysis import TERM_SPACE, Analyser, analyser, term_number
from memory.lexical.bm25 import (
    K1,
    MOST_TERMS,
    REFERENCE_LENGTH,
    B,
    Entry,
    content_entry,
    context_entry,
)
from memory.lexical.keys import metadata_keys, tenant_salt

PLAIN = analyser("none")
PEANUT = term_number("peanut")


def weights(entry: Entry) -> dict[int, float]:
    """The stored weights, read as pgvector's `sparsevec` is written: `{term:weight,...}/n`."""
    found = re.fullmatch(r"\{([^{}]*)\}/(\d+)", entry.weights)
    assert found
    assert int(found[2]) == TERM_SPACE
    pairs = [pair.split(":") for pair in found[1].split(",") if pair]
    assert len({term for term, _ in pairs}) == len(pairs)
    return {int(term): float(weight) for term, weight in pairs}


def keys(entry: Entry) -> list[int]:
    """The stored keys, read as an `int8[]` is written."""
    found = re.fullmatch(r"\{([\d,]*)\}", entry.keys)
    assert found
    return [int(key) for key in found[1].split(",") if key]


def words(number: int) -> list[str]:
    """So many words, each another, none of them `peanut`."""
    return list(islice(("".join(letters) for letters in product("abcdefgh", repeat=6)), number))


def text(times: int, length: int) -> str:
    """A text of `length` words, of which so many are `peanut`."""
    return " ".join(["peanut"] * times + words(length - times))


def saturation(length: int, mean: float) -> float:
    return K1 * (1 - B + B * length / mean)


def textbook(times: int, length: int, mean: float) -> float:
    """BM25 of a term without its idf, as Robertson and Zaragoza have it."""
    return times * (K1 + 1) / (times + saturation(length, mean))


def searched(times: int, length: int, mean: float) -> float:
    """BM25 of a term without its idf, as a search makes it of what is stored."""
    entry = content_entry(PLAIN, "acme", text(times, length), {})
    assert entry.length == length
    weight = weights(entry)[PEANUT]
    return weight * (1 + saturation(length, REFERENCE_LENGTH)) / (1 + saturation(length, mean))


def error(times: int, lengths: range, means: range) -> float:
    """How far a search is off the textbook at most, as a share."""
    return max(
        abs(searched(times, length, mean) / textbook(times, length, mean) - 1)
        for length, mean in product(lengths, means)
    )


@pytest.mark.parametrize("mean", [0.5, 1, 7.3, REFERENCE_LENGTH, 100, 10_000])
@pytest.mark.parametrize("length", [1, 4, 16, 128, 5_000])
def test_a_term_that_stands_once_counts_as_in_the_textbook(length: int, mean: float) -> None:
    assert searched(1, length, mean) == pytest.approx(textbook(1, length, mean), rel=5e-5)


@pytest.mark.parametrize("times", [2, 3, 10])
def test_any_term_counts_so_at_the_reference_length(times: int) -> None:
    for length in (10, 16, 100, 1_000):
        assert searched(times, length, REFERENCE_LENGTH) == pytest.approx(
            textbook(times, length, REFERENCE_LENGTH), rel=5e-5
        )


@pytest.mark.parametrize(
    ("times", "means", "bound"),
    [
        (2, range(8, 33, 4), 0.103),
        (3, range(8, 33, 4), 0.171),
        (2, range(8, 65, 8), 0.209),
        (3, range(8, 65, 8), 0.358),
    ],
)
def test_one_that_stands_oftener_is_off_by_this_at_most(
    times: int, means: range, bound: float
) -> None:
    worst = error(times, range(4, 129, 3), means)
    assert 0.97 * bound < worst < bound


@pytest.mark.parametrize("mean", [8, 32, 64])
@pytest.mark.parametrize("length", [10, 64, 128])
def test_the_oftener_the_more_but_never_in_proportion(length: int, mean: float) -> None:
    scores = [searched(times, length, mean) for times in range(1, 8)]
    assert scores == sorted(set(scores))
    assert all(score < times * scores[0] for times, score in enumerate(scores[1:], 2))


def test_the_shorter_text_counts_more() -> None:
    scores = [searched(1, length, 16) for length in (1, 4, 16, 64)]
    assert scores == sorted(scores, reverse=True)


def test_a_text_without_words_is_stored_empty() -> None:
    entry = content_entry(PLAIN, "acme", "🎉 ...", {})
    assert entry == Entry("none/1", 0, f"{{}}/{TERM_SPACE}", "{}")


@pytest.mark.parametrize("language", ["english", "german"])
def test_the_entry_names_its_analyser(language: str) -> None:
    known = Analyser(language)  # type: ignore[arg-type]
    assert content_entry(known, "acme", "tea", {}).analyser == known.name == f"{language}/1"


def test_of_too_many_terms_the_most_frequent_are_kept() -> None:
    common = [word for word in words(MOST_TERMS + 500) for _ in range(2)][-2 * 300 :]
    rare = words(MOST_TERMS + 200)
    entry = content_entry(PLAIN, "acme", " ".join(rare + common), {})
    stored = weights(entry)
    assert len(stored) == MOST_TERMS
    assert {term_number(word) for word in common} <= stored.keys()
    assert {key & 0xFFFF_FFFF for key in keys(entry)} == stored.keys()
    assert entry.length == len(rare) + len(common)


def test_as_many_terms_as_there_may_be_are_all_kept() -> None:
    entry = content_entry(PLAIN, "acme", " ".join(words(MOST_TERMS)), {})
    assert len(weights(entry)) == len(keys(entry)) == MOST_TERMS


def test_a_row_is_found_by_its_terms_and_its_metadata_within_the_tenant() -> None:
    metadata = {"topic": "food", "tags": ["a", "b"]}
    entry = content_entry(PLAIN, "acme", "peanut tea", metadata)
    numbers = {PEANUT, term_number("tea")} | metadata_keys(metadata)
    assert sorted(keys(entry)) == sorted(tenant_salt("acme") | number for number in numbers)
    assert all(0 <= key < 2**63 for key in keys(entry))
    other = content_entry(PLAIN, "other", "peanut tea", metadata)
    assert not set(keys(entry)) & set(keys(other))


def test_a_context_is_both_messages_without_metadata() -> None:
    context = context_entry(PLAIN, "acme", "peanut or tea?", "tea please")
    together = content_entry(PLAIN, "acme", "peanut or tea? tea please", {})
    assert context == together
    assert context.length == 5


def test_a_very_long_text_has_weights_that_can_be_read() -> None:
    repeated = " ".join(f"{word} " * 3 for word in words(33_000))
    entry = content_entry(PLAIN, "acme", repeated, {})
    assert all(0 < weight < K1 + 1 for weight in weights(entry).values())
