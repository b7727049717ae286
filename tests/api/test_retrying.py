"""The dead-letter door: what could not be embedded is tried again."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import redis
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import serving
from tests.db.rows import add_message
from tests.processes import wait_until

PATH = "/v1/admin/embeddings/retry"
GIVE_UP = text("update messages set embedding_error = 'boom', embedding_attempts = 5")
STATE = text("""
select embedding_status, embedding_attempts, embedding_error, claimed_until from messages
where id = any(cast(:ids as uuid[]))
""")
AS_NEW = ("pending", 0, None, None)
GIVEN_UP = ("failed", 5, "boom", None)


def retry(api: httpx.Client, **body: Any) -> httpx.Response:
    return api.post(PATH, json=body)


def failed(owner: Connection, tenant_id: str, messages: int) -> list[UUID]:
    """Messages of a tenant that were given up."""
    ids = [add_message(owner, tenant_id, f"note {n}", status="failed") for n in range(messages)]
    owner.execute(GIVE_UP)
    return ids


def states(owner: Connection, ids: list[UUID]) -> set[tuple[Any, ...]]:
    return {tuple(state) for state in owner.execute(STATE, {"ids": ids})}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than ten messages are many."""
    monkeypatch.setattr("api.retrying.FEW", 10)


def test_a_tenants_failed_messages_are_sent_at_once(
    settings: Settings, api: httpx.Client, owner: Connection
) -> None:
    ours, theirs = failed(owner, "acme", 3), failed(owner, "globex", 1)
    answer = retry(api, tenant_id="acme")
    assert (answer.status_code, answer.json()) == (200, {"retried": 3})
    assert states(owner, ours) == {AS_NEW}
    assert states(owner, theirs) == {GIVEN_UP}
    with redis.Redis.from_url(settings.redis_url) as broker:
        wait_until(lambda: broker.llen("embeddings") == 1, "the workers are told")
    assert retry(api, tenant_id="acme").json() == {"retried": 0}


def test_named_messages_are_tried_again_and_no_other(api: httpx.Client, owner: Connection) -> None:
    ours, theirs = failed(owner, "acme", 3), failed(owner, "globex", 1)
    done = add_message(owner, "acme", status="completed")
    named = [str(each) for each in (ours[0], theirs[0], done, uuid4())]
    assert retry(api, tenant_id="acme", message_ids=named).json() == {"retried": 1}
    assert states(owner, ours[:1]) == {AS_NEW}
    assert states(owner, ours[1:] + theirs) == {GIVEN_UP}
    assert next(iter(states(owner, [done])))[0] == "completed"


def test_many_are_a_job(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection, few: None
) -> None:
    ours, theirs = failed(owner, "acme", 11), failed(owner, "globex", 1)
    answer = retry(api, tenant_id="acme")
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["tenant_id"]) == ("embeddings_retry", "acme")

    def state() -> dict[str, Any]:
        return dict(api.get(f"/v1/jobs/{job['id']}").json())

    wait_until(lambda: state()["state"] == "completed", "the job is done")
    assert state()["result"] == {"retried": 11}
    assert (state()["done"], state()["total"]) == (11, 11)
    assert {each[0] for each in states(owner, ours)} <= {"pending", "completed"}
    assert states(owner, theirs) == {GIVEN_UP}


def test_all_tenants_are_one_job(api: httpx.Client, owner: Connection) -> None:
    failed(owner, "acme", 1)
    first, second = retry(api), retry(api)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["tenant_id"] is None
    assert first.json()["id"] == second.json()["id"]


def test_a_retried_message_is_embedded(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    ids = failed(owner, "acme", 3)
    retry(api, tenant_id="acme")
    wait_until(
        lambda: {each[0] for each in states(owner, ids)} == {"completed"}, "they are embedded"
    )


def test_a_job_says_who_started_it(settings: Settings, api: httpx.Client) -> None:
    local = retry(api).json()
    assert local["started_by"] == "local"
    api.post(f"/v1/jobs/{local['id']}/cancel")
    with serving(msgspec.structs.replace(settings, api_keys="one,another")) as locked:
        locked.headers["Authorization"] = "Bearer another"
        digest = hashlib.sha256(b"another").hexdigest()
        assert retry(locked).json()["started_by"] == f"key {digest[:8]}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tenant_id": "a b"}, "tenant_id"),
        ({"tenant_id": "*"}, "tenant_id"),
        ({"tenant_id": "acme", "message_ids": []}, "message_ids"),
        ({"tenant_id": "acme", "message_ids": ["7"]}, "message_ids"),
        ({"tenant_id": "acme", "message_ids": [str(uuid4())] * 1_001}, "message_ids"),
        ({"message_ids": [str(uuid4())]}, "message_ids"),
        ({"tenants": "acme"}, "tenants"),
    ],
)
def test_a_wrong_request_is_refused(shared: httpx.Client, body: dict[str, Any], field: str) -> None:
    assert_problem(retry(shared, **body), 400, "invalid-request", field)


def test_a_body_that_is_no_json_is_refused(shared: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(shared.post(PATH, content=b"{", headers=headers), 400, "invalid-request")
    assert_problem(shared.post(PATH, content=b"[]", headers=headers), 400, "invalid-request")
    assert_problem(shared.post(PATH, content=b"{}"), 415, "unsupported-media-type")
