from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.embedding.text import split_by_bytes, split_by_pieces, well_formed


@pytest.mark.parametrize("letter", ["a", "é", "字", "🐈", " "])
def test_parts_fit_in_bytes_whatever_the_script(letter: str) -> None:
    text = letter * 20_000
    parts = split_by_bytes(text)
    assert all(len(part.encode()) <= 6000 for part in parts)
    assert all(len(part.encode()) > 5400 for part in parts[:-1])
    assert len(text) == sum(map(len, parts)) - 300 * (len(parts) - 1)


def test_a_part_ends_after_a_blank_and_the_next_repeats_its_end() -> None:
    text = " ".join(f"word{i}" for i in range(3_000))
    first, second, *_ = split_by_bytes(text)
    assert first.endswith(" ")
    assert text.startswith(first)
    assert second.startswith(first[-300:])


@given(st.text(min_size=1), st.integers(1, 4_000))
def test_parts_join_to_the_text(text: str, times: int) -> None:
    text *= times
    first, *others = split_by_bytes(text)
    assert first + "".join(part[300:] for part in others) == text


def test_a_short_text_is_one_part() -> None:
    assert split_by_bytes("") == [""]
    assert split_by_bytes("a" * 6000) == ["a" * 6000]


def test_only_lone_surrogates_are_replaced() -> None:
    assert well_formed("a\ud800b \0 é 🐈") == "a?b \0 é 🐈"


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(8, 40))
def test_pieces_are_all_in_some_part_and_parts_fit(lengths: list[int], room: int) -> None:
    words = [word for word, length in enumerate(lengths) for _ in range(length)]
    text = "".join(chr(0x4E00 + i) for i in range(len(words)))
    offsets = [(i, i + 1) for i in range(len(words))]
    parts = split_by_pieces(text, words, offsets, room=room, overlap=room // 4)
    assert max(map(len, parts)) <= room
    assert sorted(set("".join(parts))) == list(text)
    for before, after in pairwise(parts):
        assert len(set(before) & set(after)) >= room // 4
        assert after[0] > before[0]


def test_a_word_is_not_cut_when_it_fits() -> None:
    words, offsets = [0, 0, 1, 1, 2, 2, 3, 3], [(i, i + 1) for i in range(8)]
    parts = split_by_pieces("aabbccdd", words, offsets, room=5, overlap=1)
    assert parts == ["aabb", "bbcc", "ccdd"]
