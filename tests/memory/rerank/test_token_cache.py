import numpy as np

from memory.rerank.token_cache import ENTRY_BYTES, HalfVectors, TokenCache

ROWS = 10
SIZE = ROWS * 8 * 2 + ENTRY_BYTES


def vectors(value: float) -> HalfVectors:
    return np.full((ROWS, 8), value, dtype=np.float16)


def test_what_was_put_is_there() -> None:
    cache = TokenCache(SIZE)
    cache.put("a", vectors(1))
    found = cache.get("a")
    assert found is not None
    np.testing.assert_array_equal(found, vectors(1))
    assert cache.get("b") is None


def test_the_one_least_lately_used_goes_first() -> None:
    cache = TokenCache(2 * SIZE)
    cache.put("a", vectors(1))
    cache.put("b", vectors(2))
    cache.get("a")
    cache.put("c", vectors(3))
    assert [cache.get(text) is not None for text in "abc"] == [True, False, True]


def test_many_small_ones_are_bounded_too() -> None:
    cache = TokenCache(10 * ENTRY_BYTES)
    for number in range(50):
        cache.put(str(number), np.empty((0, 8), dtype=np.float16))
    assert sum(cache.get(str(number)) is not None for number in range(50)) == 10


def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    cache = TokenCache(SIZE - 1)
    cache.put("a", vectors(1))
    assert cache.get("a") is None
    cache.put("b", np.empty((0, 8), dtype=np.float16))
    assert cache.get("b") is not None


def test_the_same_text_again_takes_no_more_room() -> None:
    cache = TokenCache(2 * SIZE)
    cache.put("a", vectors(1))
    for value in range(5):
        cache.put("b", vectors(value))
    found = cache.get("b")
    assert found is not None
    assert found[0, 0] == 4
    assert cache.get("a") is not None


def test_a_lone_surrogate_is_a_text_like_any_other() -> None:
    cache = TokenCache(SIZE)
    cache.put("\ud800", vectors(1))
    assert cache.get("\ud800") is not None
