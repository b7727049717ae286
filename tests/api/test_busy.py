"""A service whose connections to the database are all in use: busy, and not without a database."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from api.probes import Shared
from memory.settings import Settings
from tests.api.answers import assert_problem, stored
from tests.conftest import message, serving
from tests.processes import wait_until

WAITING = text("""
select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and query ilike :said
""")
ID = "01a1fd3d-0a8d-7280-8000-000000000000"


@contextmanager
def locked(owner: Connection, table: str) -> Iterator[None]:
    """Whoever reads `table` waits."""
    held = owner.engine.connect().execution_options(isolation_level="READ COMMITTED")
    with held as holder:
        holder.execute(text(f"lock table {table} in access exclusive mode"))
        yield


def waiting(owner: Connection, said: str) -> int:
    """How many statements that say so wait for a lock."""
    return owner.scalar(WAITING, {"said": f"%{said}%"}) or 0


@pytest.fixture
def poor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A service with one connection for its requests, for which nobody waits long."""
    monkeypatch.setattr("db.engine.POOL_TIMEOUT_SECONDS", 0.3)
    lean = msgspec.structs.replace(settings, database_pool_size=1, database_max_overflow=0)
    with serving(lean) as client:
        yield client


@contextmanager
def exhausted(api: httpx.Client, owner: Connection) -> Iterator[Future[httpx.Response]]:
    """The one connection waits for a lock; gives the answer for which it is used."""
    with ThreadPoolExecutor(1) as thread, locked(owner, "messages"):
        path = f"{api.base_url}/v1/messages/{ID}"
        slow = thread.submit(httpx.get, path, params={"tenant_id": "acme"}, timeout=30)
        wait_until(lambda: waiting(owner, "from messages"), "the connection is in use")
        yield slow


def test_requests_hear_that_the_service_is_busy(poor: httpx.Client, owner: Connection) -> None:
    with exhausted(poor, owner) as slow:
        for answer in (
            poor.get(f"/v1/messages/{ID}", params={"tenant_id": "acme"}),
            poor.post("/v1/messages", json=message()),
            poor.get("/v1/jobs"),
        ):
            assert "busy" in assert_problem(answer, 503, "busy")["detail"]
            assert "database" not in answer.text
    assert slow.result().status_code == 404
    assert stored(owner) == 0
    assert poor.post("/v1/messages", json=message()).status_code == 202


def test_probes_are_answered_all_the_same(poor: httpx.Client, owner: Connection) -> None:
    with exhausted(poor, owner) as slow:
        health = poor.get("/v1/admin/health")
        assert (health.status_code, health.json()["database"]) == (200, "up")
        readiness = poor.get("/v1/admin/readiness")
        assert (readiness.status_code, readiness.json()["database"]) == (200, "up")
        assert poor.get("/metrics").status_code == 200
        assert not slow.done()


def test_many_who_ask_are_one_statement(poor: httpx.Client, owner: Connection) -> None:
    def ask(_: int) -> tuple[int, str | None]:
        answer = httpx.get(f"{poor.base_url}/v1/admin/health", timeout=30)
        return answer.status_code, answer.json()["last_retention_run"]

    most = 0
    with ThreadPoolExecutor(20) as threads, locked(owner, "jobs"):
        asked = threads.map(ask, range(20))
        wait_until(lambda: waiting(owner, "last_completed"), "somebody asks")
        ended = threading.Event()
        threads.submit(lambda: (list(asked), ended.set()))
        while not ended.is_set():
            most = max(most, waiting(owner, "last_completed"))
            # What reads a locked table is not what tells whether the database answers.
            assert poor.get("/v1/admin/readiness").status_code == 200
    assert most == 1


async def test_who_asks_while_it_is_under_way_hears_the_same() -> None:
    asked: list[asyncio.Future[int]] = []

    async def ask() -> int:
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    question = Shared(ask, 30, 0)
    first, second, third = (asyncio.create_task(question()) for _ in range(3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    asked[0].set_result(1)
    assert (await second, await third, first.cancelled(), len(asked)) == (1, 1, True, 1)
    later = asyncio.create_task(question())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked[1].set_result(2)
    assert await later == 2


async def test_nobody_waits_longer_than_the_answer_is_worth() -> None:
    released = asyncio.Event()

    async def ask() -> str:
        # As what is given up, and takes its time for that, too.
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        return "at last"

    question = Shared(ask, 0.05, "nothing yet")
    assert await asyncio.gather(question(), question()) == ["nothing yet"] * 2
    released.set()
    assert await question() == "at last"


def test_a_statement_is_ended_with_its_request(settings: Settings, owner: Connection) -> None:
    hasty = msgspec.structs.replace(settings, request_timeout_seconds=1.0)
    with serving(hasty) as api:
        with ThreadPoolExecutor(1) as thread, locked(owner, "messages"):
            url = f"{api.base_url}/v1/messages/{ID}"
            asked = thread.submit(httpx.get, url, params={"tenant_id": "acme"}, timeout=30)
            wait_until(lambda: waiting(owner, "from messages"), "it has begun")
            assert_problem(asked.result(), 503, "unavailable")
            # It would wait for half a minute, and hold its connection all the while.
            wait_until(lambda: not waiting(owner, "from messages"), "it has ended", 15)
        again = api.get(f"/v1/messages/{ID}", params={"tenant_id": "acme"})
        assert_problem(again, 404, "not-found")
