"""What no schema can see: text that cannot be stored or searched for, metadata without end."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.checks import (
    METADATA_MAX_BYTES,
    METADATA_MAX_DEPTH,
    check_message,
    check_search,
    check_text,
)
from memory.errors import InvalidFieldError
from memory.messages import NewMessage
from memory.search import QUERIES_MAX, QUERIES_MAX_CHARS, QUERY_MAX_CHARS, SearchRequest
from tests.conftest import message

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def check(**changes: Any) -> None:
    check_message(msgspec.convert(message(**changes), NewMessage), 100)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def of_size(size: int) -> dict[str, str]:
    return {"a": "x" * (size - len('{"a":""}'))}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", "x" * 100),
        ("content", "🌍" * 100),
        ("metadata", nested(METADATA_MAX_DEPTH)),
        ("metadata", {"least": -(2**63), "greatest": 2**63 - 1}),
        ("metadata", of_size(METADATA_MAX_BYTES)),
        ("metadata", {"": ""}),
        ("created_at", datetime(1000, 1, 2, tzinfo=UTC)),
        ("created_at", datetime(8999, 12, 31, tzinfo=UTC)),
    ],
)
def test_taken(field: str, value: Any) -> None:
    check(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("content", "x" * 101, "longer than 100 characters"),
        ("content", "a\0b", "NUL"),
        ("content", "\ud83d", "surrogate"),
        ("conversation_id", "\udc00", "surrogate"),
        ("metadata", {"a": "\0"}, "NUL"),
        ("metadata", {"\0": 1}, "NUL"),
        ("metadata", {"a": ["\ud800"]}, "surrogate"),
        ("metadata", {"\ud800": 1}, "surrogate"),
        ("metadata", {"a": 2**63}, "64 bits"),
        ("metadata", {"a": [-(2**63) - 1]}, "64 bits"),
        ("metadata", nested(METADATA_MAX_DEPTH + 1), "8 deep"),
        ("metadata", {"a": [[[[[[[[1]]]]]]]]}, "8 deep"),
        ("metadata", of_size(METADATA_MAX_BYTES + 1), "16384 bytes"),
        ("metadata", {"a": "é" * 8_200}, "16384 bytes"),
        ("metadata", {str(n): n for n in range(3_000)}, "16384 bytes"),
        ("created_at", datetime(1, 1, 1, tzinfo=UTC), "years 1000 and 9000"),
        ("created_at", datetime(9999, 12, 31, tzinfo=UTC), "years 1000 and 9000"),
    ],
)
def test_refused_with_the_field_and_the_reason(field: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidFieldError, match=why) as raised:
        check(**{field: value})
    assert raised.value.field == field


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_metadata_that_is_taken_comes_through_json_unchanged(metadata: dict[str, Any]) -> None:
    try:
        check(metadata=metadata)
    except InvalidFieldError:
        return
    encoded = msgspec.json.encode(metadata)
    assert len(encoded) <= METADATA_MAX_BYTES
    assert json.loads(encoded) == metadata


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=20))
def test_text_that_is_taken_can_be_stored(value: str) -> None:
    try:
        check_text("content", value, 100)
    except InvalidFieldError:
        return
    assert b"\0" not in value.encode()


@pytest.mark.parametrize(
    "asked",
    [
        {"query": "tea"},
        {"queries": ["tea"]},
        {"query": "🌍" * QUERY_MAX_CHARS},
        {"queries": ["x" * (QUERIES_MAX_CHARS // QUERIES_MAX)] * QUERIES_MAX},
        {"queries": ["x" * QUERY_MAX_CHARS] * 5},
        {"query": "tea", "conversation_id": "é" * 128},
        {"query": "tea", "metadata": {}},
        {"query": "tea", "metadata": nested(METADATA_MAX_DEPTH)},
        {"query": "tea", "metadata": of_size(METADATA_MAX_BYTES)},
    ],
)
def test_searched_for(asked: dict[str, Any]) -> None:
    check_search(msgspec.convert({"tenant_id": "acme", **asked}, SearchRequest))


@pytest.mark.parametrize(
    ("field", "asked", "why"),
    [
        ("query", {}, "must be given"),
        ("query", {"query": "a", "queries": ["b"]}, "not both"),
        ("query", {"query": "a\0b"}, "NUL"),
        ("query", {"query": "\ud83d"}, "surrogate"),
        ("query", {"query": "x" * (QUERY_MAX_CHARS + 1)}, "longer than 20000"),
        ("queries", {"queries": ["fine", "a\0b"]}, "NUL"),
        ("queries", {"queries": ["fine", "\udc00"]}, "surrogate"),
        ("queries", {"queries": ["x" * QUERY_MAX_CHARS] * 5 + ["x"]}, "100000 .* together"),
        ("conversation_id", {"conversation_id": "a\0"}, "NUL"),
        ("conversation_id", {"conversation_id": "\ud800"}, "surrogate"),
        ("conversation_id", {"conversation_id": "x" * 129}, "128"),
        ("metadata", {"metadata": {"a": "\0"}}, "NUL"),
        ("metadata", {"metadata": {"\ud800": 1}}, "surrogate"),
        ("metadata", {"metadata": {"a": 2**63}}, "64 bits"),
        ("metadata", {"metadata": nested(METADATA_MAX_DEPTH + 1)}, "8 deep"),
        ("metadata", {"metadata": of_size(METADATA_MAX_BYTES + 1)}, "16384 bytes"),
    ],
)
def test_what_cannot_be_searched_for_is_told_by_its_field(
    field: str, asked: dict[str, Any], why: str
) -> None:
    query = {} if field.startswith("quer") else {"query": "tea"}
    with pytest.raises(InvalidFieldError, match=why) as raised:
        check_search(SearchRequest(**{"tenant_id": "acme", **query, **asked}))
    assert raised.value.field == field
