"""Statistics of terms: kept for large tenants, and ranking as live counts would."""

import math
from typing import Any

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from db.queries.terms import TRY_REFRESH_LOCK
from tasks.indexing import COUNTED_FROM, refresh
from tasks.resources import Resources
from tests.api.speaking import Speaker, contents
from tests.conftest import message
from tests.processes import wait_until

SUBJECTS = ("bees", "honey", "bread", "trains", "Lisbon", "music", "rain")
COUNTED = text("select tenant_id, messages from term_statistics")
TERM = text("select max(messages) from term_counts where tenant_id = 'acme'")


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    """A tenant of which nothing is embedded: what is found is found by its words."""
    return Speaker(api, "acme")


def say_many(speaker: Speaker, count: int, word: str = "") -> None:
    """Messages in conversations of five; every third is about the first subject, and so on."""
    for start in range(0, count, 1000):
        speaker.say_all([said(n, word) for n in range(start, min(count, start + 1000))])


def said(number: int, word: str) -> dict[str, Any]:
    about = [subject for place, subject in enumerate(SUBJECTS) if number % (place + 3) == 0]
    content = " ".join(["note", f"number{number}", *about, word])
    return message(content=content.strip(), conversation_id=f"{word}{number // 5}")


def counted(owner: Connection) -> dict[str, int]:
    return {tenant_id: messages for tenant_id, messages in owner.execute(COUNTED)}  # noqa: C416


def ranking(speaker: Speaker, query: str) -> list[tuple[str, float]]:
    """What is found, with its BM25."""
    items = speaker.finds(query, mode="lexical", top_k=40, explain=True)
    return [(item["content"], item["explanation"]["bm25"]) for item in items]


@pytest.mark.parametrize("query", ["bees", "honey in Lisbon", "rain music trains", "number77 bees"])
def test_they_rank_as_live_counts_do(
    speaker: Speaker, resources: Resources, owner: Connection, query: str
) -> None:
    say_many(speaker, COUNTED_FROM)
    live = ranking(speaker, query)
    assert len(live) == 40
    refresh(resources, "acme")
    assert counted(owner) == {"acme": COUNTED_FROM}
    resources.answers.changed("acme")
    kept = ranking(speaker, query)
    assert [bm25 for _, bm25 in kept] == pytest.approx([bm25 for _, bm25 in live], rel=1e-9)
    assert kept == [(content, pytest.approx(bm25, rel=1e-9)) for content, bm25 in live]


def test_a_small_tenant_needs_none(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM - 1)
    refresh(resources, "acme")
    refresh(resources, "acme", anyway=True)
    refresh(resources, "nobody")
    assert counted(owner) == {}
    speaker.say("one more")
    refresh(resources, "acme")
    assert counted(owner) == {"acme": COUNTED_FROM}


def test_they_are_made_anew_after_a_tenth_of_growth(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM)
    refresh(resources, "acme")
    assert owner.scalar(TERM) == COUNTED_FROM
    say_many(speaker, 99, "more")
    refresh(resources, "acme")
    assert counted(owner) == {"acme": COUNTED_FROM}
    refresh(resources, "acme", anyway=True)
    assert counted(owner) == {"acme": COUNTED_FROM + 99}
    say_many(speaker, 110, "again")
    refresh(resources, "acme")
    assert counted(owner) == {"acme": COUNTED_FROM + 209}
    assert owner.scalar(TERM) == COUNTED_FROM + 209


def test_they_follow_what_is_deleted(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM)
    refresh(resources, "acme")
    owner.execute(text("delete from messages where content like '% bees%'"))
    refresh(resources, "acme")
    left = COUNTED_FROM - math.ceil(COUNTED_FROM / 3)
    assert counted(owner) == {"acme": left}
    speaker.say("bees at last")
    assert contents(speaker.finds("bees", mode="lexical"))[0] == "bees at last"
    owner.execute(text("delete from messages"))
    refresh(resources, "acme")
    assert counted(owner) == {"acme": 0}
    assert owner.scalar(text("select count(*) from term_counts")) == 0
    assert speaker.finds("bees") == []


def test_what_came_after_them_is_found_at_once(speaker: Speaker, resources: Resources) -> None:
    say_many(speaker, COUNTED_FROM)
    refresh(resources, "acme")
    speaker.say("a zeppelin", conversation_id="new")
    speaker.say("bees and a zeppelin", conversation_id="newer")
    found = contents(speaker.finds("zeppelin", mode="lexical"))
    assert set(found) == {"a zeppelin", "bees and a zeppelin"}


def test_a_new_tenant_is_ranked_by_what_it_has(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM)
    refresh(resources, "acme")
    other = Speaker(speaker.api, "globex")
    other.say("bees")
    (hit,) = other.finds("bees", explain=True)
    idf = math.log(1 + (1 - 1 + 0.5) / (1 + 0.5))
    assert hit["explanation"]["bm25"] == pytest.approx(idf, rel=1e-4)
    assert hit["explanation"]["lexical"] == pytest.approx(1 / 2.7, rel=1e-4)
    assert counted(owner) == {"acme": COUNTED_FROM}


def test_one_refresh_of_a_tenant_at_a_time(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM)
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        assert another.scalar(TRY_REFRESH_LOCK, {"tenant_id": "acme"})
        refresh(resources, "acme")
        assert counted(owner) == {}
    refresh(resources, "acme")
    assert counted(owner) == {"acme": COUNTED_FROM}


def test_the_worker_sees_to_them(
    speaker: Speaker, worker: CeleryTestWorker, owner: Connection
) -> None:
    say_many(speaker, COUNTED_FROM)
    wait_until(lambda: counted(owner) == {"acme": COUNTED_FROM}, "the terms are counted")
    worker.wait_for_log("statistics_refreshed")
