"""Where neither worker nor beat runs the API does their work itself."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Connection, text

from api.upkeep import Upkeep
from memory.embedding.mock import MockEmbedder
from memory.settings import Settings
from tasks.resources import Resources
from tests.api.outages import no_database
from tests.api.speaking import Speaker, contents
from tests.conftest import message, serving
from tests.db.rows import add_job, add_message
from tests.processes import wait_until
from tests.tasks.ageing import grow_old, matter

PATH = "/v1/admin/tenants/acme/settings"
DUE = text("update term_reindexing set not_before = now() - interval '1 s'")
JOBS = text("select count(*) from term_reindexing")
EMBEDDED = text("select count(*) from messages where embedding_status = 'completed'")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
COUNTED = text("select max(messages) from term_statistics where tenant_id = 'acme'")


def embedded(owner: Connection) -> int:
    """How many messages have their vectors."""
    return owner.scalar(EMBEDDED) or 0


@pytest.fixture
def patient(inline_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of a service that does by itself, after its start, only what it is told of."""
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", 600)
    with serving(inline_settings) as client:
        yield client


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


def test_a_restored_message_is_embedded_at_once(patient: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(patient, "acme")
    message_id = speaker.say("I live in Lisbon.")
    matter(owner, 0.1, [message_id])
    grow_old(owner, 31)
    assert patient.post("/v1/admin/retention/run", json={}).json()["archived"] == 1
    assert patient.post(f"/v1/messages/{message_id}/restore").status_code == 202
    wait_until(lambda: embedded(owner) == 1, "it is embedded")
    assert contents(speaker.finds("I live in Lisbon.", mode="semantic")) == ["I live in Lisbon."]


def test_a_message_that_is_tried_again_is_embedded_at_once(
    patient: httpx.Client, owner: Connection
) -> None:
    for n in range(200):
        add_message(owner, content=f"note {n}", status="failed")
    answer = patient.post("/v1/admin/embeddings/retry", json={"tenant_id": "acme"})
    assert answer.json() == {"retried": 200}
    wait_until(lambda: embedded(owner) == 200, "they are embedded")


def test_a_job_is_worked_on_at_once(patient: httpx.Client, owner: Connection) -> None:
    for n in range(3):
        add_message(owner, content=f"note {n}", status="failed")
    job = patient.post("/v1/admin/embeddings/retry", json={}).json()
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: patient.get(path).json()["state"] == "completed", "it is done")
    assert patient.get(path).json()["result"] == {"retried": 3}
    wait_until(lambda: embedded(owner) == 3, "they are embedded")


def test_what_another_process_left_is_done_after_the_start(
    inline_settings: Settings, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.upkeep.INTERVAL_SECONDS", 600)
    add_message(owner, "globex", "waits")
    add_message(owner, "globex", "failed", status="failed")
    add_job(owner, "globex", state="running", runner=str(uuid4()), lease_until=LONG_AGO)
    with serving(inline_settings):
        wait_until(lambda: embedded(owner) == 2, "all is embedded")


def test_the_model_is_loaded_once(
    inline_settings: Settings, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def create(settings: Settings) -> MockEmbedder:
        loaded.append(settings.embedding_provider)
        return MockEmbedder()

    monkeypatch.setattr("tasks.models.create_embedder", create)
    monkeypatch.setattr("memory.embedding.select.create_embedder", create)
    add_message(owner, content="waits")
    with serving(inline_settings) as api:
        wait_until(lambda: embedded(owner) == 1, "it is embedded")
        Speaker(api, "acme").say("I live in Lisbon.")
    assert loaded == ["mock"]


async def test_an_end_waits_for_the_slice_under_way_and_for_no_other(
    inline: httpx.Client,
    inline_settings: Settings,
    owner: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Speaker(inline, "acme").say_all([message(content=f"note {n}") for n in range(600)])
    workers = "select count(*) from pg_stat_activity where application_name = 'memory_worker'"
    at_work = text(f"{workers} and datname = current_database() and state <> 'idle'")
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
