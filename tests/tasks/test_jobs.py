"""Long work in slices: whose it is, what a failure costs, and how it ends."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text

from db.queries.jobs import CANCEL_JOB, INSERT_JOB
from memory.errors import EmbeddingSetupError, EmbeddingUnavailableError, JobLostError
from tasks.jobs import (
    GOES_ON,
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    RETRY_DELAY_SECONDS,
    Held,
    NewJob,
    Step,
    Values,
    finish,
    start_job,
    take,
    work,
)
from tasks.resources import Resources
from tasks.retrying import retry_step
from tests.db.rows import add_job, add_message, set_job
from tests.processes import wait_until

ROW = text("select * from jobs where id = cast(:id as uuid)")
END_LEASE = text("update jobs set lease_until = now() - interval '1 second'")
LEASE = text("select extract(epoch from lease_until - updated_at) from jobs")
STATUSES = text("select embedding_status, count(*) from messages group by 1")
# What refers to the message is looked for when the transaction commits.
BREAK_COMMIT = text("""
alter table messages add constraint breaks unique (tenant_id, id, embedding_status);
create table commit_breaks (
  tenant_id text collate "C",
  id uuid,
  status text,
  foreign key (tenant_id, id, status) references messages (tenant_id, id, embedding_status)
    deferrable initially deferred
);
insert into commit_breaks
select tenant_id, id, embedding_status from messages where content = 'note 15';
""")
SOON = 60.0


def row(owner: Connection, job_id: str | UUID) -> Any:
    return owner.execute(ROW, {"id": str(job_id)}).one()


def statuses(owner: Connection) -> dict[str, int]:
    return {status: count for status, count in owner.execute(STATUSES)}  # noqa: C416


def run(resources: Resources, job_id: str, step: Step, seconds: float = SOON) -> str:
    return work(resources, "acme", UUID(job_id), step, seconds)


def counting(limit: int) -> Step:
    """Slices that each count one, until there are so many."""

    def step(resources: Resources, held: Held) -> Values | None:
        if held.done == limit:
            return {"counted": held.done, "event": "a name that the log has too"}
        with resources.engine.begin() as connection:
            held.advance(connection, {"at": held.done}, 1, limit)
        return None

    return step


def failing(error: BaseException) -> Step:
    def step(resources: Resources, held: Held) -> Values | None:
        raise error

    return step


@pytest.fixture
def failed(owner: Connection, monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Thirty messages that were given up, to be tried again ten at a time."""
    monkeypatch.setattr("tasks.retrying.SLICE_MESSAGES", 10)
    return [add_message(owner, content=f"note {n}", status="failed") for n in range(30)]


def test_a_job_is_done_slice_by_slice(resources: Resources, owner: Connection) -> None:
    job_id = add_job(owner)
    assert run(resources, job_id, counting(3)) == "completed: 3 of 3"
    job = row(owner, job_id)
    assert (job.state, job.done, job.total, job.position) == ("completed", 3, 3, {"at": 2})
    assert job.result["counted"] == 3
    assert job.started_at <= job.finished_at
    assert (job.runner, job.lease_until, job.error) == (None, None, None)


def test_when_time_is_up_the_next_goes_on(resources: Resources, owner: Connection) -> None:
    job_id = add_job(owner)
    assert run(resources, job_id, counting(3), seconds=0) == GOES_ON + "1 of 3"
    left = row(owner, job_id)
    assert (left.state, left.runner, left.lease_until) == ("running", None, None)
    run(resources, job_id, counting(3))
    assert row(owner, job_id).state == "completed"
    assert row(owner, job_id).started_at == left.started_at


def test_a_job_has_one_runner_at_a_time(resources: Resources, owner: Connection) -> None:
    job_id = UUID(add_job(owner))
    with ThreadPoolExecutor(8) as runners:
        taken = list(runners.map(lambda _: take(resources, "acme", job_id), range(8)))
    assert len([held for held in taken if held]) == 1
    owner.execute(END_LEASE)
    assert take(resources, "acme", job_id)


def test_two_at_once_do_no_slice_twice(
    resources: Resources, owner: Connection, failed: list[UUID]
) -> None:
    job_id = add_job(owner)
    with ThreadPoolExecutor(4) as runners:
        list(runners.map(lambda _: run(resources, job_id, retry_step), range(4)))
    job = row(owner, job_id)
    assert (job.state, job.result) == ("completed", {"retried": 30})
    assert statuses(owner) == {"pending": 30}


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_what_has_ended_is_not_taken(resources: Resources, owner: Connection, state: Any) -> None:
    job_id = add_job(owner, state=state)
    assert take(resources, "acme", UUID(job_id)) is None
    assert take(resources, "globex", UUID(add_job(owner))) is None


def test_a_lease_counts_from_the_note_of_a_slice(resources: Resources, owner: Connection) -> None:
    held = take(resources, "acme", UUID(add_job(owner)))
    assert held
    with resources.engine.begin() as connection:
        noted = connection.scalar(text("select clock_timestamp() from pg_sleep(0.3)"))
        held.advance(connection, {}, 1)
    assert noted
    lease_until = row(owner, held.id).lease_until
    assert lease_until >= noted + timedelta(seconds=LEASE_SECONDS)


def test_who_lost_the_job_rolls_the_slice_back(
    resources: Resources, owner: Connection, failed: list[UUID]
) -> None:
    job_id = add_job(owner)
    first = take(resources, "acme", UUID(job_id))
    assert first
    owner.execute(END_LEASE)
    second = take(resources, "acme", UUID(job_id))
    assert second
    with pytest.raises(JobLostError):
        retry_step(resources, first)
    assert statuses(owner) == {"failed": 30}
    with pytest.raises(JobLostError):
        finish(resources, first, {})
    assert retry_step(resources, second) is None
    assert statuses(owner) == {"failed": 20, "pending": 10}
    assert row(owner, job_id).done == 10


def test_cancelled_in_the_middle_it_stops_and_the_slice_is_undone(
    resources: Resources, owner: Connection, failed: list[UUID]
) -> None:
    job_id = add_job(owner)

    def step(resources: Resources, held: Held) -> Values | None:
        if held.done:
            owner.execute(CANCEL_JOB, {"tenant_id": "acme", "id": held.id})
        return retry_step(resources, held)

    assert run(resources, job_id, step) == "cancelled, or another's"
    assert statuses(owner) == {"failed": 20, "pending": 10}
    job = row(owner, job_id)
    assert (job.state, job.done, job.error, job.result) == ("cancelled", 10, None, None)


def test_a_failed_try_is_put_off_for_longer_and_longer_until_it_is_the_last(
    resources: Resources, owner: Connection
) -> None:
    job_id = add_job(owner)
    # Its own words are for who may read the texts that it was sent.
    step = failing(EmbeddingUnavailableError("The provider is away.", "I cannot take 'peanuts'."))
    waits = []
    for _ in range(MAX_ATTEMPTS - 1):
        run(resources, job_id, step)
        waits.append(float(owner.scalar(LEASE) or 0))
        job = row(owner, job_id)
        assert (job.state, job.error, job.runner) == ("running", "The provider is away.", None)
        assert take(resources, "acme", UUID(job_id)) is None
        owner.execute(END_LEASE)
    assert waits == [RETRY_DELAY_SECONDS * 2**n for n in range(MAX_ATTEMPTS - 1)]
    run(resources, job_id, step)
    job = row(owner, job_id)
    assert (job.state, job.error) == ("failed", "The provider is away.")
    assert job.finished_at


def test_what_gets_further_has_its_tries_back(resources: Resources, owner: Connection) -> None:
    job_id = add_job(owner, attempts=MAX_ATTEMPTS - 1, error="boom")

    def step(resources: Resources, held: Held) -> Values | None:
        if held.done:
            raise EmbeddingUnavailableError("away again")
        return counting(9)(resources, held)

    run(resources, job_id, step)
    job = row(owner, job_id)
    assert (job.state, job.attempts, job.error) == ("running", 1, "away again")


def test_what_no_other_try_can_help_fails_at_once(resources: Resources, owner: Connection) -> None:
    job_id = add_job(owner)
    run(resources, job_id, failing(EmbeddingSetupError("No such model.")))
    job = row(owner, job_id)
    assert (job.state, job.error, job.attempts) == ("failed", "No such model.", 1)


def test_of_an_unexpected_error_the_row_has_no_words(
    resources: Resources, owner: Connection
) -> None:
    job_id = add_job(owner)
    run(resources, job_id, failing(ValueError("I am allergic to peanuts.")))
    assert row(owner, job_id).error == "ValueError"


def test_a_failed_slice_leaves_nothing_behind(
    resources: Resources, owner: Connection, failed: list[UUID]
) -> None:
    """What a slice did and the note of it are in one transaction, which fails as it commits."""
    job_id = add_job(owner)
    owner.execute(BREAK_COMMIT)
    run(resources, job_id, retry_step)
    assert statuses(owner) == {"failed": 20, "pending": 10}
    job = row(owner, job_id)
    assert (job.done, job.error) == (10, "IntegrityError")
    owner.execute(text("drop table commit_breaks"))
    owner.execute(END_LEASE)
    run(resources, job_id, retry_step)
    assert row(owner, job_id).result == {"retried": 30}
    assert statuses(owner) == {"pending": 30}


def start(engine: Engine, new: NewJob) -> UUID:
    with engine.begin() as connection:
        return start_job(connection, new)


def test_of_one_key_one_job_is_active(resources: Resources, owner: Connection) -> None:
    new = NewJob("rescore", "acme", {}, "test", "key")
    first = start(resources.engine, new)
    assert start(resources.engine, new) == first
    assert start(resources.engine, new._replace(tenant_id="globex")) != first
    assert start(resources.engine, new._replace(unique_key="other")) != first
    assert start(resources.engine, new._replace(unique_key=None)) != first
    for state in ("running", "completed", "failed", "cancelled"):
        set_job(owner, first, state=state)
        again = start(resources.engine, new)
        assert (again == first) is (state == "running")
        if again != first:
            set_job(owner, again, state="completed")


def test_a_key_that_is_free_in_the_last_moment_is_taken(
    resources: Resources, owner: Connection
) -> None:
    new = NewJob("rescore", "acme", {}, "test", "key")
    first = start(resources.engine, new)

    def end(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "active_with_key" in statement:
            set_job(owner, first, state="completed")

    event.listen(resources.engine, "before_cursor_execute", end)
    second = start(resources.engine, new)
    assert second != first
    assert row(owner, second).state == "queued"


@pytest.mark.parametrize("commits", [True, False])
def test_who_starts_the_same_at_once_waits_for_the_other(
    resources: Resources, owner: Connection, commits: bool
) -> None:
    new = NewJob("rescore", "acme", {}, "test", "key")
    waiting = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as other, resources.engine.connect() as connection:
        first = connection.scalar(INSERT_JOB, new.parameters())
        second = other.submit(start, resources.engine, new)
        wait_until(lambda: owner.scalar(waiting), "the other waits")
        connection.commit() if commits else connection.rollback()
        assert (second.result(20) == first) is commits


def test_a_worker_that_ends_in_a_slice_leaves_the_job_to_the_next(
    resources: Resources, owner: Connection
) -> None:
    job_id = add_job(owner)
    with pytest.raises(SystemExit):
        run(resources, job_id, failing(SystemExit()))
    held = row(owner, job_id)
    assert (held.state, held.attempts, held.error) == ("running", 1, None)
    assert held.lease_until > datetime.now(UTC)
    owner.execute(END_LEASE)
    run(resources, job_id, counting(1))
    assert row(owner, job_id).state == "completed"
