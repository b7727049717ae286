"""Failed messages are tried again, each once, whatever becomes of them."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from memory.jobs import ALL_TENANTS
from tasks.jobs import Held, Values, start_job, work
from tasks.resources import Resources
from tasks.retrying import new_retry, retry_step
from tests.db.rows import add_message

STATES = text("""
select tenant_id, embedding_status, embedding_attempts, embedding_error, claimed_until
from messages order by tenant_id, id
""")
FAIL_AGAIN = text("""
update messages set embedding_status = 'failed', embedding_error = 'boom'
where embedding_status = 'pending'
""")
JOB = text("select state, done, total, result from jobs where id = :id")


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three messages at a time."""
    monkeypatch.setattr("tasks.retrying.SLICE_MESSAGES", 3)


@pytest.fixture
def store(owner: Connection) -> None:
    """Messages of three tenants that were given up, and some that were not."""
    for tenant_id in ("acme", "globex", "Initech"):
        for n in range(5):
            add_message(owner, tenant_id, f"note {n}", status="failed", attempts=5, claimed_for=99)
        add_message(owner, tenant_id, "done", status="completed", attempts=1)
    owner.execute(text("update messages set embedding_error = 'boom' where content <> 'done'"))


def begin(resources: Resources, tenant_id: str) -> UUID:
    with resources.engine.begin() as connection:
        return start_job(connection, new_retry(tenant_id, "test"))


def states(owner: Connection, tenant_id: str) -> set[tuple[Any, ...]]:
    return {tuple(row)[1:] for row in owner.execute(STATES) if row.tenant_id == tenant_id}


AS_NEW = ("pending", 0, None, None)
DONE = ("completed", 1, None, None)


def test_the_failed_messages_of_a_tenant_are_as_if_they_were_new(
    resources: Resources, owner: Connection, store: None
) -> None:
    job_id = begin(resources, "acme")
    work(resources, "acme", job_id, retry_step)
    assert tuple(owner.execute(JOB, {"id": job_id}).one()) == ("completed", 5, 5, {"retried": 5})
    assert states(owner, "acme") == {AS_NEW, DONE}
    assert {state[0] for state in states(owner, "globex")} == {"failed", "completed"}


def test_those_of_all_tenants_are_tried_again(
    resources: Resources, owner: Connection, store: None
) -> None:
    job_id = begin(resources, ALL_TENANTS)
    work(resources, ALL_TENANTS, job_id, retry_step)
    assert tuple(owner.execute(JOB, {"id": job_id}).one()) == ("completed", 15, 15, {"retried": 15})
    for tenant_id in ("acme", "globex", "Initech"):
        assert states(owner, tenant_id) == {AS_NEW, DONE}


@pytest.mark.parametrize("tenant_id", ["acme", ALL_TENANTS])
def test_what_fails_again_at_once_is_not_tried_for_ever(
    resources: Resources, owner: Connection, store: None, tenant_id: str
) -> None:
    def step(resources: Resources, held: Held) -> Values | None:
        owner.execute(FAIL_AGAIN)
        return retry_step(resources, held)

    job_id = begin(resources, tenant_id)
    work(resources, tenant_id, job_id, step)
    retried = 5 if tenant_id == "acme" else 15
    assert owner.execute(JOB, {"id": job_id}).one().result == {"retried": retried}


def test_where_nothing_has_failed_nothing_is_done(resources: Resources, owner: Connection) -> None:
    add_message(owner, status="completed")
    job_id = begin(resources, "acme")
    work(resources, "acme", job_id, retry_step)
    assert owner.execute(JOB, {"id": job_id}).one().result == {"retried": 0}
