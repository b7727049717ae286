"""Insert groups: together as long as all is well, each for itself when it is not."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.ingest import GROUP_MESSAGES, Ingest
from api.storing import Key, Request
from db.engine import api_engine
from db.pipelined import Pipelined
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry
from memory.messages import NewMessage, accept
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tests.api.answers import assert_problem, stored
from tests.api.outages import no_database
from tests.conftest import message, serving
from tests.processes import wait_until

DEFAULTS = effective(Settings(), TenantSettings())
CONTENTS = text("select content from messages order by content")


def asked(said: str = "hello", copies: int = 1, **changes: Any) -> Request:
    """A request as the handler makes it; `changes` make it one that no handler would."""
    tenant_id = changes.pop("tenant_id", "acme")
    new = NewMessage(**message(content=said, tenant_id=tenant_id))
    now = datetime.now(UTC)
    made = [accept(new, "pending", now, 0.5, DEFAULTS) for _ in range(copies)]
    changed = [(new, msgspec.structs.replace(each, **changes)) for each in made]
    words = analyser("english")
    terms = [content_entry(words, tenant_id, said, {})] * copies
    return Request(changed, terms, [0.5] * copies, {tenant_id: words})


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
def inserts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each insert that is run."""
    seen: list[int] = []
    execute = Pipelined.execute

    async def noted(self: Pipelined, *arguments: Any) -> Any:
        rows = await execute(self, *arguments)
        seen.append(len(rows))
        return rows

    monkeypatch.setattr(Pipelined, "execute", noted)
    return seen


async def store_all(ingest: Ingest, requests: list[Request]) -> None:
    """Store `requests` as one that all came while the database was busy."""
    for request in requests:
        ingest._waiting.put_nowait(request)
    await ingest.start()
    await ingest.stop()


async def test_requests_that_wait_together_are_one_statement(
    engine: AsyncEngine, owner: Connection, inserts: list[int]
) -> None:
    requests = [asked(f"{number:02}", tenant_id=f"t{number % 3}") for number in range(40)]
    await store_all(Ingest(engine), requests)
    assert inserts == [40]
    for request in requests:
        assert request.done.result().messages == [each for _, each in request.messages]
    assert owner.scalars(CONTENTS).all() == [f"{number:02}" for number in range(40)]


async def test_a_group_is_bounded(
    engine: AsyncEngine, owner: Connection, inserts: list[int]
) -> None:
    requests = [asked(copies=100) for _ in range(12)]
    await store_all(Ingest(engine), requests)
    assert sum(inserts) == stored(owner) == 1200
    assert max(inserts) == GROUP_MESSAGES


async def test_a_lone_request_waits_for_nobody(engine: AsyncEngine) -> None:
    ingest = Ingest(engine)
    await ingest.start()
    await ingest.store(asked())
    started = asyncio.get_running_loop().time()
    await ingest.store(asked())
    assert asyncio.get_running_loop().time() - started < 0.5
    await ingest.stop()


@pytest.mark.parametrize(
    ("fault", "error"),
    [({"importance_score": 2.0}, IntegrityError), ({"content": "a\0b"}, DataError)],
)
async def test_a_bad_row_fails_alone(
    engine: AsyncEngine, owner: Connection, fault: dict[str, Any], error: type[Exception]
) -> None:
    requests = [asked("before"), asked("bad", **fault), asked("after"), asked("both", copies=2)]
    await store_all(Ingest(engine), requests)
    assert isinstance(requests[1].done.exception(), error)
    assert owner.scalars(CONTENTS).all() == ["after", "before", "both", "both"]


async def test_a_request_is_stored_whole_or_not_at_all(
    engine: AsyncEngine, owner: Connection
) -> None:
    good, bad = asked("good"), asked("bad", importance_score=2.0)
    both = [*good.messages, *bad.messages]
    mixed = Request(both, [*good.terms, *bad.terms], [0.5, 0.5], good.analysers)
    await store_all(Ingest(engine), [mixed, asked("other")])
    assert mixed.done.exception() is not None
    assert owner.scalars(CONTENTS).all() == ["other"]


async def test_a_replay_that_fails_fails_alone(
    engine: AsyncEngine, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked("once")
    keyed = [replace(each, key=Key("k", b"d" * 32)) for each in (first, asked("once"))]
    await store_all(Ingest(engine), keyed[:1])

    async def fail(*_: Any) -> Any:
        raise ConnectionError

    monkeypatch.setattr("api.ingest.replay", fail)
    group = [asked("before"), keyed[1], asked("after")]
    await store_all(Ingest(engine), group)
    assert isinstance(group[1].done.exception(), ConnectionError)
    assert [not each.done.result().replayed for each in (group[0], group[2])] == [True, True]
    assert owner.scalars(CONTENTS).all() == ["after", "before", "once"]


async def test_a_caller_that_goes_away_cancels_nothing(
    engine: AsyncEngine, owner: Connection
) -> None:
    ingest = Ingest(engine)
    leaving = asyncio.create_task(ingest.store(asked("left behind")))
    staying = asyncio.create_task(ingest.store(asked("waited for")))
    await asyncio.sleep(0)
    leaving.cancel()
    await ingest.start()
    assert not (await staying).replayed
    await ingest.stop()
    assert leaving.cancelled()
    assert owner.scalars(CONTENTS).all() == ["left behind", "waited for"]


async def test_an_end_stores_what_waits(engine: AsyncEngine, owner: Connection) -> None:
    ingest = Ingest(engine)
    await ingest.start()
    tasks = [asyncio.create_task(ingest.store(asked(copies=200))) for _ in range(10)]
    await asyncio.sleep(0)
    await ingest.stop()
    assert stored(owner) == 2000
    assert all(not outcome.replayed for outcome in await asyncio.gather(*tasks))


async def test_an_error_of_one_group_leaves_the_next_alone(
    engine: AsyncEngine, owner: Connection
) -> None:
    ingest = Ingest(engine)
    await ingest.start()
    owner.execute(text("alter table messages rename to elsewhere"))
    with pytest.raises(Exception, match="does not exist"):
        await ingest.store(asked())
    owner.execute(text("alter table elsewhere rename to messages"))
    await ingest.store(asked())
    await ingest.stop()


async def test_a_store_that_hangs_frees_its_writer(
    engine: AsyncEngine, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.ingest.STORE_SECONDS", 0.3)
    ingest = Ingest(engine)
    await ingest.start()
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
        holder.execute(text("lock table messages"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await ingest.store(asked())
    await ingest.store(asked("at last"))
    await ingest.stop()
    assert owner.scalars(CONTENTS).all() == ["at last"]


def test_a_database_that_is_away_is_a_503_and_comes_back(
    settings: Settings, api: httpx.Client
) -> None:
    assert api.post("/v1/messages", json=message()).status_code == 202
    with no_database(settings.database_url):
        for request in (
            lambda: api.post("/v1/messages", json=message()),
            lambda: api.post("/v1/messages/batch", json={"messages": [message()]}),
            lambda: api.get("/v1/memory/search", params={"tenant_id": "acme", "query": "x"}),
            lambda: api.get("/v1/messages/00000000-0000-7000-8000-000000000000"),
        ):
            assert_problem(request(), 503, "unavailable")
    assert api.post("/v1/messages", json=message()).status_code == 202


def test_cut_connections_are_not_noticed(settings: Settings, api: httpx.Client) -> None:
    assert api.post("/v1/messages", json=message()).status_code == 202
    with no_database(settings.database_url):
        pass
    assert api.post("/v1/messages", json=message()).status_code == 202


def test_an_answer_that_takes_too_long_is_a_503_and_yet_stored(
    settings: Settings, owner: Connection
) -> None:
    hasty = msgspec.structs.replace(settings, request_timeout_seconds=0.3)
    with serving(hasty) as api:
        with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
            holder.execute(text("lock table messages"))
            answer = api.post("/v1/messages", json=message())
            assert "0.3 s" in assert_problem(answer, 503, "unavailable")["detail"]
        wait_until(lambda: stored(owner) == 1, "it is stored after all")


def test_a_caller_that_hangs_up_leaves_no_error(api: httpx.Client, owner: Connection) -> None:
    body = json.dumps(message()).encode()
    request = (
        b"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s"
    )
    with api.stream("GET", "/v1/admin/live") as live:
        address = live.extensions["network_stream"].get_extra_info("server_addr")
    hang_up(address, request % (len(body) + 100, body))
    counted = 'http_requests_total{endpoint="/v1/messages",method="POST",status="499"} 1.0'
    wait_until(lambda: counted in api.get("/metrics").text, "it is counted as gone")
    assert 'status="500"' not in api.get("/metrics").text
    assert stored(owner) == 0


def hang_up(address: tuple[str, int], words: bytes) -> None:
    with socket.create_connection(address) as caller:
        caller.sendall(words)
