"""The checks of a store after faults: each finds what it is there for."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from bench.chaos.checks import embedded, stuck, whole, worked_on
from bench.chaos.ledger import AGEING, Ledger, Said, StartedJob
from tests.db.rows import add_message

LIMIT, CALM = 20.0, 60.0
JOB = text("""
insert into jobs (tenant_id, id, kind, state, arguments, position, done, started_by, attempts,
  created_at, updated_at)
values ('acme', :id, 'rescore', :state, '{}', '{}', 0, 'chaos', 1, now(), now())
""")

Store = psycopg.Connection[Any]
Add = Callable[..., UUID]


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def said(owner: Connection) -> Said:
    return Said(str(add_message(owner, content="one")), "acme", "one")


def test_what_is_there_once_is_whole(store: Store, said: Said) -> None:
    assert not whole(store, [said]).any


def test_an_acknowledged_row_that_was_deleted_is_lost(
    store: Store, said: Said, owner: Connection
) -> None:
    owner.execute(text("delete from messages"))
    assert whole(store, [said]).lost == [said.id]


def test_one_under_another_id_is_lost(store: Store, said: Said) -> None:
    other = Said(str(uuid7()), said.tenant_id, said.content)
    assert whole(store, [other]).lost == [other.id]


def test_one_whose_words_were_changed_is_lost(store: Store, said: Said, owner: Connection) -> None:
    owner.execute(text("update messages set content = 'two'"))
    assert whole(store, [said]).lost == [said.id]


def test_one_that_is_there_twice_is_doubled(store: Store, said: Said, owner: Connection) -> None:
    add_message(owner, content="one")
    found = whole(store, [said])
    assert (found.lost, found.doubled) == ([], ["one"])


def test_what_was_never_acknowledged_may_be_there_once(store: Store, owner: Connection) -> None:
    add_message(owner, content="an answer that was lost")
    assert not whole(store, []).any


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"age": 30}, 1),
        ({"age": 10}, 0),
        ({"age": 90, "claimed_for": -30, "attempts": 1}, 1),
        ({"age": 90, "claimed_for": 30, "attempts": 1}, 0),
        ({"age": 90, "claimed_for": -10, "attempts": 1}, 0),
        ({"age": 90, "status": "completed"}, 0),
    ],
)
def test_what_waits_in_nobodys_hands_is_stuck(
    store: Store, owner: Connection, row: dict[str, Any], found: int
) -> None:
    add_message(owner, **row)
    assert len(stuck(store, CALM, LIMIT).stuck) == found


def test_what_waited_through_a_fault_counts_from_its_end(store: Store, owner: Connection) -> None:
    add_message(owner, age=300)
    assert not stuck(store, LIMIT - 1, LIMIT).any


def test_an_embedded_message_without_a_vector_or_words_is_found(
    store: Store, owner: Connection
) -> None:
    add_message(owner, status="completed")
    assert [each.partition(":")[0] for each in embedded(store).other] == ["no vector", "no words"]


@pytest.mark.parametrize(
    ("content", "error", "found"),
    [
        ("good", "given up", 1),
        ("poisonous", "The worker ended 5 times", 0),
        ("poisonous", None, 1),
    ],
)
def test_only_poison_may_fail_and_says_why(
    store: Store, owner: Connection, content: str, error: str | None, found: int
) -> None:
    add_message(owner, content=content, status="failed")
    owner.execute(text("update messages set embedding_error = :error"), {"error": error})
    failed = [each for each in embedded(store).other if each.startswith("failed")]
    assert len(failed) == found


@pytest.mark.parametrize(
    ("state", "cancelled", "found"),
    [
        ("completed", False, 0),
        ("cancelled", True, 0),
        ("cancelled", False, 1),
        ("failed", False, 1),
        ("queued", False, 1),
        ("running", True, 1),
    ],
)
def test_a_job_has_ended_well(
    store: Store, owner: Connection, state: str, cancelled: bool, found: int
) -> None:
    job = StartedJob(str(uuid7()), "rescore", "acme", cancelled)
    owner.execute(JOB, {"id": job.id, "state": state})
    assert len(worked_on(store, [job]).other) == found


def test_a_job_that_is_gone_is_lost(store: Store) -> None:
    job = StartedJob(str(uuid7()), "rescore", "acme")
    assert worked_on(store, [job]).lost == [f"job {job.id} (rescore)"]


def test_what_retention_took_is_what_it_says(store: Store, owner: Connection) -> None:
    add_message(owner, tenant_id=AGEING)
    owner.execute(text("update messages set archived_at = now(), embedding_status = 'completed'"))
    assert worked_on(store, []).other == ["1 messages are archived, and retention says 0"]


def test_a_key_that_has_stored_twice_is_wrong() -> None:
    ledger = Ledger()
    ledger.acknowledge(Said("1", "acme", "one"))
    ledger.acknowledge(Said("1", "acme", "one"))
    assert ledger.wrong == []
    ledger.acknowledge(Said("2", "acme", "one"))
    assert ledger.wrong == ["a key was not honoured: 1 and 2"]


def test_each_message_has_a_word_of_its_own() -> None:
    ledger = Ledger()
    words = [ledger.words("x").split()[0] for _ in range(5_000)]
    assert len(set(words)) == 5_000
