"""A store of 5,000 messages moves while it is searched and written to, and its worker is killed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psycopg
import uuid_utils.compat
from celery import Celery
from pgvector.psycopg import register_vector
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.embedding.mock import MockEmbedder
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tests.api.speaking import Speaker
from tests.db.store import Stored, copy_tenant
from tests.processes import wait_until
from tests.tasks.moves import FREE, assert_moved

MESSAGES = 5_000
TENANTS = [f"tenant-{number}" for number in range(10)]
PENDING = text("select count(*) from messages where embedding_status <> 'completed'")
STORED = text("select count(*) from messages")
OF_NEW = text("select count(*) from message_embeddings where model_id = 2")
STATE = text("select state from jobs where kind = 'embeddings_migrate'")
RESULT = text("select result from jobs where kind = 'embeddings_migrate'")
FREE_CLAIMS = text("update messages set claimed_until = now() where claimed_until > now()")


def said(number: int) -> str:
    """The content of a message, like no other's."""
    return f"note {number} says word{number} of subject{number % 97}"


class Load:
    """Searches and posts without a pause; what was not as it must be is an error."""

    def __init__(self, api: httpx.Client) -> None:
        self.url = api.base_url
        self.searches = 0
        self.posted: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Two searchers and a poster, until the block ends."""
        works = (self._search, self._search, self._post)
        threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _repeat(self, work: Callable[[httpx.Client, int], None]) -> None:
        number = 0
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self._ended.is_set():
                number += 1
                try:
                    work(client, number)
                except Exception as error:
                    self.errors.append(repr(error))

    def _search(self, client: httpx.Client, number: int) -> None:
        wanted = number * 37 % MESSAGES
        found = found_by_meaning(client, TENANTS[wanted % len(TENANTS)], said(wanted))
        self.searches += 1
        if found != said(wanted):
            self.errors.append(f"{said(wanted)!r} is missing: {found!r}")

    def _post(self, client: httpx.Client, number: int) -> None:
        tenant_id, content = TENANTS[number % len(TENANTS)], said(MESSAGES + number)
        Speaker(client, tenant_id).say(content)
        self.posted.append((tenant_id, content))
        # So many as one worker can embed beside a move, on a machine that does all the rest too.
        time.sleep(0.25)


def found_by_meaning(client: httpx.Client, tenant_id: str, query: str) -> str | None:
    """What is found first, by its vector alone."""
    answer = Speaker(client, tenant_id).answer(query, mode="semantic", top_k=1)
    return str(answer["items"][0]["content"]) if answer["items"] else None


def test_nothing_fails_and_nothing_is_missing(
    settings: Settings, api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    store_messages(settings.database_url)
    load = Load(api)
    with load.running():
        wait_until(lambda: load.searches > 100, "it is under load")
        body = {"provider": "mock", "dimensions": 256}
        assert api.post("/v1/admin/embeddings/migrate", json=body).status_code == 202
        wait_until(lambda: owner.scalar(OF_NEW) > MESSAGES // 4, "it is on its way", 60)
        worker.kill()
        moved = owner.scalar(OF_NEW)
        assert moved < MESSAGES, "killed too late to show anything"
        searched = load.searches
        wait_until(lambda: load.searches > searched + 100, "search goes on without a worker")
        begin_again(settings, worker, owner)
        wait_until(lambda: owner.scalar(STATE) == "completed", "the store has moved", 120)
        searched = load.searches
        wait_until(lambda: load.searches > searched + 200, "search goes on with the new model", 60)
    wait_until(lambda: owner.scalar(PENDING) == 0, "all that was posted is embedded")
    assert load.errors == []
    assert_moved(owner)
    assert owner.scalar(STORED) == MESSAGES + len(load.posted)
    assert MESSAGES <= owner.scalar(RESULT)["messages"] <= MESSAGES + len(load.posted)
    # What was done before the kill was not done again.
    assert owner.scalar(RESULT)["embedded"] <= MESSAGES + len(load.posted)
    for tenant_id, content in load.posted:
        assert found_by_meaning(api, tenant_id, content) == content


def store_messages(url: str) -> None:
    """Store the messages as if they had been posted and embedded."""
    with psycopg.connect(url) as connection:
        register_vector(connection)
        for place, tenant_id in enumerate(TENANTS):
            contents = [said(number) for number in range(place, MESSAGES, len(TENANTS))]
            vectors = MockEmbedder().embed(contents)
            stored = [
                Stored(uuid_utils.compat.uuid7(), content, vector)
                for content, vector in zip(contents, vectors, strict=True)
            ]
            copy_tenant(connection, tenant_id, 1, stored)


def begin_again(settings: Settings, worker: CeleryTestWorker, owner: Connection) -> None:
    """A new worker, which need not wait for what the killed one held, nor for beat."""
    owner.execute(FREE)
    owner.execute(FREE_CLAIMS)
    worker.restart()
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        app.send_task("restart_stalled_jobs")
        app.send_task("sweep_pending")
