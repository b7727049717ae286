"""Where no worker runs the API takes care of the lexical index itself."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Connection, text

from api.upkeep import Upkeep
from memory.settings import Settings
from tasks.resources import Resources
from tests.api.outages import no_database
from tests.api.speaking import Speaker, contents
from tests.conftest import message, serving
from tests.processes import wait_until

PATH = "/v1/admin/tenants/acme/settings"
DUE = text("update term_reindexing set not_before = now() - interval '1 s'")
JOBS = text("select count(*) from term_reindexing")
COUNTED = text("select max(messages) from term_statistics where tenant_id = 'acme'")


@pytest.fixture
def quick(inline_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of a service that need not be waited for."""
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", 0.1)
    with serving(inline_settings) as client:
        yield client


def test_another_language_is_indexed(quick: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(quick, "acme")
    speaker.say_all([message(content=f"Die Häuser sind alt {n}") for n in range(600)])
    assert quick.put(PATH, json={"language": "german"}).status_code == 200
    assert speaker.finds("Haus", mode="lexical") == []
    owner.execute(DUE)
    wait_until(lambda: owner.scalar(JOBS) == 0, "the terms are made anew")
    assert len(speaker.finds("Haus", mode="lexical", top_k=100)) == 100


def test_terms_are_counted_when_a_tenant_has_grown(quick: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(quick, "acme")
    speaker.say_all([message(content=f"note {n}") for n in range(1_000)])
    wait_until(lambda: owner.scalar(COUNTED) == 1_000, "they are counted")
    speaker.say_all([message(content=f"note {n}") for n in range(1_000)])
    wait_until(lambda: owner.scalar(COUNTED) == 2_000, "they are counted again")


def test_a_database_that_was_away_is_seen_to_later(
    quick: httpx.Client, inline_settings: Settings, owner: Connection
) -> None:
    speaker = Speaker(quick, "acme")
    speaker.say("Die Häuser sind alt.")
    assert quick.put(PATH, json={"language": "german"}).status_code == 200
    owner.execute(DUE)
    owner.invalidate()
    with no_database(inline_settings.database_url):
        assert quick.get("/v1/admin/readiness").status_code == 503
    with owner.engine.connect() as again:
        wait_until(lambda: again.scalar(JOBS) == 0, "the terms are made anew")
    assert contents(speaker.finds("Haus", mode="lexical")) == ["Die Häuser sind alt."]


async def test_an_end_waits_for_the_slice_under_way_and_for_no_other(
    inline: httpx.Client,
    inline_settings: Settings,
    owner: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Speaker(inline, "acme").say_all([message(content=f"note {n}") for n in range(600)])
    workers = "select count(*) from pg_stat_activity where application_name = 'memory_worker'"
    at_work = text(f"{workers} and datname = current_database()")
    waiting = text(f"{workers} and wait_event_type = 'Lock'")
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", 0.01)
    resources = Resources(inline_settings)
    upkeep = Upkeep(resources)
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
        holder.execute(text("lock table term_reindexing"))
        holder.execute(text("insert into term_reindexing values ('acme')"))
        upkeep.start()
        await asyncio.to_thread(wait_until, lambda: owner.scalar(waiting), "a slice is under way")
        ending = asyncio.create_task(upkeep.stop())
        await asyncio.wait({ending}, timeout=0.3)
        assert not ending.done()
        holder.commit()
    await ending
    resources.close()
    assert owner.scalar(at_work) == 0
    assert owner.scalar(JOBS) == 1
