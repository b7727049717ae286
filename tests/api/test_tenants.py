"""What a process knows of tenants: asked for once, however many want it at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api import tenants
from api.tenants import Tenants
from db.engine import api_engine
from memory.settings import Settings


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


async def test_many_who_want_the_same_are_one_question(
    engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    transaction = tenants.tenant_transaction

    def noted(engine: AsyncEngine, names: list[str], **more: Any) -> Any:
        asked.append(sorted(names))
        return transaction(engine, names, **more)

    monkeypatch.setattr(tenants, "tenant_transaction", noted)
    known = Tenants(engine, settings)
    found = await asyncio.gather(*(known.own("acme") for _ in range(30)))
    assert len(set(map(str, found))) == 1
    assert asked == [["acme"]]
    await asyncio.gather(*(known.all_effective({"acme", "globex"}) for _ in range(30)))
    assert asked == [["acme"], ["globex"]]


async def test_nobody_waits_long_for_anothers_question(
    engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = tenants.tenant_transaction
    never = asyncio.Event()

    @asynccontextmanager
    async def silent(*_: Any, **__: Any) -> AsyncIterator[Any]:
        monkeypatch.setattr(tenants, "tenant_transaction", transaction)
        await never.wait()
        yield

    monkeypatch.setattr(tenants, "tenant_transaction", silent)
    known = Tenants(engine, settings)
    held = asyncio.create_task(known.own("acme"))
    await asyncio.sleep(0)
    assert await known.own("globex")
    assert not held.done()
    held.cancel()


async def test_a_failure_is_each_ones_own_and_the_next_asks_again(
    engine: AsyncEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = tenants.tenant_transaction

    def fail(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(tenants, "tenant_transaction", transaction)
        raise ConnectionError

    monkeypatch.setattr(tenants, "tenant_transaction", fail)
    known = Tenants(engine, settings)
    first, second = await asyncio.gather(
        known.own("acme"), known.own("acme"), return_exceptions=True
    )
    assert isinstance(first, ConnectionError)
    assert not isinstance(second, BaseException)
