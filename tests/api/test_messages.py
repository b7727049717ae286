"""Posting one message and reading it again."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import Connection

from memory.settings import Settings
from tests.api.answers import JSON, assert_problem, moment, row, stored
from tests.conftest import message, serving

FIELDS = {
    "id",
    "tenant_id",
    "conversation_id",
    "role",
    "content",
    "metadata",
    "importance_score",
    "embedding_status",
    "created_at",
    "updated_at",
    "embedding_error",
    "pinned",
    "archived_at",
}


def post(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = api.post("/v1/messages", json=message(**changes))
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def raw(body: str) -> bytes:
    """A valid body whose last field is written by hand."""
    return (json.dumps(message())[:-1] + f", {body}}}").encode()


def test_a_message_is_answered_as_it_is_stored(api: httpx.Client, owner: Connection) -> None:
    before = datetime.now(UTC)
    answer = post(api, metadata={"source": "chat"})
    assert set(answer) == FIELDS
    assert UUID(answer["id"]).version == 7
    assert answer | message(metadata={"source": "chat"}) == answer
    assert answer["importance_score"] == pytest.approx(0.2 + 0.4 * 0.6 + 0.25)
    assert answer["embedding_status"] == "pending"
    assert before <= moment(answer["created_at"]) <= before + timedelta(seconds=10)
    in_database = row(owner, answer["id"])
    for field in FIELDS - {"id", "created_at", "updated_at"}:
        assert in_database[field] == answer[field], field
    for field in ("created_at", "updated_at"):
        assert in_database[field] == moment(answer[field])
    assert in_database["ingested_at"] == in_database["updated_at"]


def test_it_is_read_again_by_its_id_with_or_without_its_tenant(api: httpx.Client) -> None:
    answer = post(api)
    assert api.get(f"/v1/messages/{answer['id']}").json() == answer
    with_tenant = api.get(f"/v1/messages/{answer['id']}", params={"tenant_id": "acme"})
    assert with_tenant.status_code == 200
    assert with_tenant.json() == answer


def test_another_tenants_message_looks_like_none(api: httpx.Client) -> None:
    answer = post(api)
    theirs = api.get(f"/v1/messages/{answer['id']}", params={"tenant_id": "globex"})
    missing = api.get(f"/v1/messages/{uuid4()}", params={"tenant_id": "globex"})
    nowhere = api.get(f"/v1/messages/{uuid4()}")
    without_id = [
        {**assert_problem(each, 404, "not-found"), "request_id": ""}
        for each in (theirs, missing, nowhere)
    ]
    assert without_id[0] == without_id[1] == without_id[2]


def test_a_look_up_that_makes_no_sense(api: httpx.Client) -> None:
    for path in ("nonsense", "%00", "%ff", "{id}", "1", "x" * 5_000):
        assert_problem(api.get(f"/v1/messages/{path}"), 400, "invalid-request", "message_id")
    for tenant in ("", "a,b", "a\n", "x" * 65):
        answer = api.get(f"/v1/messages/{uuid4()}", params={"tenant_id": tenant})
        assert_problem(answer, 400, "invalid-request", "tenant_id")


def test_when_it_was_said_is_kept_in_utc(api: httpx.Client, owner: Connection) -> None:
    answer = post(api, created_at="2020-02-29T23:30:00.123456-05:00")
    said = datetime(2020, 3, 1, 4, 30, 0, 123456, tzinfo=UTC)
    assert moment(answer["created_at"]) == row(owner, answer["id"])["created_at"] == said
    assert moment(answer["updated_at"]) > said


def test_a_given_importance_is_exact(api: httpx.Client, owner: Connection) -> None:
    for override in (0, 0.1, 0.123456789012345, 1):
        answer = post(api, importance_override=override)
        assert answer["importance_score"] == override
        kept = row(owner, answer["id"])
        assert kept["importance_score"] == kept["importance_override"] == override


def test_metadata_comes_back_as_it_went(api: httpx.Client) -> None:
    metadata = {
        "text": 'ümläut " \\ \n 🌍 \u202e',
        "": "",
        "numbers": [0, -1, 1.5, 2**63 - 1, -(2**63), 1e-300, 5e-324],
        "the largest fractions": [2.0**53, -(2.0**53), 2.0**52 - 0.5, 0.1 + 0.2],
        "nested": {"a": [{"b": [[], {}]}]},
        "none": None,
        "yes": True,
        "$ref": "'; drop table messages; --",
    }
    answer = post(api, metadata=metadata)
    assert answer["metadata"] == metadata
    assert api.get(f"/v1/messages/{answer['id']}").json()["metadata"] == metadata


def test_content_is_kept_word_for_word(api: httpx.Client, owner: Connection) -> None:
    for content in (
        " \n\t leading and trailing \r\n ",
        "e\u0301 is not \u00e9",
        "👩‍👩‍👧‍👦 \U0010ffff \ufffe \u202e",
        "\x01\x1b[31m",
        "%s {} $1 :name '; --",
        "x" * 100_000,
    ):
        answer = post(api, content=content)
        assert answer["content"] == content
        assert row(owner, answer["id"])["content"] == content
        assert api.get(f"/v1/messages/{answer['id']}").json()["content"] == content


BAD_FIELDS: dict[str, tuple[str, bytes | dict[str, Any]]] = {
    "no tenant": ("tenant_id", {k: v for k, v in message().items() if k != "tenant_id"}),
    "tenant with a newline": ("tenant_id", message(tenant_id="acme\n")),
    "tenant too long": ("tenant_id", message(tenant_id="x" * 65)),
    "conversation too long": ("conversation_id", message(conversation_id="x" * 129)),
    "conversation with a NUL": ("conversation_id", message(conversation_id="a\0")),
    "unknown role": ("role", message(role="robot")),
    "empty content": ("content", message(content="")),
    "content too long": ("content", message(content="x" * 100_001)),
    "content with a NUL": ("content", message(content="a\0b")),
    "metadata a list": ("metadata", message(metadata=[])),
    "metadata too large": ("metadata", message(metadata={"a": "x" * 17_000})),
    "metadata too deep": ("metadata", message(metadata={"a": [[[[[[[[1]]]]]]]]})),
    "metadata with a NUL": ("metadata", message(metadata={"a\0": 1})),
    "metadata with a huge integer": ("metadata", message(metadata={"a": 2**64})),
    "metadata with a fraction that loses digits": ("metadata", raw('"metadata": {"a": 1e19}')),
    "metadata with a number out of range": ("metadata", raw('"metadata": {"a": [1e999]}')),
    "importance over 1": ("importance_override", message(importance_override=1.1)),
    "importance not a number": ("importance_override", message(importance_override="1")),
    "no time zone": ("created_at", message(created_at="2026-01-01T00:00:00")),
    "before all time": ("created_at", message(created_at="0001-01-01T00:00:00Z")),
    "unknown field": ("surprise", message(surprise=1)),
}
BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "cut off": json.dumps(message()).encode()[:-5],
    "two values": json.dumps(message()).encode() * 2,
    "null": b"null",
    "a list": b"[]",
    "not UTF-8": json.dumps(message()).encode().replace(b"peanuts", b"\xff\xfe"),
    "UTF-16": json.dumps(message()).encode("utf-16"),
    "a surrogate in UTF-8": json.dumps(message()).encode().replace(b"peanuts", b"\xed\xa0\x80"),
    "a lone surrogate": json.dumps(message(content="\ud83d")).encode(),
    "a lone surrogate in a name": raw('"metadata": {"\\ud800": 1}'),
    "NaN": raw('"metadata": {"a": NaN}'),
    "Infinity": raw('"importance_override": Infinity'),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(message()).encode(),
    "a comment": raw('"metadata": {} /* hello */'),
    "deep lists": b"[" * 100_000,
    "deep metadata": raw('"metadata": {"a": ' + "[" * 50_000 + "]" * 50_000 + "}"),
    "deep unknown field": raw('"x": ' + '{"a":' * 50_000),
}


def test_a_bad_field_is_named_and_nothing_is_stored(
    api: httpx.Client, owner: Connection, subtests: pytest.Subtests
) -> None:
    for name, (field, body) in BAD_FIELDS.items():
        with subtests.test(name):
            content = body if isinstance(body, bytes) else json.dumps(body)
            answer = api.post("/v1/messages", content=content, headers=JSON)
            problem = assert_problem(answer, 400, "invalid-request", field)
            assert problem["detail"].startswith(f"{field}: ")
    assert stored(owner) == 0


def test_a_bad_body_is_a_400_and_nothing_is_stored(
    api: httpx.Client, owner: Connection, subtests: pytest.Subtests
) -> None:
    for name, body in BAD_BODIES.items():
        with subtests.test(name):
            answer = api.post("/v1/messages", content=body, headers=JSON)
            assert_problem(answer, 400, "invalid-request")
    assert stored(owner) == 0


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/vnd.api+json", "multipart/form-data"]
)
def test_only_json_is_taken(shared: httpx.Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = shared.post("/v1/messages", content=json.dumps(message()), headers=headers)
    assert_problem(answer, 415, "unsupported-media-type")


def test_json_may_be_said_in_other_letters(shared: httpx.Client) -> None:
    headers = {"Content-Type": "Application/JSON ; charset=utf-8"}
    answer = shared.post("/v1/messages", content=json.dumps(message()), headers=headers)
    assert answer.status_code == 200


def test_of_a_name_that_comes_twice_the_last_counts(api: httpx.Client) -> None:
    answer = api.post("/v1/messages", content=raw('"tenant_id": "globex"'), headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["tenant_id"] == "globex"


def in_chunks(body: bytes) -> Iterator[bytes]:
    """A body without a Content-Length."""
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


def test_a_body_over_the_limit_is_a_413(api: httpx.Client, owner: Connection) -> None:
    body = json.dumps(message(content="x" * 8_000_000)).encode()
    for connection in ("keep-alive", "close"):
        for content in (body, in_chunks(body)):
            headers = {**JSON, "Connection": connection}
            answer = api.post("/v1/messages", content=content, headers=headers)
            assert_problem(answer, 413, "request-entity-too-large")
    assert stored(owner) == 0


def test_a_client_that_reads_no_answer_before_all_is_sent_gets_it(api: httpx.Client) -> None:
    body = json.dumps(message(content="x" * 8_000_000)).encode()
    request = urllib.request.Request(f"{api.base_url}/v1/messages", body, JSON)
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request):
        pass
    with refused.value as answer:
        assert answer.code == 413
        assert json.load(answer)["type"].endswith("request-entity-too-large")


def test_a_body_in_chunks(api: httpx.Client) -> None:
    body = json.dumps(message()).encode()
    answer = api.post("/v1/messages", content=iter([body[:10], body[10:]]), headers=JSON)
    assert answer.status_code == 202


def test_the_limits_are_settings(settings: Settings) -> None:
    small = msgspec.structs.replace(settings, content_max_chars=5, request_max_bytes=200)
    with serving(small) as api:
        assert api.post("/v1/messages", json=message(content="12345")).status_code == 202
        longer = api.post("/v1/messages", json=message(content="123456"))
        assert_problem(longer, 400, "invalid-request", "content")
        larger = api.post("/v1/messages", json=message(metadata={"a": "x" * 200}))
        assert_problem(larger, 413, "request-entity-too-large")
