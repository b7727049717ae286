"""Many messages in one request."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.answers import JSON, assert_problem, stored
from tests.conftest import message, serving

BATCH = "/v1/messages/batch"


def post(api: httpx.Client, messages: list[Any], **fields: Any) -> httpx.Response:
    return api.post(BATCH, json={"messages": messages, **fields})


def numbered(count: int) -> list[dict[str, Any]]:
    return [message(content=f"note {number}") for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_all_are_stored_and_answered_in_order(
    api: httpx.Client, owner: Connection, count: int
) -> None:
    answer = post(api, numbered(count))
    assert answer.status_code == 202
    body = answer.json()
    assert (body["stored"], body["errors"]) == (count, [])
    contents = [f"note {number}" for number in range(count)]
    assert [item["content"] for item in body["items"]] == contents
    assert owner.scalars(text("select content from messages order by id")).all() == contents
    assert api.get(f"/v1/messages/{body['items'][-1]['id']}").json() == body["items"][-1]


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_of_another_size_is_refused(
    api: httpx.Client, owner: Connection, count: int
) -> None:
    assert_problem(post(api, numbered(count)), 400, "invalid-request", "messages")
    assert stored(owner) == 0


def test_errors_come_by_index_and_nothing_is_stored(api: httpx.Client, owner: Connection) -> None:
    messages: list[Any] = numbered(6)
    messages[1]["role"] = "robot"
    messages[3] = 7
    messages[4]["metadata"] = {"a": "\0"}
    messages[5]["surprise"] = 1
    problem = assert_problem(post(api, messages), 400, "invalid-request")
    errors = [(error["index"], error["field"]) for error in problem["errors"]]
    assert errors == [(1, "role"), (3, ""), (4, "metadata"), (5, "surprise")]
    assert problem["detail"].startswith("messages[1].role: ")
    assert stored(owner) == 0


def test_a_partial_batch_stores_what_is_valid(api: httpx.Client, owner: Connection) -> None:
    messages = numbered(4)
    messages[0]["content"] = ""
    messages[2]["tenant_id"] = "not a tenant"
    answer = post(api, messages, partial=True)
    assert answer.status_code == 202
    body = answer.json()
    assert body["stored"] == stored(owner) == 2
    assert [item["content"] for item in body["items"]] == ["note 1", "note 3"]
    errors = [(error["index"], error["field"]) for error in body["errors"]]
    assert errors == [(0, "content"), (2, "tenant_id")]


def test_a_partial_batch_without_a_valid_message_is_refused(
    api: httpx.Client, owner: Connection
) -> None:
    answer = post(api, [message(role="robot"), message(content="")], partial=True)
    problem = assert_problem(answer, 400, "invalid-request")
    assert [error["index"] for error in problem["errors"]] == [0, 1]
    assert stored(owner) == 0


def test_a_bad_envelope_is_named(api: httpx.Client, subtests: pytest.Subtests) -> None:
    for field, body in {
        "messages": {},
        "messages ": {"messages": None},
        "messages  ": {"messages": {}},
        "partial": {"messages": [message()], "partial": "yes"},
        "surprise": {"messages": [message()], "surprise": 1},
    }.items():
        with subtests.test(body=body):
            answer = api.post(BATCH, json=body)
            assert_problem(answer, 400, "invalid-request", field.strip())
    for content in (b"", b"null", b"[]", b'{"messages": [', b'{"messages": [' + b"[" * 50_000):
        with subtests.test(content=content[:20]):
            answer = api.post(BATCH, content=content, headers=JSON)
            assert_problem(answer, 400, "invalid-request")
    assert_problem(api.post(BATCH, content=b"{}"), 415, "unsupported-media-type")


def test_a_batch_may_be_larger_than_a_message(settings: Settings, owner: Connection) -> None:
    small = msgspec.structs.replace(settings, request_max_bytes=1_000, batch_max_bytes=5_000)
    with serving(small) as api:
        assert post(api, numbered(20)).status_code == 202
        assert_problem(post(api, numbered(100)), 413, "request-entity-too-large")
        single = api.post("/v1/messages", json=message(content="x" * 1_000))
        assert_problem(single, 413, "request-entity-too-large")
    assert stored(owner) == 20


def test_the_default_takes_sixteen_mebibytes(api: httpx.Client, owner: Connection) -> None:
    large = [message(content="x" * 99_000) for _ in range(168)]
    assert len(json.dumps({"messages": large})) < 16 * 1_048_576
    assert post(api, large).status_code == 202
    larger = [*large, message(content="x" * 99_000), message(content="x" * 99_000)]
    assert_problem(post(api, larger), 413, "request-entity-too-large")
    assert stored(owner) == 168


def test_a_batch_may_be_of_several_tenants(api: httpx.Client, owner: Connection) -> None:
    tenants = ["acme", "globex", "acme", "initech"]
    answer = post(api, [message(tenant_id=tenant) for tenant in tenants])
    assert [item["tenant_id"] for item in answer.json()["items"]] == tenants
    count = "select tenant_id, count(*) from messages group by 1 order by 1"
    assert [tuple(row) for row in owner.execute(text(count))] == [
        ("acme", 2),
        ("globex", 1),
        ("initech", 1),
    ]


def test_a_key_stands_for_the_whole_batch(api: httpx.Client, owner: Connection) -> None:
    headers = {"Idempotency-Key": "import-1"}
    body = {"messages": numbered(30)}
    first = api.post(BATCH, json=body, headers=headers)
    again = api.post(BATCH, json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.json() == first.json()
    assert stored(owner) == 30
    shorter = api.post(BATCH, json={"messages": numbered(29)}, headers=headers)
    assert_problem(shorter, 422, "idempotency-conflict")
    one_of_them = api.post("/v1/messages", json=numbered(1)[0], headers=headers)
    assert_problem(one_of_them, 422, "idempotency-conflict")
    assert stored(owner) == 30


def test_a_key_goes_with_one_tenant_only(api: httpx.Client, owner: Connection) -> None:
    body = {"messages": [message(), message(tenant_id="globex")]}
    answer = api.post(BATCH, json=body, headers={"Idempotency-Key": "k"})
    assert_problem(answer, 400, "invalid-request", "Idempotency-Key")
    assert stored(owner) == 0


def test_a_message_of_more_bytes_than_any_may_have_is_not_even_decoded(
    settings: Settings, owner: Connection
) -> None:
    short = msgspec.structs.replace(settings, content_max_chars=10)
    with serving(short) as api:
        # Each of its ten characters may take two escapes, of six bytes each.
        fits = json.dumps({"messages": [message(content="\U0001f511" * 10)]})
        assert api.post(BATCH, content=fits, headers=JSON).status_code == 202
        messages = [message(content="short"), message(content="x" * 300_000)]
        problem = assert_problem(post(api, messages), 400, "invalid-request", "content")
        assert "bytes" in problem["detail"]
        assert problem["errors"][0]["index"] == 1
    assert stored(owner) == 1
