"""Real workers on RabbitMQ: what is posted is embedded, whatever dies on the way."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import httpx
import msgspec
import psycopg
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.queues import EMBEDDINGS, QUEUES
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.sending import send_embedding
from tests.brokers.rabbitmq import PASSWORD, WRITTEN_PASSWORD, RabbitMQ, has_rabbitmq
from tests.conftest import message, serving
from tests.db.rows import add_message
from tests.metrics_pages import series
from tests.processes import ProcessContainer, wait_until
from tests.sends import post_beside_a_send

pytestmark = has_rabbitmq
STATUSES = text("select embedding_status, count(*) from messages group by 1")
BLOCKED = text(
    "select count(*) from pg_locks where not granted and relation = 'messages'::regclass"
)


@pytest.fixture
def settings(settings: Settings, rabbitmq: RabbitMQ) -> Settings:
    """With a broker of its own, in which nothing waits."""
    rabbitmq.forget(QUEUES)
    return msgspec.structs.replace(settings, broker_url=rabbitmq.url)


def statuses(owner: Connection) -> dict[str, int]:
    return {status: count for status, count in owner.execute(STATUSES)}  # noqa: C416


def post(api: httpx.Client) -> None:
    assert api.post("/v1/messages", json=message()).status_code == 202


def figure(api: httpx.Client, name: str) -> float:
    return series(api.get("/metrics").text)[name]


@contextlib.contextmanager
def nobody_claims(settings: Settings) -> Iterator[None]:
    """Whoever wants to claim a message waits, and with it the task."""
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("lock table messages in share mode")
        yield


def test_all_of_it_goes_by_rabbitmq(
    api: httpx.Client,
    worker: CeleryTestWorker,
    beat: ProcessContainer,
    settings: Settings,
    owner: Connection,
) -> None:
    post(api)
    wait_until(lambda: statuses(owner) == {"completed": 1}, "it is embedded")
    worker.wait_for_log("sweep_pending")
    assert api.get("/v1/admin/readiness").json()["broker"] == "up"
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        kept = set(client.keys())
        assert any(key.startswith("memory:redbeat") for key in kept)
        assert not {key for key in kept if "kombu" in key or key in QUEUES}
    for secret in (PASSWORD, WRITTEN_PASSWORD):
        assert secret not in worker.logs() + beat.logs()


def test_what_waits_is_counted(api: httpx.Client, rabbitmq: RabbitMQ) -> None:
    post(api)
    wait_until(lambda: figure(api, 'queue_tasks{queue="embeddings"}') == 1, "it waits")
    assert rabbitmq.waiting(EMBEDDINGS) == 1
    assert figure(api, 'queue_tasks{queue="maintenance"}') == 0
    assert figure(api, "broker_up") == 1


def test_a_killed_broker_slows_nothing_and_its_return_is_noticed(
    api: httpx.Client,
    worker: CeleryTestWorker,
    beat: ProcessContainer,
    rabbitmq: RabbitMQ,
    owner: Connection,
) -> None:
    post(api)
    wait_until(lambda: statuses(owner) == {"completed": 1}, "it is embedded")
    rabbitmq.kill()
    try:
        post_beside_a_send(api, 20)
        wait_until(lambda: figure(api, "publish_dropped_total") > 0, "what is dropped is counted")
        assert figure(api, "broker_up") == 0
        found = api.get("/v1/admin/readiness").json()
        assert (found["status"], found["redis"], found["broker"]) == ("degraded", "up", "down")
        assert found["reasons"] == [
            "The broker is down: messages wait for the sweep to be embedded."
        ]
    finally:
        rabbitmq.start()
    owner.execute(text("update messages set ingested_at = now() - interval '1 minute'"))
    wait_until(lambda: statuses(owner) == {"completed": 21}, "the sweep has sent them again", 60)


def test_a_restarted_broker_costs_no_task(
    api: httpx.Client, rabbitmq: RabbitMQ, settings: Settings
) -> None:
    post(api)
    wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == 1, "the task is sent")
    rabbitmq.kill()
    rabbitmq.start()
    # Its connection is broken, which it learns by using it.
    post(api)
    wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == 2, "what was sent and what is sent now")
    assert figure(api, "publish_dropped_total") == 0


def test_a_silent_broker_slows_nothing_and_holds_nobody(
    settings: Settings, rabbitmq: RabbitMQ, request: pytest.FixtureRequest, owner: Connection
) -> None:
    with contextlib.ExitStack() as frozen:
        with serving(settings) as api:
            post(api)
            wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == 1, "the task is sent")
            rabbitmq.freeze()
            frozen.callback(rabbitmq.thaw)
            post_beside_a_send(api, 20)
            wait_until(lambda: figure(api, "publish_dropped_total") > 0, "it is given up", 15)
            assert figure(api, "broker_up") == 0
            started = time.monotonic()
        assert time.monotonic() - started < 15, "the API has waited for its end"
    owner.execute(text("update messages set ingested_at = now() - interval '1 minute'"))
    request.getfixturevalue("worker")
    request.getfixturevalue("beat")
    wait_until(lambda: statuses(owner) == {"completed": 21}, "all is embedded")


def test_a_killed_workers_task_is_another_ones(
    settings: Settings,
    api: httpx.Client,
    rabbitmq: RabbitMQ,
    owner: Connection,
    request: pytest.FixtureRequest,
) -> None:
    post(api)
    wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == 1, "the task is sent")
    with nobody_claims(settings):
        worker: CeleryTestWorker = request.getfixturevalue("worker")
        wait_until(lambda: owner.scalar(BLOCKED), "the task is at work")
        assert rabbitmq.waiting(EMBEDDINGS) == 0
        worker.kill()
        wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == 1, "the task waits again")
    worker.restart()
    # No beat runs, so nobody but the broker can have sent it again.
    wait_until(lambda: statuses(owner) == {"completed": 1}, "the next worker has embedded it")


def test_a_worker_that_is_told_to_end_leaves_what_it_has_not_begun(
    settings: Settings,
    api: httpx.Client,
    rabbitmq: RabbitMQ,
    owner: Connection,
    request: pytest.FixtureRequest,
) -> None:
    for count in range(1, 5):
        post(api)
        wait_until(lambda: rabbitmq.waiting(EMBEDDINGS) == count, "a task more")  # noqa: B023
    with nobody_claims(settings):
        worker: CeleryTestWorker = request.getfixturevalue("worker")
        wait_until(lambda: owner.scalar(BLOCKED), "a task is at work")
        os.kill(int(worker.container.id), signal.SIGTERM)
        worker.wait_for_log("Warm shutdown")
    wait_until(lambda: worker.container.status == "exited", "it has ended")
    assert worker.container.process.returncode == 0
    assert rabbitmq.waiting(EMBEDDINGS) == 3


def test_what_is_sent_twice_is_embedded_once(
    settings: Settings, worker: CeleryTestWorker, owner: Connection
) -> None:
    id_ = add_message(owner)
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        for _ in range(3):
            send_embedding(app, {"acme": [id_]})
    wait_until(lambda: statuses(owner) == {"completed": 1}, "it is embedded")
    wait_until(lambda: worker.logs().count("embed_messages") >= 3, "all three have come")
    attempts = text("select embedding_attempts from messages")
    assert owner.scalars(attempts).all() == [1]
