"""An Idempotency-Key: the same request as often as one likes, stored once."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.ingest import Ingest
from api.storing import Key, Request
from db.engine import api_engine
from memory.errors import IdempotencyConflictError
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry
from memory.messages import NewMessage, accept, request_digest
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tests.api.answers import assert_problem, found, row, stored
from tests.conftest import message


def post(api: httpx.Client, key: str, **changes: Any) -> httpx.Response:
    return api.post("/v1/messages", json=message(**changes), headers={"Idempotency-Key": key})


def asked(key: str, **changes: Any) -> Request:
    """A request as the handler makes it."""
    new = NewMessage(**message(**changes))
    settings = effective(Settings(), TenantSettings())
    stored_message = accept(new, "pending", datetime.now(UTC), 0.5, settings)
    words = analyser("english")
    terms = content_entry(words, new.tenant_id, new.content, new.metadata)
    digest = Key(key, request_digest([new]))
    return Request([(new, stored_message)], [terms], [0.5], {new.tenant_id: words}, digest)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


def test_a_repetition_gets_the_stored_message(api: httpx.Client, owner: Connection) -> None:
    first = post(api, "k-1", metadata={"a": 1, "b": [0.5]})
    assert "idempotency-replayed" not in first.headers
    for _ in range(3):
        again = post(api, "k-1", metadata={"b": [0.5], "a": 1})
        assert again.status_code == 202
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()
    assert stored(owner) == 1


def test_a_repetition_shows_how_far_the_message_is(api: httpx.Client, owner: Connection) -> None:
    post(api, "k")
    owner.execute(text("update messages set embedding_status = 'completed'"))
    assert post(api, "k").json()["embedding_status"] == "completed"


def test_another_body_is_a_conflict(api: httpx.Client, owner: Connection) -> None:
    post(api, "k")
    for change in ({"content": "other"}, {"metadata": {"a": 1}}, {"importance_override": 0.5}):
        assert_problem(post(api, "k", **change), 422, "idempotency-conflict")
    assert stored(owner) == 1


def test_keys_are_a_tenants_own(api: httpx.Client, owner: Connection) -> None:
    ours, theirs = post(api, "k"), post(api, "k", tenant_id="globex", content="Other.")
    assert theirs.status_code == 202
    assert ours.json()["id"] != theirs.json()["id"]
    assert stored(owner) == 2


def test_without_a_key_the_same_message_is_stored_twice(
    api: httpx.Client, owner: Connection
) -> None:
    for _ in range(2):
        assert api.post("/v1/messages", json=message()).status_code == 202
    assert stored(owner) == 2


@pytest.mark.parametrize(("age", "copies"), [("23 hours 59 minutes", 1), ("24 hours 1 minute", 2)])
def test_a_key_holds_for_a_day(api: httpx.Client, owner: Connection, age: str, copies: int) -> None:
    first = post(api, "k")
    owner.execute(text(f"update idempotency_keys set created_at = now() - interval '{age}'"))
    second = post(api, "k")
    assert stored(owner) == copies
    assert (second.json()["id"] != first.json()["id"]) is (copies == 2)
    # Whichever it was, the key stands for it from now on.
    assert post(api, "k").json()["id"] == second.json()["id"]


def test_after_a_day_a_key_may_come_with_another_body(api: httpx.Client, owner: Connection) -> None:
    post(api, "k")
    owner.execute(text("update idempotency_keys set created_at = now() - interval '25 hours'"))
    second = post(api, "k", content="other")
    assert second.status_code == 202
    assert post(api, "k", content="other").json()["id"] == second.json()["id"]
    assert_problem(post(api, "k"), 422, "idempotency-conflict")


def test_many_at_once_give_one_message(api: httpx.Client, owner: Connection) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: post(api, f"k-{number % 4}"), range(96)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == stored(owner) == 4
    fresh = [answer for answer in answers if "idempotency-replayed" not in answer.headers]
    assert len(fresh) == 4


def test_of_two_bodies_at_once_one_wins(api: httpx.Client, owner: Connection) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: post(api, "k", content=f"body {n % 2}"), range(32)))
    (winner,) = {answer.json()["content"] for answer in answers if answer.status_code == 202}
    for number, answer in enumerate(answers):
        assert (answer.status_code == 202) is (winner == f"body {number % 2}")
    assert stored(owner) == 1


async def test_in_one_insert_group_too(engine: AsyncEngine, owner: Connection) -> None:
    ingest = Ingest(engine)
    requests = [asked("k"), asked("k"), asked("other"), asked("k", content="Other.")]
    for request in requests:
        ingest._waiting.put_nowait(request)
    await ingest.start()
    await ingest.stop()
    first, again, other = (request.done.result() for request in requests[:3])
    assert (first.replayed, again.replayed, other.replayed) == (False, True, False)
    assert again.messages == first.messages
    assert isinstance(requests[3].done.exception(), IdempotencyConflictError)
    assert stored(owner) == 2


async def test_a_group_that_failed_leaves_its_keys_free(
    engine: AsyncEngine, owner: Connection
) -> None:
    ingest = Ingest(engine)
    owner.execute(text("alter table messages rename to elsewhere"))
    failed = asked("k")
    ingest._waiting.put_nowait(failed)
    await ingest.start()
    await ingest._waiting.join()
    assert failed.done.exception() is not None
    owner.execute(text("alter table elsewhere rename to messages"))
    outcome = await ingest.store(asked("k", content="another body"))
    await ingest.stop()
    assert not outcome.replayed
    assert row(owner, str(outcome.messages[0].id))["content"] == "another body"


def test_what_a_key_stored_may_be_gone(api: httpx.Client, owner: Connection) -> None:
    post(api, "k")
    owner.execute(text("delete from messages"))
    assert_problem(post(api, "k"), 410, "gone")
    assert stored(owner) == 0


def test_a_batch_is_gone_when_one_of_it_is(api: httpx.Client, owner: Connection) -> None:
    body = {"messages": [message(content="a"), message(content="b")]}
    headers = {"Idempotency-Key": "k"}
    api.post("/v1/messages/batch", json=body, headers=headers)
    owner.execute(text("delete from messages where content = 'a'"))
    answer = api.post("/v1/messages/batch", json=body, headers=headers)
    assert_problem(answer, 410, "gone")


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "tab\tbed", "é".encode()])
def test_an_unusable_key_is_refused(shared: httpx.Client, key: str | bytes) -> None:
    headers: Any = {"Idempotency-Key": key}
    answer = shared.post("/v1/messages", json=message(tenant_id="unusable"), headers=headers)
    assert_problem(answer, 400, "invalid-request", "Idempotency-Key")
    assert found(shared, "peanuts", tenant_id="unusable") == []


@pytest.mark.parametrize("key", ["0", "x" * 255, "a,b;c=\"d'%\\"])
def test_a_usable_key(shared: httpx.Client, key: str) -> None:
    first = post(shared, key)
    assert post(shared, key).json()["id"] == first.json()["id"]
