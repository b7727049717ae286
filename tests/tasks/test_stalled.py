"""Jobs whose worker died, whose task was lost, and those that ended long ago."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.jobs import JobState
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.jobs import MAX_ATTEMPTS, take
from tasks.resources import Resources
from tasks.stalled import PURGE_AT_ONCE, STALLED_GRACE_SECONDS, purge, stalled_jobs
from tests.db.rows import add_job
from tests.processes import wait_until

MESSAGES = 20_000
# Messages of many tenants would be as good; the workers are slow enough for one.
FILL = text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at,
  embedding_status, embedding_attempts, embedding_error)
select 'acme', cast(lpad(to_hex(n), 32, '0') as uuid), 'c', 'user', 'note', 0.5, now(),
  'failed', 5, 'boom'
from generate_series(1, :messages) as n
""")
LOCK = text("select id from messages where id = :id for update")
JOB = text("select state, done, total, attempts, result, error, runner from jobs")
FAILED = text("select count(*) from messages where embedding_status = 'failed'")
END_LEASES = text("update jobs set lease_until = now() - interval '1 s' where runner is not null")
AT_WORK = text("""
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'memory_worker' and state <> 'idle'
""")
WAITING = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.fixture
def broker(settings: Settings) -> Iterator[Celery]:
    """Sends tasks as beat does."""
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        yield app


@contextmanager
def locked(owner: Connection, number: int) -> Iterator[None]:
    """Nobody gets past the message of this number."""
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
        holder.execute(LOCK, {"id": UUID(int=number)})
        yield
        holder.rollback()


def retry_all(api: httpx.Client) -> Callable[[], dict[str, Any]]:
    """Start a job of many slices; gives its present state when called."""
    started = api.post("/v1/admin/embeddings/retry", json={})
    assert started.status_code == 202, started.text
    return lambda: dict(api.get(f"/v1/jobs/{started.json()['id']}").json())


def test_killed_in_the_middle_a_job_goes_on_where_it_stood(
    api: httpx.Client, worker: CeleryTestWorker, broker: Celery, owner: Connection
) -> None:
    owner.execute(FILL, {"messages": MESSAGES})
    with locked(owner, MESSAGES // 2 + 500):
        state = retry_all(api)
        wait_until(lambda: owner.scalar(WAITING), "the job is at the locked message")
        worker.kill()
    wait_until(lambda: not owner.scalar(AT_WORK), "its transaction has ended")
    # The slice that was under way is undone, and the note of it.
    assert (state()["state"], state()["done"]) == ("running", MESSAGES // 2)
    assert owner.scalar(FAILED) == MESSAGES // 2
    worker.restart()
    broker.send_task("restart_stalled_jobs")
    broker.send_task("measure_store")
    wait_until(
        lambda: owner.scalar(text("select count(*) from store_gauges")), "both tasks were done"
    )
    assert state()["done"] == MESSAGES // 2, "another took it while the lease lasted"
    owner.execute(END_LEASES)
    broker.send_task("restart_stalled_jobs")
    wait_until(lambda: state()["state"] == "completed", "the job is done")
    assert state()["result"] == {"retried": MESSAGES}
    assert owner.scalar(FAILED) == 0


def test_cancelled_under_a_worker_a_job_stops(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    owner.execute(FILL, {"messages": MESSAGES})
    with locked(owner, MESSAGES // 2 + 500):
        state = retry_all(api)
        wait_until(lambda: owner.scalar(WAITING), "the job is at the locked message")
        assert api.post(f"/v1/jobs/{state()['id']}/cancel").json()["done"] == MESSAGES // 2
    wait_until(lambda: not owner.scalar(AT_WORK), "the worker has let go of it")
    assert (state()["state"], state()["done"]) == ("cancelled", MESSAGES // 2)
    assert owner.scalar(FAILED) == MESSAGES // 2
    api.post(f"/v1/jobs/{state()['id']}/retry")
    wait_until(lambda: state()["state"] == "completed", "the rest is done")
    assert state()["result"] == {"retried": MESSAGES}


def test_an_emptied_broker_loses_no_job(
    settings: Settings,
    api: httpx.Client,
    owner: Connection,
    broker: Celery,
    request: pytest.FixtureRequest,
) -> None:
    owner.execute(FILL, {"messages": 10})
    state = retry_all(api)
    with redis.Redis.from_url(settings.redis_url) as client:
        wait_until(lambda: client.llen("maintenance"), "the task is sent")
        client.flushall()
    owner.execute(text("update jobs set updated_at = now() - interval '61 seconds'"))
    request.getfixturevalue("worker")
    broker.send_task("restart_stalled_jobs")
    wait_until(lambda: state()["state"] == "completed", "the job is done")


@pytest.mark.parametrize(
    ("state", "lease_ended", "sent_ago", "stalled"),
    [
        ("queued", None, STALLED_GRACE_SECONDS + 1, True),
        ("queued", None, STALLED_GRACE_SECONDS - 10, False),
        ("running", None, STALLED_GRACE_SECONDS + 1, True),
        ("running", 1, 1, True),
        ("running", -30, STALLED_GRACE_SECONDS + 1, False),
        ("completed", None, 999, False),
        ("failed", None, 999, False),
        ("cancelled", None, 999, False),
    ],
)
def test_what_nobody_works_on_is_sent_once(
    resources: Resources,
    owner: Connection,
    state: JobState,
    lease_ended: float | None,
    sent_ago: float,
    stalled: bool,
) -> None:
    lease = None if lease_ended is None else ago(lease_ended)
    job_id = add_job(owner, state=state, updated_at=ago(sent_ago), lease_until=lease)
    sent = [str(row.id) for row in stalled_jobs(resources)]
    assert sent == ([job_id] if stalled else [])
    assert stalled_jobs(resources) == []


def test_a_job_of_another_version_is_left_to_it(resources: Resources, owner: Connection) -> None:
    add_job(owner, kind="rescore", updated_at=ago(STALLED_GRACE_SECONDS + 1))
    owner.execute(text("update jobs set kind = 'of_tomorrow'"))
    assert stalled_jobs(resources) == []


def test_a_job_that_kills_its_workers_fails(resources: Resources, owner: Connection) -> None:
    job_id = add_job(owner)
    for attempt in range(MAX_ATTEMPTS):
        (stalled,) = stalled_jobs(resources, grace=0)
        assert str(stalled.id) == job_id
        assert take(resources, "acme", stalled.id), attempt
        assert stalled_jobs(resources, grace=0) == []
        assert owner.execute(JOB).one().state == "running"
        owner.execute(END_LEASES)
    assert stalled_jobs(resources, grace=0) == []
    job = owner.execute(JOB).one()
    assert (job.state, job.runner) == ("failed", None)
    assert job.error == f"The worker ended {MAX_ATTEMPTS} times while it was at this."


def test_what_ended_long_ago_is_purged(resources: Resources, owner: Connection) -> None:
    old, recent = ago(31 * 86_400), ago(29 * 86_400)
    for state in ("completed", "failed", "cancelled"):
        add_job(owner, state=state, finished_at=old)
    kept = {add_job(owner, state="completed", finished_at=recent), add_job(owner, created_at=old)}
    assert purge(resources) == 3
    assert {str(each) for each in owner.scalars(text("select id from jobs"))} == kept


def test_a_purge_goes_on_until_nothing_old_is_left(
    worker: CeleryTestWorker, broker: Celery, owner: Connection
) -> None:
    owner.execute(
        text(
            "insert into jobs (tenant_id, id, kind, state, started_by, finished_at)"
            " select 'acme', gen_random_uuid(), 'rescore', 'completed', 'test',"
            " now() - interval '31 days' from generate_series(1, :jobs)"
        ),
        {"jobs": PURGE_AT_ONCE + 1},
    )
    broker.send_task("purge_jobs")
    wait_until(
        lambda: owner.scalar(text("select count(*) from jobs")) == 0, "all old jobs are gone"
    )
