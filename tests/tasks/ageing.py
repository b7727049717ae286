"""A store whose messages are as old as a test wants them, without waiting."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from memory.retention_runs import Run
from tasks.jobs import start_job, work
from tasks.resources import Resources
from tasks.retention import expire_step, new_run

GROW_OLD = text("""
update messages
set ingested_at = ingested_at - make_interval(days => :days),
  created_at = created_at - make_interval(days => :days),
  archived_at = archived_at - make_interval(days => :days),
  restored_at = restored_at - make_interval(days => :days)
where cast(:ids as uuid[]) is null or id = any(cast(:ids as uuid[]))
""")
SET_IMPORTANCE = text("update messages set importance_score = :score where id = any(:ids)")
JOB = text("select state, result, error, done, total, position from jobs where id = :id")
LIVE = text("select content from messages where archived_at is null order by id")
ARCHIVED = text("select content from messages where archived_at is not null order by id")


def grow_old(owner: Connection, days: int, ids: list[str] | None = None) -> None:
    """Make messages `days` older, in all that a run looks at; all of them without `ids`."""
    named = None if ids is None else [UUID(each) for each in ids]
    owner.execute(GROW_OLD, {"days": days, "ids": named})


def matter(owner: Connection, score: float, ids: list[str]) -> None:
    """Give messages an importance, as rescoring would."""
    owner.execute(SET_IMPORTANCE, {"score": score, "ids": [UUID(each) for each in ids]})


def begin(resources: Resources, run: Run, tenant_id: str = "*") -> UUID:
    """The id of the job of a run that nobody works on yet."""
    with resources.engine.begin() as connection:
        return start_job(connection, new_run(run, tenant_id, "test"))


def go_on(resources: Resources, job_id: UUID, tenant_id: str = "*") -> dict[str, Any]:
    """Work on a run until it has ended; its result."""
    said = work(resources, tenant_id, job_id, expire_step)
    with resources.engine.begin() as connection:
        row = connection.execute(JOB, {"id": job_id}).one()
    assert row.state == "completed", (said, row.error)
    result: dict[str, Any] = row.result
    return result


def expire(resources: Resources, run: Run, tenant_id: str = "*") -> dict[str, Any]:
    """The result of a run that nothing disturbs."""
    return go_on(resources, begin(resources, run, tenant_id), tenant_id)


def live(owner: Connection) -> list[str]:
    """What is said in the live messages."""
    return list(owner.execute(LIVE).scalars())


def archived(owner: Connection) -> list[str]:
    """What is said in the archived ones."""
    return list(owner.execute(ARCHIVED).scalars())
