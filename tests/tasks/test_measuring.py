"""Figures of the whole store."""

from typing import get_args

import pytest
from sqlalchemy import Connection, text

from db.queries.gauges import IMPORTANCE_EDGES, MEASURE_STORE, measure_parameters
from db.queries.jobs import INSERT_JOB
from db.queries.retention import RESTORE_MESSAGE
from db.queries.retrying import RETRY_OF_TENANT
from memory.jobs import JobKind
from tasks.embedding import claim
from tasks.jobs import NewJob
from tasks.measuring import measure
from tasks.resources import Resources
from tests.db.rows import add_message

STORED = text("select name, label, value from store_gauges order by name, label")

MANY = text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at,
  embedding_status)
select 'acme', gen_random_uuid(), 'c', 'user', 'x', 0.5, now(), 'completed'
from generate_series(1, 20000)
""")


def stored(owner: Connection) -> dict[tuple[str, str], float]:
    return {(name, label): value for name, label, value in owner.execute(STORED)}


def add_job(owner: Connection, tenant_id: str, state: str) -> None:
    new = NewJob("retention", tenant_id, {}, "test").parameters()
    owner.execute(INSERT_JOB, new)
    owner.execute(text("update jobs set state = :state where id = :id"), {**new, "state": state})


def test_an_empty_store_is_measured_too(resources: Resources, owner: Connection) -> None:
    measure(resources)
    found = stored(owner)
    assert found.pop(("bytes", "")) > 0
    assert found.pop(("measured_timestamp_seconds", "")) > 0
    assert found == {
        ("active_jobs", "queued"): 0,
        ("active_jobs", "running"): 0,
        ("archived_messages", ""): 0,
        ("failed_messages", ""): 0,
        ("messages", ""): 0,
        ("oldest_pending_seconds", ""): 0,
        ("pending_messages", ""): 0,
        ("tenants", ""): 0,
        **{("importance_bucket", edge): 0 for edge in IMPORTANCE_EDGES},
        **{("job_failed", kind): 0 for kind in get_args(JobKind)},
    }


def test_importance_is_told_from_a_sample(resources: Resources, owner: Connection) -> None:
    owner.execute(MANY)
    owner.execute(text("update messages set importance_score = 0.95 where random() < 0.25"))
    owner.execute(text("analyze messages"))
    measure(resources)
    found = stored(owner)
    assert found["importance_bucket", "0.4"] == 0
    assert found["importance_bucket", "0.5"] == pytest.approx(15_000, rel=0.1)
    assert found["importance_bucket", "0.9"] == found["importance_bucket", "0.5"]
    assert found["importance_bucket", "+Inf"] == found["messages", ""]


def test_what_is_in_the_store_is_counted_over_all_tenants(
    resources: Resources, owner: Connection
) -> None:
    for tenant_id, status in [
        ("acme", "pending"),
        ("acme", "completed"),
        ("globex", "pending"),
        ("globex", "failed"),
        ("globex", "archived"),
    ]:
        add_message(owner, tenant_id, status=status)
    owner.execute(text("update messages set archived_at = now() where embedding_status='archived'"))
    for state in ("queued", "running", "running", "completed", "failed", "cancelled"):
        add_job(owner, "acme", state)
    add_job(owner, "*", "running")
    measure(resources)
    found = stored(owner)
    assert found["messages", ""] == 5
    assert found["pending_messages", ""] == 2
    assert found["failed_messages", ""] == 1
    assert found["archived_messages", ""] == 1
    assert found["active_jobs", "queued"] == 1
    assert found["active_jobs", "running"] == 3
    assert found["tenants", ""] == 2


def test_how_many_there_are_is_the_planners_estimate(
    resources: Resources, owner: Connection
) -> None:
    for _ in range(3):
        add_message(owner)
    owner.execute(text("analyze messages"))
    add_message(owner)
    assert measure(resources)["messages"] == 3


@pytest.mark.parametrize("attempts", [0, 2])
def test_the_oldest_waits_since_it_became_pending(
    resources: Resources, owner: Connection, attempts: int
) -> None:
    add_message(owner, status="completed", age=1_000_000)
    add_message(owner, attempts=attempts, age=100)
    add_message(owner, "globex", age=1)
    assert measure(resources)["oldest_pending_seconds"] == pytest.approx(100, abs=5)


def test_who_is_asked_for_again_or_restored_begins_to_wait_anew(
    resources: Resources, owner: Connection
) -> None:
    add_message(owner, status="failed", attempts=5, age=90_000)
    owner.execute(RETRY_OF_TENANT, {"tenant_id": "acme", "ids": None})
    archived = add_message(owner, "globex", status="archived", age=90_000)
    owner.execute(text("update messages set archived_at = now() where tenant_id = 'globex'"))
    owner.execute(RESTORE_MESSAGE, {"tenant_id": "globex", "id": archived})
    found = measure(resources)
    assert found["pending_messages"] == 2
    assert found["oldest_pending_seconds"] < 5
    # Nor is it longer by what was tried.
    (claimed,) = claim(resources, "globex", [archived], alone=False)
    assert claimed.waited < 5
    assert measure(resources)["oldest_pending_seconds"] < 5


def test_a_second_measure_takes_the_place_of_the_first(
    resources: Resources, owner: Connection
) -> None:
    owner.execute(text("insert into store_gauges (name, value) values ('of_another_version', 1)"))
    measure(resources)
    first = owner.scalar(text("select max(measured_at) from store_gauges"))
    add_message(owner)
    measure(resources)
    assert stored(owner)["pending_messages", ""] == 1
    assert ("of_another_version", "") not in stored(owner)
    assert owner.scalar(
        text("select min(measured_at) > :first from store_gauges"), {"first": first}
    )


def test_partial_indexes_answer_however_large_the_store(
    resources: Resources, owner: Connection
) -> None:
    owner.execute(MANY)
    owner.execute(text("vacuum analyze messages"))
    with resources.engine.begin() as connection:
        explained = text(f"explain (analyze, costs off) {MEASURE_STORE}")
        lines = connection.scalars(explained, measure_parameters(by_tenant=True)).all()
    scans = [line for line in lines if "Scan" in line and " messages" in line]
    used = [line for line in scans if "never executed" not in line]
    for index in ("messages_pending", "messages_failed", "messages_archived"):
        assert any(index in line for line in used), scans
    assert not any("Seq Scan on messages" in line for line in used), scans
