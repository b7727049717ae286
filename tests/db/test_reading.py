"""Reads of one round trip: on connections of their own, which mend themselves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from db import reading
from db.engine import api_engine
from db.reading import Reads
from db.sessions import bound_to
from memory.errors import ForeignTenantError
from memory.settings import Settings
from tests.db.rows import add_message
from tests.processes import wait_until

SEEN = text("/* seen */ select tenant_id from messages order by tenant_id")
PLANS = text("/* plans */ select current_setting('plan_cache_mode'), pg_backend_pid()")
WRONG = text("/* wrong */ select 1 / cast(:zero as int)")
SLOW = text("/* slow */ select pg_sleep(30)")
SLEEPING = text("""
select count(*) from pg_stat_activity where state = 'active' and query like '/* slow */%'
  and datname = current_database()
""")


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def reads(engine: AsyncEngine) -> AsyncIterator[Reads]:
    reads = Reads(engine, connections=1)
    yield reads
    await reads.aclose()


async def test_a_read_sees_the_tenants_that_it_names(reads: Reads, owner: Connection) -> None:
    for tenant in ("acme", "globex", "initech"):
        add_message(owner, tenant)
    assert await reads.read(["acme"], SEEN, {}) == [("acme",)]
    assert await reads.read(["globex", "acme"], SEEN, {}) == [("acme",), ("globex",)]
    with bound_to(frozenset({"acme"})), pytest.raises(ForeignTenantError):
        await reads.read(["globex"], SEEN, {})


async def test_only_a_planned_one_is_planned_for_its_parameters(reads: Reads) -> None:
    modes = {True: "force_custom_plan", False: "auto"}
    for planned in (True, False, True):
        ((found, _),) = await reads.read(["acme"], PLANS, {}, planned=planned)
        assert found == modes[planned]


async def test_an_error_is_the_engines_and_harms_no_later_read(reads: Reads) -> None:
    ((_, before),) = await reads.read(["acme"], PLANS, {})
    with pytest.raises(DBAPIError, match="division by zero"):
        await reads.read(["acme"], WRONG, {"zero": 0})
    ((_, after),) = await reads.read(["acme"], PLANS, {})
    assert before == after


async def test_a_connection_that_was_cut_is_opened_anew(reads: Reads, owner: Connection) -> None:
    ((_, before),) = await reads.read(["acme"], PLANS, {})
    assert owner.scalar(text("select pg_terminate_backend(:pid, 5000)"), {"pid": before})
    ((_, after),) = await reads.read(["acme"], PLANS, {})
    assert before != after


async def test_who_is_cut_off_ends_the_statement_and_leaves_a_whole_connection(
    reads: Reads, owner: Connection
) -> None:
    slow = asyncio.create_task(reads.read(["acme"], SLOW, {}))
    await asyncio.to_thread(wait_until, lambda: owner.scalar(SLEEPING) == 1, "it is at work")
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await asyncio.to_thread(wait_until, lambda: owner.scalar(SLEEPING) == 0, "it has ended", 10)
    assert await reads.read(["acme"], SEEN, {}) == []


async def test_with_all_in_use_one_waits_for_seconds_and_no_more(
    reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "POOL_TIMEOUT_SECONDS", 0.1)
    slow = asyncio.create_task(reads.read(["acme"], SLOW, {}))
    await asyncio.sleep(0)
    with pytest.raises(PoolTimeoutError):
        await reads.read(["acme"], SEEN, {})
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await reads.read(["acme"], SEEN, {}) == []
