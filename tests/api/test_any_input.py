"""Whatever is sent: each parser takes it or raises a 400 that names a field, and nothing else."""

import json
from collections.abc import Callable
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import read_batch, read_message, read_search
from api.memory import metadata_filter, scalar
from api.parameters import Declared, check_names
from api.problems import ProblemError, problem_error
from memory.errors import InvalidFieldError
from memory.messages import NewMessage
from memory.retention import Reason
from memory.search import SearchRequest
from tasks.due import read_cursor
from tests.conftest import message

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]), max_size=20)
NUMBERS = st.integers() | st.integers(2**52, 2**65) | st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from([*NewMessage.__struct_fields__, *SearchRequest.__struct_fields__, "x"])
OBJECTS = st.dictionaries(FIELDS, JSON, max_size=4).map(lambda changes: message(**changes))
READERS: list[Callable[[bytes], Any]] = [
    lambda body: read_message(body, 100),
    lambda body: read_batch(body, 100),
    read_search,
]


def written(value: Any) -> bytes:
    """`value` as JSON; the integers that JSON has and msgspec does not write, too."""
    return json.dumps(value).encode()


BODIES = (
    st.binary(max_size=60)
    | JSON.map(written)
    | OBJECTS.map(written)
    | st.lists(OBJECTS, max_size=3).map(lambda items: written({"messages": items}))
    | st.tuples(OBJECTS, st.integers(0, 200)).map(lambda cut: written(cut[0])[: cut[1]])
)


def taken(read: Callable[..., Any], *given_values: Any) -> Any:
    """What `read` makes of the values, or the error that it raises for one of them."""
    try:
        return read(*given_values)
    except InvalidFieldError as error:
        return error


@pytest.mark.parametrize("read", READERS, ids=["message", "batch", "search"])
@given(body=BODIES)
def test_any_body_is_read_or_a_400(read: Callable[[bytes], Any], body: bytes) -> None:
    try:
        read(body)
    except (ProblemError, InvalidFieldError) as error:
        problem = problem_error(error)
        assert problem.status == 400
        assert str(problem)


@given(OBJECTS)
def test_a_message_that_is_read_can_be_written_and_read_again(body: dict[str, Any]) -> None:
    try:
        new = read_message(written(body), 100)
    except ProblemError:
        return
    assert read_message(msgspec.json.encode(new), 100) == new


@given(ANY_TEXT)
def test_any_cursor_is_one_of_ours_or_named(after: str) -> None:
    found = taken(read_cursor, after)
    if isinstance(found, InvalidFieldError):
        assert found.field == "after"
    else:
        assert read_cursor(":".join(map(str, found))) == found


@given(st.uuids(), st.sampled_from(get_args(Reason)))
def test_a_cursor_of_ours_comes_back(last: UUID, reason: str) -> None:
    assert read_cursor(f"{reason}:{last}") == (reason, last)


@given(st.lists(st.tuples(st.text(alphabet="ab.", max_size=6), ANY_TEXT), max_size=4))
def test_any_metadata_parameters_are_a_filter_or_named(given_values: list[tuple[str, str]]) -> None:
    named = [(f"metadata.{name}", value) for name, value in given_values]
    found = taken(metadata_filter, named)
    if isinstance(found, InvalidFieldError):
        assert found.field in dict(named)
        return
    for name, value in named:
        place: Any = found
        for step in name.removeprefix("metadata.").split("."):
            place = place[step]
        assert place == scalar(value)


@given(st.text(max_size=20))
def test_a_value_is_what_its_json_says_or_its_text(value: str) -> None:
    assert scalar(msgspec.json.encode(value).decode()) == value
    read = scalar(value)
    assert (
        read == value or not isinstance(read, str) or value.startswith(('"', " ", "\t", "\n", "\r"))
    )


@given(st.lists(st.sampled_from(["a", "many", "b", "open.x", "openly", ""]), max_size=6))
def test_names_are_taken_once_and_known(names: list[str]) -> None:
    declared = Declared(frozenset({"a", "many"}), frozenset({"many"}), "open.")
    wrong = [
        name
        for place, name in enumerate(names)
        if not name.startswith("open.")
        and (name not in ("a", "many") or (name == "a" and "a" in names[:place]))
    ]
    found = taken(check_names, [(name, "1") for name in names], declared)
    assert (found.field if found else None) == (wrong[0] if wrong else None)
