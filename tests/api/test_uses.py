"""Uses: what searches answer with is counted, beside them and never in their way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.tenants import Tenants
from api.uses import Uses
from db.engine import api_engine
from db.queries.audit import record_parameters
from memory.search import Hit, SearchAnswer, SearchScope
from memory.settings import Settings
from memory.tenants import TenantSettings
from tests.api.outages import no_database
from tests.api.speaking import Speaker
from tests.conftest import serving
from tests.db.rows import add_message
from tests.processes import wait_until

USES = text("select message_id, uses from message_uses order by message_id")
# Seconds that pass between two flushes of a test halve nothing that shows.
NEARLY = 1e-4


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


@pytest.fixture
def uses(engine: AsyncEngine, settings: Settings) -> Uses:
    return Uses(engine, Tenants(engine, settings))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted need not be waited for."""
    monkeypatch.setattr("api.uses.INTERVAL_SECONDS", 0.1)


def record(tenant_id: str) -> dict[str, Any]:
    """What is written beside a change of settings."""
    return record_parameters(tenant_id, "test", "settings", {})


def answer(*message_ids: UUID, tenant_id: str = "acme") -> SearchAnswer:
    """An answer with these hits, best first."""
    items = [
        Hit(
            message_id=message_id,
            conversation_id="c",
            role="user",
            content="",
            metadata={},
            score=0.5,
            similarity=0.5,
            relevance=0.5,
            importance=0.5,
            recency=0.5,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for message_id in message_ids
    ]
    scope = SearchScope(tenant_id=tenant_id)
    return SearchAnswer(total=len(items), items=items, scope=scope, mode="hybrid")


def stored(owner: Connection) -> dict[str, float]:
    return {
        str(message_id): pytest.approx(uses, rel=NEARLY) for message_id, uses in owner.execute(USES)
    }


@pytest.mark.usefixtures("quick")
def test_hits_are_counted_by_their_place_kept_answers_too(
    api: httpx.Client, owner: Connection
) -> None:
    speaker = Speaker(api, "acme")
    for number in range(3):
        speaker.say(f"bees {'and bees ' * number}", conversation_id=str(number))
    ids = [item["message_id"] for item in speaker.finds("bees")]
    assert len(ids) == 3
    expected = {ids[0]: 1, ids[1]: 1 / 2, ids[2]: 1 / 3}
    wait_until(lambda: stored(owner) == expected, "the answer is counted")
    assert speaker.answer("bees")["cached"]
    twice = {message_id: 2 * uses for message_id, uses in expected.items()}
    wait_until(lambda: stored(owner) == twice, "the kept answer is counted")
    answers = speaker.post(queries=["bees", "nothing of the kind"], mode="lexical")
    assert answers.is_success
    thrice = {message_id: 3 * uses for message_id, uses in expected.items()}
    wait_until(lambda: stored(owner) == thrice, "each of several queries is counted")


@pytest.mark.usefixtures("quick")
def test_neighbours_are_none_and_hits_that_were_merged_are(
    api: httpx.Client, owner: Connection
) -> None:
    speaker = Speaker(api, "acme")
    said = ["Good morning.", "bees", "Oh yes?", "more bees", "Good night."]
    ids = [speaker.say(content) for content in said]
    (item,) = speaker.finds("bees", context=1, mode="lexical")
    hits = {item["message_id"]} | {
        near["message_id"] for near in item["before"] + item["after"] if "score" in near
    }
    assert {ids[1], ids[3]} <= hits < set(ids)
    wait_until(lambda: stored(owner) == dict.fromkeys(hits, 1), "the hits are counted")


@pytest.mark.usefixtures("quick")
def test_they_are_counted_inline_too(inline: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(inline, "acme")
    id_ = speaker.say("bees")
    speaker.finds("bees")
    wait_until(lambda: stored(owner) == {id_: 1}, "the answer is counted")


def test_an_end_stores_what_waits(settings: Settings, owner: Connection) -> None:
    with serving(settings) as api:
        id_ = Speaker(api, "acme").say("bees")
        Speaker(api, "acme").finds("bees")
    assert stored(owner) == {id_: 1}


async def test_they_halve_with_time(
    uses: Uses, engine: AsyncEngine, settings: Settings, owner: Connection
) -> None:
    own = TenantSettings(importance_half_life_days=10)
    await Tenants(engine, settings).put("other", own, record("other"))
    usual, other = add_message(owner), add_message(owner, "other")
    for _ in range(2):
        uses.note("acme", [answer(usual)] * 8)
        uses.note("other", [answer(other)] * 8)
        await uses.flush()
        owner.execute(text("update message_uses set counted_at = counted_at - interval '60 days'"))
    uses.note("acme", [answer(usual)])
    uses.note("other", [answer(other)])
    await uses.flush()
    assert stored(owner) == {
        str(usual): 1 + (8 + 8 / 2**2) / 2**2,
        str(other): 1 + (8 + 8 / 2**6) / 2**6,
    }


@pytest.mark.parametrize(("half_life_days", "left"), [(5e-324, 1), (100_000, 2.93)])
async def test_no_half_life_is_too_short_or_too_long(
    uses: Uses,
    engine: AsyncEngine,
    settings: Settings,
    owner: Connection,
    half_life_days: float,
    left: float,
) -> None:
    own = TenantSettings(importance_half_life_days=half_life_days)
    await Tenants(engine, settings).put("acme", own, record("acme"))
    id_ = add_message(owner)
    for _ in range(3):
        uses.note("acme", [answer(id_)])
        await uses.flush()
        assert uses.waiting == 0
        owner.execute(text("update message_uses set counted_at = counted_at - interval '9 years'"))
    assert [row.uses for row in owner.execute(USES)] == pytest.approx([left], rel=1e-3)


async def test_what_is_gone_is_not_counted(uses: Uses, owner: Connection) -> None:
    here, gone, theirs = add_message(owner), add_message(owner), add_message(owner, "globex")
    uses.note("acme", [answer(gone, here, theirs)])
    owner.execute(text("delete from messages where id = :id"), {"id": gone})
    await uses.flush()
    assert stored(owner) == {str(here): 0.5}
    owner.execute(text("delete from messages"))
    assert stored(owner) == {}


async def test_what_cannot_be_stored_is_kept_for_the_next_time(
    uses: Uses, settings: Settings, owner: Connection
) -> None:
    id_ = add_message(owner)
    uses.note("acme", [answer(id_)])
    owner.invalidate()
    with no_database(settings.database_url):
        await uses.flush()
    uses.note("acme", [answer(id_)])
    await uses.flush()
    with owner.engine.connect() as again:
        assert stored(again) == {str(id_): 2}


async def test_a_crowd_of_messages_takes_no_more_than_its_room(
    uses: Uses, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.uses.MOST_MESSAGES", 2)
    first, second, third = (add_message(owner) for _ in range(3))
    uses.note("acme", [answer(first), answer(second), answer(third), answer(first)])
    await uses.flush()
    assert stored(owner) == {str(first): 2, str(second): 1}
    uses.note("acme", [answer(third)])
    await uses.flush()
    assert stored(owner) == {str(first): 2, str(second): 1, str(third): 1}


async def test_processes_that_count_the_same_messages_wait_for_each_other_in_order(
    uses: Uses, engine: AsyncEngine, settings: Settings, owner: Connection
) -> None:
    ids = [add_message(owner, f"t{number % 3}") for number in range(300)]
    other = Uses(engine, Tenants(engine, settings))
    for _ in range(10):
        for number, id_ in enumerate(ids):
            uses.note(f"t{number % 3}", [answer(id_)])
        for number, id_ in reversed(list(enumerate(ids))):
            other.note(f"t{number % 3}", [answer(id_)])
        await asyncio.gather(uses.flush(), other.flush())
    assert stored(owner) == {str(id_): 20 for id_ in ids}


async def test_many_are_stored_in_lots(
    uses: Uses, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.uses.AT_ONCE", 3)
    ids = [add_message(owner, f"t{number % 4}") for number in range(10)]
    for number, id_ in enumerate(ids):
        uses.note(f"t{number % 4}", [answer(id_)])
    await uses.flush()
    assert stored(owner) == {str(id_): 1 for id_ in ids}


@pytest.mark.usefixtures("quick")
def test_a_search_does_not_wait_for_them(api: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(api, "acme")
    id_ = speaker.say("bees")
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
        holder.execute(text("lock table message_uses"))
        for _ in range(5):
            assert len(speaker.finds("bees", mode="lexical")) == 1
        waiting = text(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = current_database()"
        )
        wait_until(lambda: owner.scalar(waiting) == 1, "they are being stored")
        assert len(speaker.finds("bees", mode="lexical")) == 1
        holder.rollback()
    wait_until(lambda: stored(owner) == {id_: 6}, "all are counted")
