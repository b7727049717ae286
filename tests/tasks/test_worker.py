"""Real workers on a real broker: what is posted is embedded, whatever dies on the way."""

from pathlib import Path

import httpx
import msgspec
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from db.queries.messages import PURGE_IDEMPOTENCY_KEYS
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.housekeeping import PURGE_KEYS
from tests.conftest import message, serving
from tests.db.rows import add_message
from tests.processes import ProcessContainer, wait_until
from tests.workers import celery_process

STATUSES = text("select embedding_status, count(*) from messages group by 1")


def statuses(owner: Connection) -> dict[str, int]:
    return {status: count for status, count in owner.execute(STATUSES)}  # noqa: C416


def search(api: httpx.Client, query: str, **params: object) -> list[str]:
    answer = api.get("/v1/memory/search", params={"tenant_id": "acme", "query": query, **params})
    assert answer.status_code == 200, answer.text
    return [item["content"] for item in answer.json()["items"]]


def test_a_posted_message_is_found(api: httpx.Client, worker: CeleryTestWorker) -> None:
    posted = api.post("/v1/messages", json=message(), headers={"X-Request-ID": "find-me-1"})
    assert posted.status_code == 202
    wait_until(lambda: search(api, "peanuts"), "the message is found")
    # The request's id reaches the task's log line; the content reaches none.
    worker.wait_for_log("find-me-1")
    assert "peanuts" not in worker.logs()


@pytest.mark.parametrize("provider", ["onnx"])
def test_killed_in_the_middle_of_a_batch_nothing_is_lost(
    settings: Settings, worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    short = msgspec.structs.replace(settings, embedding_lease_seconds=2.0)
    contents = [f"note {n} about subject {n}" for n in range(600)]
    with serving(short) as api:
        body = {"messages": [message(content=content) for content in contents]}
        assert api.post("/v1/messages/batch", json=body).status_code == 202
        wait_until(lambda: statuses(owner).get("completed", 0) > 50, "embedding has begun")
        worker.kill()
        assert statuses(owner).get("pending", 0) > 0, "killed too late to show anything"
        # What it held is freed at once, for the test need not wait for a minute's lease.
        owner.execute(text("update messages set claimed_until = now() where claimed_until > now()"))
        worker.restart()
        wait_until(lambda: statuses(owner) == {"completed": 600}, "all is embedded", 90)
        for number in (0, 299, 599):
            assert contents[number] in search(api, contents[number], top_k=3)


def test_a_killed_child_costs_an_attempt_and_no_message(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    worker.container.kill_children()
    api.post("/v1/messages", json=message())
    wait_until(lambda: statuses(owner) == {"completed": 1}, "the next child has embedded it")


def test_an_emptied_broker_loses_nothing(
    settings: Settings,
    api: httpx.Client,
    owner: Connection,
    request: pytest.FixtureRequest,
) -> None:
    posted = api.post("/v1/messages", json=message()).json()
    with redis.Redis.from_url(settings.redis_url) as client:
        wait_until(lambda: client.llen("embeddings"), "the task is sent")
        client.flushall()
    owner.execute(text("update messages set ingested_at = now() - interval '1 minute'"))
    request.getfixturevalue("worker")
    request.getfixturevalue("beat")
    wait_until(lambda: statuses(owner) == {"completed": 1}, "the sweep has found it")
    found = api.get(f"/v1/messages/{posted['id']}").json()
    assert found["embedding_status"] == "completed"


def test_a_poison_message_ends_failed_and_harms_no_other(
    worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    poison = add_message(owner, attempts=5, claimed_for=-1, age=100)
    fine = add_message(owner, age=100)
    wait_until(lambda: statuses(owner) == {"completed": 1, "failed": 1}, "both have ended")
    rows = {
        row.id: row.embedding_error
        for row in owner.execute(text("select id, embedding_error from messages"))
    }
    assert rows[fine] is None
    assert "worker ended 5 times" in (rows[poison] or "")


def test_the_sweep_leaves_alone_what_is_new_or_held(
    worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    add_message(owner, "new")
    add_message(owner, "held", age=100, attempts=1, claimed_for=600)
    add_message(owner, "old", age=100)
    wait_until(lambda: statuses(owner).get("completed"), "the old one is embedded")
    waiting = owner.scalars(
        text("select tenant_id from messages where embedding_status = 'pending' order by 1")
    ).all()
    assert waiting == ["held", "new"]


def test_old_idempotency_keys_are_purged(owner: Connection) -> None:
    owner.execute(
        text(
            "insert into idempotency_keys (tenant_id, key, digest, message_ids, created_at)"
            " values ('acme', 'old', '', '{}', now() - interval '25 hours'),"
            " ('acme', 'new', '', '{}', now())"
        )
    )
    assert owner.execute(PURGE_IDEMPOTENCY_KEYS, {"most": PURGE_KEYS}).rowcount == 1
    assert owner.scalars(text("select key from idempotency_keys")).all() == ["new"]


def test_a_purge_goes_on_until_no_old_key_is_left(
    settings: Settings, worker: CeleryTestWorker, owner: Connection
) -> None:
    owner.execute(
        text(
            "insert into idempotency_keys (tenant_id, key, digest, message_ids, created_at)"
            " select 'acme', 'old-' || n, '', '{}', now() - interval '25 hours'"
            " from generate_series(1, :keys) as n"
        ),
        {"keys": 2 * PURGE_KEYS + 1},
    )
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        app.send_task("purge_idempotency_keys")
    left = text("select count(*) from idempotency_keys")
    wait_until(lambda: owner.scalar(left) == 0, "all old keys are gone")


def test_a_worker_refuses_a_store_of_another_model(
    settings: Settings, tmp_path: Path, owner: Connection
) -> None:
    owner.execute(
        text("insert into embedding_models (name, dimensions, active) values ('other', 5, true)")
    )
    worker = celery_process(settings, tmp_path, "refuses", "worker", "-Q", "embeddings")
    try:
        wait_until(lambda: worker.status == "exited", "the worker has ended")
        assert "holds vectors of other" in worker.logs()
    finally:
        worker.teardown()
