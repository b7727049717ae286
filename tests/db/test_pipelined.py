"""A transaction in one round trip: seen by its tenants only, and none the worse for a failure."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import api_engine
from db.pipelined import Pipelined, has_ended
from db.sessions import bound_to
from memory.errors import ForeignTenantError
from memory.settings import Settings
from tests.db.rows import add_message
from tests.processes import wait_until

CONTENTS = text("/* contents */ select content from messages")
NUMBER = text("/* number */ select cast(:text as integer)")
LENGTH = text("/* length */ select length(:text)")
OWN_PROCESS = text("/* own_process */ select pg_backend_pid()")
WAIT = text("/* wait */ select pg_sleep(60)")
WAITS = text("select wait_event = 'PgSleep' from pg_stat_activity where pid = :pid")
END = text("select pg_terminate_backend(:pid)")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def pipelined(engine: AsyncEngine) -> AsyncIterator[Pipelined]:
    made = Pipelined(engine)
    yield made
    await made.aclose()


async def test_it_sees_the_tenants_that_are_named(pipelined: Pipelined, owner: Connection) -> None:
    for tenant_id in ("acme", "globex", "initech"):
        add_message(owner, tenant_id=tenant_id, content=f"of {tenant_id}")
    rows = await pipelined.execute(["acme", "globex"], CONTENTS, {})
    assert sorted(rows) == [("of acme",), ("of globex",)]
    assert await pipelined.execute(["initech"], CONTENTS, {}) == [("of initech",)]
    assert await pipelined.execute([], CONTENTS, {}) == []


async def test_a_caller_of_other_tenants_gets_nothing(pipelined: Pipelined) -> None:
    with bound_to(frozenset({"acme"})), pytest.raises(ForeignTenantError):
        await pipelined.execute(["globex"], CONTENTS, {})


async def test_after_an_error_it_goes_on(pipelined: Pipelined) -> None:
    with pytest.raises(DataError):
        await pipelined.execute(["acme"], NUMBER, {"text": "none"})
    assert await pipelined.execute(["acme"], NUMBER, {"text": "7"}) == [(7,)]


async def test_after_an_error_the_connection_is_the_same(pipelined: Pipelined) -> None:
    before = await pipelined.execute([], OWN_PROCESS, {})
    with pytest.raises(DataError):
        await pipelined.execute(["acme"], NUMBER, {"text": "none"})
    assert await pipelined.execute([], OWN_PROCESS, {}) == before


async def test_more_than_a_socket_takes_at_once(pipelined: Pipelined) -> None:
    for length in (20_000_000, 1, 30_000_000):
        async with asyncio.timeout(20):
            rows = await pipelined.execute(["acme"], LENGTH, {"text": "x" * length})
        assert rows == [(length,)]


async def test_a_connection_that_was_ended_is_opened_anew(
    pipelined: Pipelined, owner: Connection
) -> None:
    for _ in range(3):
        ((pid,),) = await pipelined.execute(["acme"], OWN_PROCESS, {})
        owner.execute(END, {"pid": pid})
        connection = pipelined._connection
        assert connection is not None
        wait_until(partial(has_ended, connection), "its end is seen")
    ((now,),) = await pipelined.execute(["acme"], OWN_PROCESS, {})
    assert now != pid


async def test_one_that_ends_in_the_middle_fails_and_the_next_does_not(
    pipelined: Pipelined, owner: Connection
) -> None:
    ((pid,),) = await pipelined.execute(["acme"], OWN_PROCESS, {})
    waiting = asyncio.create_task(pipelined.execute(["acme"], WAIT, {}))
    while not owner.scalar(WAITS, {"pid": pid}):  # noqa: ASYNC110 - it is seen from outside
        await asyncio.sleep(0.01)
    owner.execute(END, {"pid": pid})
    with pytest.raises(OperationalError):
        await waiting
    assert await pipelined.execute(["acme"], NUMBER, {"text": "7"}) == [(7,)]


async def test_it_takes_no_place_of_the_pool(pipelined: Pipelined, engine: AsyncEngine) -> None:
    await pipelined.execute(["acme"], NUMBER, {"text": "7"})
    assert "Current Checked out connections: 0" in engine.pool.status()


async def test_it_is_opened_anew_while_the_store_grows(pipelined: Pipelined) -> None:
    pids = [(await pipelined.execute(["acme"], OWN_PROCESS, {}))[0][0] for _ in range(40)]
    places = [place for place in range(1, 40) if pids[place] != pids[place - 1]]
    assert places == [8, 16, 32]
