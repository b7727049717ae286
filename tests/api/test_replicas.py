"""Searches on a real streaming replica: as right as the primary's, and never worse for it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from api.metrics import Metrics
from api.replicas import Reached, Replicas
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.engine import replica_engines, side_engine
from db.reading import Read
from db.replicas import replica_transaction
from db.sessions import tenant_transaction
from memory.errors import ReplicaUnfitError
from memory.settings import Settings
from tasks.kept_answers import KeptAnswers
from tests.api.redis_outages import OwnUser
from tests.api.speaking import Speaker, contents
from tests.api.test_metrics import counts
from tests.conftest import serving
from tests.db.rows import add_message
from tests.processes import wait_until
from tests.replicas import Replica, copied

READ = 'memory_search_database_total{{database="{}"}}'
FRESH = 'memory_replica_fresh{replica="1"}'
LAG = 'memory_replica_lag_seconds{replica="1"}'
FAILED = "memory_replica_failures_total"
# So long that no test, however slow the machine, finds a replica too old that it has just paused.
MAX_LAG_SECONDS = 5
QUIET = f"select now() - pg_last_xact_replay_timestamp() > '{MAX_LAG_SECONDS} s'"
V1, V2 = b"version 1", b"version 2"
SEE = text("select count(*) from messages")
SLOW = text("select count(*), pg_sleep(30) from messages")
BUSY = """
select true from pg_stat_activity where query like '%pg_sleep(30)%' and state = 'active'
  and pid <> pg_backend_pid()
"""
OTHERS = {"system": 1, "database": "other", "timeline": 2}
DELETE = text("delete from messages where content = 'bees'")


@pytest.fixture(scope="module")
def streaming(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Replica]:
    """A replica of the PostgreSQL of this run."""
    with copied(postgres, folder / f"replica-{uuid4().hex}") as replica:
        yield replica


@pytest.fixture
def replicated(settings: Settings, streaming: Replica) -> Settings:
    """Settings of a service with that replica."""
    urls = streaming.url(settings.database_url)
    return msgspec.structs.replace(
        settings, database_replica_urls=urls, replica_max_lag_seconds=MAX_LAG_SECONDS
    )


@pytest.fixture
def api(replicated: Settings) -> Iterator[httpx.Client]:
    """A client of that service; no worker runs."""
    with serving(replicated) as client:
        yield client


@pytest.fixture
def acme(api: httpx.Client) -> Speaker:
    """A tenant of that service."""
    return Speaker(api, "acme")


def read_from(api: httpx.Client, database: str) -> float:
    """How many answers were read there."""
    return counts(api)[READ.format(database)]


def fresh(api: httpx.Client) -> bool:
    """Whether searches may go to the replica."""
    return counts(api).get(FRESH) == 1


def settle(speaker: Speaker) -> None:
    """Ask until the tenant's searches go to the replica."""

    def goes_there() -> bool:
        before = read_from(speaker.api, "replica")
        # Nothing else is asked so: an answer of the primary is kept.
        speaker.finds(uuid4().hex)
        return read_from(speaker.api, "replica") > before

    wait_until(goes_there, "searches go to the replica")


def is_said(caplog: pytest.LogCaptureFixture, beginning: str) -> bool:
    """Whether a line of the log begins so."""
    return any(line.startswith(beginning) for line in caplog.messages)


def without_times(answer: Any) -> Any:
    """An answer without what goes on with time."""
    if isinstance(answer, list):
        return [without_times(each) for each in answer]
    if isinstance(answer, dict):
        return {key: without_times(each) for key, each in answer.items() if key != "recency"}
    return answer


@pytest.mark.parametrize("asked", [{}, {"context": 2, "explain": True}, {"mode": "lexical"}])
def test_a_replica_answers_as_the_primary_does(
    acme: Speaker, settings: Settings, asked: dict[str, Any]
) -> None:
    for number in range(5):
        acme.say(f"bees {number}", metadata={"n": number})
    settle(acme)
    before = read_from(acme.api, "primary")
    found = acme.answer("bees 3", w_recency=0, **asked)
    assert read_from(acme.api, "primary") == before
    with serving(settings) as without:
        there = Speaker(without, "acme").answer("bees 3", w_recency=0, **asked)
        assert READ.format("replica") in counts(without)
        assert FRESH not in counts(without)
    assert without_times(found) == without_times(there)


def test_an_answer_of_a_replica_is_not_kept(acme: Speaker) -> None:
    acme.say("bees")
    settle(acme)
    before = read_from(acme.api, "replica")
    assert not any(acme.answer("bees")["cached"] for _ in range(3))
    assert read_from(acme.api, "replica") == before + 3
    results = acme.post(queries=["bees", "honey"]).json()["results"]
    assert [each["cached"] for each in results] == [False, False]
    assert read_from(acme.api, "replica") == before + 5


def test_what_was_stored_is_found_at_once(acme: Speaker) -> None:
    settle(acme)
    for number in range(20):
        acme.say(f"bees {number}")
        assert len(acme.finds("bees", top_k=100)) == number + 1


def test_what_was_stored_is_found_while_the_replica_is_behind(
    acme: Speaker, streaming: Replica, replicated: Settings
) -> None:
    acme.say("bees")
    settle(acme)
    with serving(replicated) as elsewhere, streaming.paused():
        Speaker(elsewhere, "acme").say("bees too")
        before = read_from(acme.api, "replica")
        for _ in range(3):
            assert len(acme.finds("bees")) == 2
        assert read_from(acme.api, "replica") == before
    settle(acme)
    assert len(acme.finds("bees")) == 2


def test_another_tenants_change_sends_nobody_to_the_primary(
    acme: Speaker, streaming: Replica
) -> None:
    acme.say("bees")
    settle(acme)
    before = read_from(acme.api, "replica")
    with streaming.paused():
        Speaker(acme.api, "globex").say("honey")
        assert contents(acme.finds("bees")) == ["bees"]
        assert read_from(acme.api, "replica") == before + 1


def test_what_a_worker_has_erased_is_gone_at_once(
    acme: Speaker, streaming: Replica, owner: Connection, settings: Settings
) -> None:
    acme.say("bees")
    settle(acme)
    with streaming.paused():
        owner.execute(DELETE)
        # As all do who change something.
        KeptAnswers(settings.redis_url).changed("acme")
        assert acme.finds("bees") == []
    settle(acme)
    assert acme.finds("bees") == []


def test_what_was_erased_and_not_told_is_gone_when_the_replica_is_too_old(
    acme: Speaker, streaming: Replica, owner: Connection
) -> None:
    acme.say("bees")
    settle(acme)
    with streaming.paused():
        owner.execute(DELETE)
        # Nobody could know; and by this it is a replica that answers.
        assert contents(acme.finds("bees")) == ["bees"]
        wait_until(lambda: not fresh(acme.api), "it is too old")
        assert acme.finds("bees") == []
        assert acme.api.get("/v1/admin/readiness").status_code == 200
    wait_until(lambda: fresh(acme.api), "it has caught up")
    settle(acme)


def test_an_idle_primary_makes_no_replica_old(acme: Speaker, streaming: Replica) -> None:
    acme.say("bees")
    settle(acme)
    wait_until(lambda: streaming.ask(QUIET), "nothing has been committed for long")
    before = read_from(acme.api, "replica")
    acme.finds("bees")
    assert read_from(acme.api, "replica") == before + 1
    assert counts(acme.api)[LAG] < MAX_LAG_SECONDS


def test_a_silent_replica_costs_nobody_an_answer(acme: Speaker, streaming: Replica) -> None:
    acme.say("bees")
    settle(acme)
    with streaming.silent():
        assert contents(acme.finds("bees")) == ["bees"]
        assert counts(acme.api)[FAILED] == 1
        wait_until(lambda: not fresh(acme.api), "it is left alone")
        assert contents(acme.finds("bees too")) == ["bees"]
        assert counts(acme.api)[FAILED] == 1
        assert acme.api.get("/v1/admin/readiness").status_code == 200
    settle(acme)


def test_the_service_ends_while_a_replica_is_silent(
    replicated: Settings, streaming: Replica
) -> None:
    with contextlib.ExitStack() as silence, serving(replicated) as api:
        speaker = Speaker(api, "acme")
        speaker.say("bees")
        settle(speaker)
        silence.enter_context(streaming.silent())
        assert contents(speaker.finds("bees")) == ["bees"]


def test_a_killed_replica_costs_nobody_an_answer(acme: Speaker, streaming: Replica) -> None:
    acme.say("bees")
    settle(acme)
    streaming.kill()
    try:
        for _ in range(3):
            assert contents(acme.finds("bees")) == ["bees"]
        wait_until(lambda: not fresh(acme.api), "it is left alone")
        acme.say("bees too")
        assert len(acme.finds("bees")) == 2
    finally:
        streaming.start()
    settle(acme)
    assert len(acme.finds("bees")) == 2


def test_without_redis_nobody_can_tell_and_the_primary_answers(
    replicated: Settings, valkey: EmbeddedValkey
) -> None:
    with contextlib.closing(OwnUser(valkey.url)) as user:
        known = msgspec.structs.replace(replicated, cache_url=user.url)
        with serving(known) as api:
            speaker = Speaker(api, "acme")
            speaker.say("bees")
            settle(speaker)
            before = read_from(api, "replica")
            with user.thrown_out():
                assert contents(speaker.finds("bees")) == ["bees"]
                assert read_from(api, "replica") == before
            settle(speaker)


def test_uses_of_what_a_replica_found_are_counted(replicated: Settings, owner: Connection) -> None:
    with serving(replicated) as api:
        speaker = Speaker(api, "acme")
        speaker.say("bees")
        settle(speaker)
        before = read_from(api, "replica")
        speaker.finds("bees")
        assert read_from(api, "replica") == before + 1
    assert owner.scalar(text("select sum(uses) from message_uses")) > 0


def test_what_is_no_replica_of_the_store_is_not_used(
    settings: Settings,
    streaming: Replica,
    postgres: EmbeddedPostgres,
    closed_port: int,
    black_hole: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = {
        settings.database_url: "it replays nothing",
        streaming.url(postgres.url): "it is of another database",
        f"postgresql://u:p@127.0.0.1:{closed_port}/memory": "it does not answer",
        f"postgresql://u:p@127.0.0.1:{black_hole}/memory": "it does not answer",
    }
    wrongly = msgspec.structs.replace(settings, database_replica_urls=",".join(wrong))
    with serving(wrongly) as api:
        speaker = Speaker(api, "acme")
        speaker.say("bees")
        for number, reason in enumerate(wrong.values(), 1):
            said = f"event='replica_not_used' replica={number} reason='{reason}"
            wait_until(partial(is_said, caplog, said), said)
        assert contents(speaker.finds("bees")) == ["bees"]
        found = counts(api)
        assert found[READ.format("replica")] == 0
        assert [found[f'memory_replica_fresh{{replica="{n}"}}'] for n in range(1, 5)] == [0] * 4
        assert api.get("/v1/admin/readiness").status_code == 200


@pytest.fixture
async def replicas(replicated: Settings) -> AsyncIterator[Replicas]:
    """The replicas as a process has them; nobody looks at them yet."""
    engine = side_engine(replicated)
    replicas = Replicas(replicated, engine, Metrics(replicated))
    yield replicas
    await replicas.stop()
    await engine.dispose()


async def look(replicas: Replicas) -> None:
    """Look at all of them once."""
    await replicas.look_at_primary()
    for each in replicas.all:
        await replicas.look_at(each)


async def level(replicas: Replicas, version: bytes = V1) -> None:
    """Wait until a replica may be asked for acme."""
    while replicas.needed("acme", version) is None or not await replicas.answer(
        "acme", version, reads(SEE)
    ):
        await look(replicas)


def reads(statement: TextClause, tenant_id: str = "acme") -> Callable[[Read], Awaitable[str]]:
    """Asks for the first value of `statement`, as text."""

    async def ask(read: Read) -> str:
        ((found,),) = await read([tenant_id], statement, {})
        return str(found)

    return ask


async def test_a_replica_is_asked_once_it_is_beyond_the_change(replicas: Replicas) -> None:
    async with asyncio.timeout(30):
        assert replicas.needed("acme", V1) is None
        await level(replicas)
        assert replicas.needed("acme", V2) is None
        for each in replicas.all:
            await replicas.look_at(each)
        # However far the replica is, nobody has asked the primary since.
        assert await replicas.answer("acme", V2, reads(SEE)) is None
        await level(replicas, V2)
        assert replicas.needed("acme", V1) is None
        assert await replicas.answer("acme", None, reads(SEE)) is None


async def test_a_search_in_the_way_of_the_log_is_the_primarys(
    replicas: Replicas, streaming: Replica, owner: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    add_message(owner)
    async with asyncio.timeout(60):
        await level(replicas)
        asking = asyncio.create_task(replicas.answer("acme", V1, reads(SLOW)))
        while not await asyncio.to_thread(streaming.ask, BUSY):
            assert not asking.done()
        # What the search may still want to see is taken away.
        owner.execute(text("delete from messages"))
        owner.execute(text("vacuum messages"))
        assert await asking is None
    assert is_said(caplog, "event='replica_failed' replica=1 reason='SerializationFailure'")


async def test_a_replica_shows_a_tenants_messages_only(
    replicas: Replicas, owner: Connection
) -> None:
    add_message(owner)
    async with asyncio.timeout(30):
        await level(replicas)
        assert await replicas.answer("acme", V1, reads(SEE)) == "1"
        assert await replicas.answer("acme", V1, reads(SEE, "globex")) == "0"


async def test_what_answers_for_a_replica_must_be_far_enough_itself(
    replicated: Settings, replicas: Replicas, streaming: Replica, owner: Connection
) -> None:
    (replica,) = replicas.all
    async with asyncio.timeout(30):
        # This test's database must be there first.
        await level(replicas)
    with streaming.paused():
        add_message(owner)
        replicas._reached.clear()
        await replicas.look_at_primary()
        needed = replicas._reached[-1].position
        # Another server may have said so, behind the same address.
        replica.take(needed)
        assert await replicas.answer("acme", V1, reads(SEE)) is None
        with pytest.raises(ReplicaUnfitError, match="behind"):
            async with replica_transaction(replica.engine, needed, ["acme"]):
                pass
    for changed, reason in OTHERS.items():
        with pytest.raises(ReplicaUnfitError, match=f"of another {changed}"):
            async with replica_transaction(
                replica.engine, needed._replace(**{changed: reason}), ["acme"]
            ):
                pass


async def test_what_is_ahead_of_the_primary_has_another_history(
    replicas: Replicas, owner: Connection
) -> None:
    add_message(owner)
    (replica,) = replicas.all
    async with asyncio.timeout(30):
        await level(replicas)
        await look(replicas)
        # As when the primary's files were replaced by a copy that was made before.
        now = replicas._reached[-1].position
        older = Reached(time.monotonic(), now._replace(log=now.log - 1_000))
        replicas._reached[:] = [older]
        await replicas.look_at(replica)
        assert replica.why_not == "it is ahead of the primary: it has another history"
        assert await replicas.answer("acme", V1, reads(SEE)) is None
        # Nor counts what the primary had reached before its log went back.
        replicas._reached.append(Reached(older.at, now._replace(log=now.log + 1_000_000_000)))
        await replicas.look_at_primary()
        assert len(replicas._reached) == 1
        await level(replicas)
        assert not replica.why_not


async def test_nothing_is_written_where_a_replica_was(
    replicated: Settings, settings: Settings
) -> None:
    engine, side = replica_engines(replicated, settings.database_url)
    with pytest.raises(SQLAlchemyError, match="read-only transaction"):
        async with tenant_transaction(engine, ["acme"]) as connection:
            await connection.execute(text("delete from messages where tenant_id = 'acme'"))
    await engine.dispose()
    await side.dispose()
