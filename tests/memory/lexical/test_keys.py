"""Keys: a tenant's own, and for metadata such that what contains has what is contained."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lexical.keys import METADATA_BIT, metadata_keys, tenant_salt

# Few and alike, so that one often contains the other.
SCALAR = st.sampled_from(
    [None, True, False, 0, -0.0, 1, 1.0, 1.5, 100, 1e2, 2**63 - 1, "", "1", "True", "None", "é"]
)
NAME = st.sampled_from(["", "a", "b"])
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=2),
    max_leaves=6,
)
METADATA = st.dictionaries(NAME, VALUE, max_size=3)


def contains(whole: Any, part: Any) -> bool:
    """`whole @> part` of PostgreSQL's `jsonb`, below the top."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and contains(whole[name], part[name]) for name in part)
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(contains(has, wants) for has in whole) for wants in part)
    if isinstance(whole, dict | list) or isinstance(part, dict | list):
        return False
    # In Python True equals 1, in JSON it does not.
    return isinstance(whole, bool) == isinstance(part, bool) and bool(whole == part)


@st.composite
def part_of(draw: Callable[[Any], Any], whole: Any) -> Any:
    """Something that `whole` contains."""
    if isinstance(whole, dict):
        names = draw(st.lists(st.sampled_from(sorted(whole)), unique=True)) if whole else []
        return {name: draw(part_of(whole[name])) for name in names}
    if isinstance(whole, list):
        places = draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)) if whole else []
        return [draw(part_of(whole[place])) for place in places]
    if isinstance(whole, int | float) and not isinstance(whole, bool) and abs(whole) < 2**53:
        return draw(st.sampled_from([whole, float(whole)]))
    return whole


@given(METADATA.flatmap(lambda whole: st.tuples(st.just(whole), part_of(whole))))
def test_what_contains_has_the_keys_of_what_it_contains(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    whole, part = both
    assert contains(whole, part)
    assert metadata_keys(part) <= metadata_keys(whole)


@given(METADATA, METADATA)
def test_so_do_any_two_of_which_one_contains_the_other(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    if contains(one, other):
        assert metadata_keys(other) <= metadata_keys(one)


@given(METADATA)
def test_a_metadata_key_is_neither_negative_nor_a_term(metadata: dict[str, Any]) -> None:
    assert all(METADATA_BIT <= key < 2**32 for key in metadata_keys(metadata))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0, -0.0),
        (0.0, -0.0),
        (100, 1e2),
        (10**18, 1e18),
        (0.1, 0.10),
        ([1, 2], [2, 1]),
        ([1, 1], [1]),
        ({"b": 1, "c": 2}, {"c": 2, "b": 1}),
    ],
)
def test_equal_values_share_their_keys(one: Any, other: Any) -> None:
    assert metadata_keys({"a": one}) == metadata_keys({"a": other}) != frozenset()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (None, "None"),
        (True, "True"),
        (None, False),
        (1, 2),
        (1, -1),
        (2**63 - 1, 2**63 - 2),
        (0.1, 0.1000000001),
        ("a", "A"),
        ("é", "e\u0301"),
        (1, [1]),
        ([1], [[1]]),
        ({"b": 1}, {"c": 1}),
    ],
)
def test_other_values_have_other_keys(one: Any, other: Any) -> None:
    assert not metadata_keys({"a": one}) & metadata_keys({"a": other})


def test_a_value_is_known_by_its_path() -> None:
    keys = [
        metadata_keys(metadata)
        for metadata in ({"a": 1}, {"b": 1}, {"a": {"b": 1}}, {"a.b": 1}, {"b": {"a": 1}})
    ]
    assert len(frozenset.union(*keys)) == len(keys)


@pytest.mark.parametrize("metadata", [{}, {"a": {}}, {"a": []}, {"a": [{}, []]}])
def test_what_has_no_value_has_no_key(metadata: dict[str, Any]) -> None:
    assert metadata_keys(metadata) == frozenset()


def test_a_tenant_has_the_upper_half_of_its_keys() -> None:
    salts = {tenant_salt(f"tenant-{number}") for number in range(1_000)}
    assert len(salts) == 1_000
    assert all(0 <= salt < 2**63 and salt % 2**32 == 0 for salt in salts)


def test_keys_are_the_same_for_ever() -> None:
    """Rows are stored with these."""
    assert tenant_salt("acme") == 4_790_229_960_700_723_200
    assert metadata_keys({"a": [1, None]}) == {2_386_008_417, 3_333_943_580}
