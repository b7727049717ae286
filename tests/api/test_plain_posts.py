"""Plain posts go past the framework; what is odd does not, and both are answered alike."""

from typing import Any

import httpx
import pytest

from api.plain_posts import Post, plain_post, read_body
from memory.access import Caller
from tests.conftest import message

WRITER = Caller(name="writer", scopes=frozenset({"write"}))
MOST_BYTES = 1_000
PLAIN = {"content-type": "application/json", "content-length": "100"}
WHAT_DIFFERS = {"id", "created_at", "updated_at"}


TWICE = [(b"content-type", b"application/json"), (b"content-length", b"9")] * 2


def asked(given: dict[str, str], caller: Caller | None = WRITER, **changed: Any) -> Post | None:
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/v1/messages",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "caller": caller,
        **changed,
    }
    return plain_post(scope, MOST_BYTES)


def test_a_plain_one_is_taken() -> None:
    assert asked(PLAIN) == Post(None)
    assert asked({**PLAIN, "idempotency-key": "k-1", "user-agent": "x"}) == Post("k-1")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {**PLAIN, "content-type": "application/json; charset=utf-8"},
        {**PLAIN, "content-type": "text/plain"},
        {**PLAIN, "content-encoding": "gzip"},
        {**PLAIN, "transfer-encoding": "chunked"},
        {**PLAIN, "content-length": "1001"},
        {**PLAIN, "content-length": "-1"},
        {**PLAIN, "content-length": ""},
    ],
)
def test_an_odd_one_goes_on(headers: dict[str, str]) -> None:
    assert asked(headers) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "GET"},
        {"path": "/v1/messages/"},
        {"path": "/v1/messages/batch"},
        {"query_string": b"colour=red"},
        {"caller": None},
        {"caller": Caller(name="reader", scopes=frozenset({"read"}))},
        {"headers": TWICE},
    ],
)
def test_so_does_what_is_none(changed: dict[str, Any]) -> None:
    assert asked(PLAIN, **changed) is None


async def test_of_a_body_that_does_not_end_there_is_nothing() -> None:
    parts = iter([{"type": "http.request", "body": b"a", "more_body": True}] * 2)

    async def receive() -> Any:
        return next(parts, {"type": "http.disconnect"})

    assert await read_body(receive) is None


@pytest.mark.parametrize(
    "body",
    [
        message(),
        message(metadata={"a": [1, {"b": None}]}, importance_override=0.5),
        message(role="nobody"),
        message(content=""),
        message(content="a\0b"),
        {},
        [],
    ],
)
def test_both_ways_answer_alike(api: httpx.Client, body: Any) -> None:
    answers = [
        api.post("/v1/messages", json=body, headers={"content-type": media_type})
        for media_type in ("application/json", "application/json;charset=utf-8")
    ]
    plain, other = answers
    assert plain.status_code == other.status_code
    left_out = {"date", "x-request-id", "content-length"}
    heads = [{*each.headers.items()} for each in answers]
    assert {name for name, _ in heads[0] ^ heads[1]} <= left_out
    first, second = (each.json() for each in answers)
    differ = WHAT_DIFFERS if plain.status_code == 202 else {"request_id"}
    assert {k: v for k, v in first.items() if k not in differ} == {
        k: v for k, v in second.items() if k not in differ
    }
    assert first.keys() == second.keys()
