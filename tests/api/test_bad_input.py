"""Bad input at every door that the OpenAPI document tells of, so that no new one is forgotten."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.answers import JSON, assert_problem, stored
from tests.conftest import message, serving
from tests.processes import wait_until

SECRET = "peanuts-nobody-may-read-this"
HUGE = "1" + "0" * 400
BAD_BODIES = {
    "empty": b"",
    "blank": b" \n",
    "cut off": b'{"tenant_id": "acm',
    "null": b"null",
    "a list": b"[]",
    "a text": b'"{}"',
    "two values": b"{}{}",
    "NaN": b'{"tenant_id": NaN}',
    "minus Infinity": b'{"x": -Infinity}',
    "a comment": b'{} // "hello"',
    "single quotes": b"{'tenant_id': 'acme'}",
    "a byte order mark": b'\xef\xbb\xbf{"tenant_id": "acme"}',
    "UTF-16": '{"tenant_id": "acme"}'.encode("utf-16"),
    "not UTF-8": b'{"tenant_id": "\xff\xfe"}',
    "a surrogate": b'{"tenant_id": "\xed\xa0\x80"}',
    "a NUL": b'{"tenant_id": "a\x00b"}',
    "a control character": b'{"tenant_id": "a\x01b"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a huge number": f'{{"surprise": {HUGE}}}'.encode(),
}
UNLIKE_JSON = {
    "no type": {},
    "text": {"content-type": "text/plain"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "UTF-16": {"content-type": "application/json; charset=utf-16"},
    "zipped": {**JSON, "content-encoding": "gzip"},
}
BAD_PARTS = ("%00", "%ff", "a%0Ab", "%ED%A0%80", "x" * 5_000, "{id}", "..%2f..%2fetc", "a b")
TABLES = """select relname from pg_class
  where relkind = 'r' and relnamespace = 'public'::regnamespace order by relname"""


class Operation:
    """An operation of the document, and how to ask for it."""

    def __init__(self, path: str, method: str, told: dict[str, Any]) -> None:
        self.path, self.method = path, method
        self.query = [each for each in told.get("parameters", []) if each["in"] == "query"]
        body = told.get("requestBody", {}).get("content", {}).get("application/json", {})
        self.body: dict[str, Any] | None = body.get("schema")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def ask(self, api: httpx.Client, url: str = "", **request: Any) -> httpx.Response:
        """The answer to a request, of `url` or of something that is not there."""
        place = self.path.format(
            tenant_id="nobody", message_id=uuid4(), job_id=uuid4(), key_id=uuid4()
        )
        return api.request(self.method, url or place, **request)


def rows(owner: Connection) -> dict[str, int]:
    """How many rows each table has. Who tried what is on record, but not what they sent."""
    records = owner.scalars(text("select details::text from audit_log")).all()
    assert SECRET not in "".join(records)
    names = set(owner.scalars(text(TABLES))) - {"audit_log"}
    return {name: stored(owner, name) for name in names}


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A service that answers as often as it is asked."""
    unlimited = {"global_rate_limit": "", "tenant_rate_limit": "", "auth_failure_limit": ""}
    with serving(msgspec.structs.replace(settings, **unlimited)) as client:
        yield client


@pytest.fixture
def operations(api: httpx.Client) -> list[Operation]:
    paths = api.get("/docs/openapi.json").json()["paths"]
    found = [
        Operation(path, how, told) for path, item in paths.items() for how, told in item.items()
    ]
    assert len(found) > 30
    return found


@pytest.fixture(autouse=True)
def _nothing_is_stored_and_nothing_told(
    api: httpx.Client, owner: Connection, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    wait_until(lambda: api.get("/v1/admin/readiness").status_code == 200, "it is ready")
    before = rows(owner)
    with caplog.at_level(logging.DEBUG):
        yield
    assert rows(owner) == before
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_no_body_that_is_not_json_is_taken(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for name, body in BAD_BODIES.items() if operation.body else ():
            with subtests.test(f"{operation}: {name}"):
                answer = operation.ask(api, content=body, headers=JSON)
                assert_problem(answer, 400, "invalid-request")


def test_a_body_of_another_kind_is_a_415(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for name, headers in UNLIKE_JSON.items() if operation.body else ():
            with subtests.test(f"{operation}: {name}"):
                answer = operation.ask(
                    api, content=b'{"content": "%s"}' % SECRET.encode(), headers=headers
                )
                assert_problem(answer, 415, "unsupported-media-type")


def test_a_field_that_is_none_or_cannot_be_is_named(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        fields = operation.body["properties"] if operation.body else {}
        for field in [*fields, "surprise"] if operation.body else ():
            for value in (HUGE, f'{{"{SECRET}": [{HUGE}]}}', '"\\ud800"', '["\\u0000"]'):
                if value.startswith("{") and field == "metadata":
                    continue  # An object it may be.
                with subtests.test(f"{operation}: {field} {value[:8]}"):
                    answer = operation.ask(api, content=f'{{"{field}": {value}}}', headers=JSON)
                    problem = assert_problem(answer, 400, "invalid-request")
                    assert SECRET not in answer.text
                    if value == HUGE:
                        assert [each["field"] for each in problem["errors"]] == [field]


def test_a_parameter_that_is_none_is_named_with_the_nearest_one(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        with subtests.test(str(operation)):
            answer = operation.ask(api, params={"surprise": SECRET})
            assert_problem(answer, 400, "invalid-request", "surprise")
        for parameter in operation.query:
            name = parameter["name"]
            with subtests.test(f"{operation}: {name}"):
                answer = operation.ask(api, params={f"{name}z": SECRET})
                problem = assert_problem(answer, 400, "invalid-request", f"{name}z")
                assert f"did you mean {name}?" in problem["detail"] or name == "metadata"


def test_a_parameter_given_twice_is_named(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for name in {each["name"] for each in operation.query} - {"role", "metadata"}:
            with subtests.test(f"{operation}: {name}"):
                answer = operation.ask(api, params={name: ["1", "1"]})
                assert_problem(answer, 400, "invalid-request", name)


def test_a_parameter_that_cannot_be_is_refused(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for name in (each["name"] for each in operation.query):
            for value in BAD_PARTS:
                with subtests.test(f"{operation}: {name}={value[:8]}"):
                    place = operation.path.format(
                        tenant_id="nobody", message_id=uuid4(), job_id=uuid4(), key_id=uuid4()
                    )
                    answer = operation.ask(api, f"{place}?{name}={value}")
                    assert_problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("value", ["%ff", "%ED%A0%80", "a%C3", "%C0%80"])
def test_a_parameter_that_is_no_utf_8_is_named(api: httpx.Client, value: str) -> None:
    answer = api.get(f"/v1/memory/search?tenant_id=acme&query={value}")
    assert_problem(answer, 400, "invalid-request", "query")
    as_name = api.get(f"/v1/memory/search?tenant_id=acme&query=a&metadata.{value}=1")
    assert_problem(as_name, 400, "invalid-request")
    mended = api.get("/v1/memory/search?tenant_id=acme&query=%EF%BF%BD%20%f0%9f%90%9d")
    assert mended.status_code == 200


def test_a_path_that_cannot_be_is_refused(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    for operation in operations:
        for value in BAD_PARTS if "{" in operation.path else ():
            with subtests.test(f"{operation}: {value[:8]}"):
                whole = operation.path.split("{")[0] + value + operation.path.partition("}")[2]
                # A body that could be, so that the path is what is wrong.
                body = {"json": {}} if operation.body else {}
                answer = operation.ask(api, whole, **body)
                assert answer.status_code in (400, 404), answer.text
                assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_over_the_limit_is_a_413(
    api: httpx.Client, operations: list[Operation], subtests: pytest.Subtests
) -> None:
    body = json.dumps(message(content=SECRET * 700_000)).encode()
    for operation in operations:
        if operation.body:
            with subtests.test(str(operation)):
                answer = operation.ask(api, content=body, headers=JSON)
                assert_problem(answer, 413, "request-entity-too-large")
