"""Long work in slices: taking a job, noting how far it is, leaving it to the next.

A job is a row (`db/queries/jobs.py`) and a `Step`: a function that does one slice, some seconds
at most, and notes it with `Held.advance` in the slice's own transaction. A task works on a job for
a while and sends the next task; when a worker is killed its last slice is rolled back, the lease
runs out, and `restart_stalled_jobs` has another go on from where it stood.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import Connection
from uuid_utils.compat import uuid4, uuid7

from db.queries.jobs import (
    ACTIVE_WITH_KEY,
    ADVANCE_JOB,
    FINISH_JOB,
    INSERT_JOB,
    PUT_OFF_JOB,
    RELEASE_JOB,
    RENEW_JOB,
    TAKE_JOB,
)
from memory.errors import JobLostError, JobStepError, MemoryLayerError
from memory.jobs import ALL_TENANTS, HOPELESS, JobKind
from tasks.base import Task
from tasks.ending import cut_short, ending, undisturbed
from tasks.resources import Resources
from tasks.sending import send_job

log = structlog.get_logger(__name__)

LEASE_SECONDS = 60
MAX_ATTEMPTS = 5
RETRY_DELAY_SECONDS = 5
# A task that has worked this long leaves the rest to another.
TASK_ENOUGH_SECONDS = 20
GOES_ON = "goes on: "
PUT_OFF, FAILED = "put off", "failed"

Values = dict[str, Any]


class Held:
    """A job in the hands of one runner, with its arguments and how far it is."""

    def __init__(self, tenant_id: str, job_id: UUID, runner: UUID, row: Any) -> None:
        self.tenant_id = tenant_id
        self.id = job_id
        self.kind: JobKind = row.kind
        self.arguments: Values = row.arguments
        self.position: Values = row.position
        self.done: int = row.done
        self.total: int | None = row.total
        self.started_by: str = row.started_by
        self.started_at = row.started_at
        self._runner = runner

    @property
    def about_all(self) -> bool:
        """Whether it is about all tenants."""
        return self.tenant_id == ALL_TENANTS

    def advance(
        self, connection: Connection, position: Values, done: int = 0, total: int | None = None
    ) -> None:
        """Note in the slice's transaction that it stands at `position`, `done` further.

        Raises `JobLostError` when it was cancelled or is another's by now: roll back then.
        """
        noted = {"position": _json(position), "done": self.done + done, "total": total}
        held = connection.scalar(ADVANCE_JOB, {**self.named, **noted, "lease": LEASE_SECONDS})
        if held is None:
            raise JobLostError(f"job {self.id} is no longer this runner's")
        self.position = position
        self.done += done
        self.total = self.total if total is None else total

    def renew(self, connection: Connection, position: Values, done: int, total: int) -> None:
        """Hold it for another lease, in the midst of one thing that is so far.

        Raises `JobLostError` as `advance` does. Who dies at it has used up a try.
        """
        noted = {"position": _json(position), "done": done, "total": total}
        held = connection.scalar(RENEW_JOB, {**self.named, **noted, "lease": LEASE_SECONDS})
        if held is None:
            raise JobLostError(f"job {self.id} is no longer this runner's")

    @property
    def named(self) -> Values:
        """The parameters by which a statement finds the job while this runner has it."""
        return {"tenant_id": self.tenant_id, "id": self.id, "runner": self._runner}


# Does one slice; gives the result when there is nothing more to do, None while there is.
Step = Callable[[Resources, Held], Values | None]


class NewJob(NamedTuple):
    """What a job is to do, for whom and at whose wish."""

    kind: JobKind
    tenant_id: str
    arguments: Values
    started_by: str
    unique_key: str | None = None

    def parameters(self) -> Values:
        """The parameters of `INSERT_JOB`, with a new id."""
        values = self._asdict() | {"id": uuid7(), "total": None}
        return values | {"arguments": _json(self.arguments)}


def start_job(connection: Connection, new: NewJob) -> UUID:
    """The id of a new job, or of the active one that has its key."""
    made: UUID | None = connection.scalar(INSERT_JOB, new.parameters())
    if made is None:
        key = {"tenant_id": new.tenant_id, "unique_key": new.unique_key}
        made = connection.scalar(ACTIVE_WITH_KEY, key)
    # It may have ended between the two: then its key is free.
    return made if made is not None else start_job(connection, new)


def work(
    resources: Resources,
    tenant_id: str,
    job_id: UUID,
    step: Step,
    seconds: float = TASK_ENOUGH_SECONDS,
) -> str:
    """Work on a job for some seconds; says how it stands then, for people.

    It is left to the next runner when time is up, put off when a step fails, and not touched when
    it is another's.
    """
    held = take(resources, tenant_id, job_id)
    if held is None:
        return "nothing to do: ended, or another's"
    enough = time.monotonic() + seconds
    try:
        while (result := step(resources, held)) is None:
            if time.monotonic() > enough or ending():
                return leave(resources, held)
        finish(resources, held, result)
    except JobLostError:
        return "cancelled, or another's"
    except Exception as error:
        if cut_short(error):
            with undisturbed():
                return leave(resources, held)
        return put_off(resources, held, error)
    return f"completed: {progress(held)}"


def take(resources: Resources, tenant_id: str, job_id: UUID) -> Held | None:
    """Hold the job for a lease, None when it has ended or another holds it."""
    runner = uuid4()
    parameters = {"tenant_id": tenant_id, "id": job_id, "runner": runner}
    with resources.engine.begin() as connection:
        row = connection.execute(
            TAKE_JOB, {**parameters, "lease": LEASE_SECONDS, "max_attempts": MAX_ATTEMPTS}
        ).one_or_none()
    return None if row is None else Held(tenant_id, job_id, runner, row)


def leave(resources: Resources, held: Held) -> str:
    """Leave the job to the next runner, where its last slice has ended."""
    with resources.engine.begin() as connection:
        connection.execute(RELEASE_JOB, held.named)
    return GOES_ON + progress(held)


def finish(resources: Resources, held: Held, result: Values) -> None:
    """End the job with `result`; raises `JobLostError` when it is no longer this runner's."""
    with resources.engine.begin() as connection:
        if connection.scalar(FINISH_JOB, {**held.named, "result": _json(result)}) is None:
            raise JobLostError(f"job {held.id} is no longer this runner's")
    resources.metrics.jobs_ended.labels(held.kind, "completed").inc()
    named = {"kind": held.kind, "job": str(held.id), "tenant_id": held.tenant_id}
    log.info("job_completed", **named, result=result)


def put_off(resources: Resources, held: Held, error: Exception) -> str:
    """Leave the job for later with the reason noted; failed when no try is left or can help."""
    named = isinstance(error, MemoryLayerError)
    reason = (str(error) if named else "") or type(error).__name__
    parameters = {
        **held.named,
        "error": reason,
        "hopeless": isinstance(error, HOPELESS),
        "delay": RETRY_DELAY_SECONDS,
        "max_attempts": MAX_ATTEMPTS,
    }
    with resources.engine.begin() as connection:
        state = connection.scalar(PUT_OFF_JOB, parameters)
    if state in ("running", "failed"):
        outcome = "put_off" if state == "running" else "failed"
        resources.metrics.jobs_ended.labels(held.kind, outcome).inc()
    log.warning("job_put_off", kind=held.kind, job=str(held.id), reason=reason, exc_info=not named)
    return f"{PUT_OFF if state == 'running' else state or 'lost'}: {reason}"


def progress(job: Any) -> str:
    """How far a job is, such as `1,500 of 20,000`."""
    of = "" if job.total is None else f" of {job.total:,}"
    return f"{job.done:,}{of}"


def run_job(
    task: Task,
    kind: JobKind,
    step: Step,
    tenant_id: str,
    job_id: str,
    seconds: float = TASK_ENOUGH_SECONDS,
) -> str:
    """The body of a job's task: work for a while, and send the next task if there is more.

    Raises `JobStepError` when a step failed, so that the task counts as failed, too.
    """
    said = work(task.resources, tenant_id, UUID(job_id), step, seconds)
    if said.startswith((PUT_OFF, FAILED)):
        raise JobStepError(said)
    if said.startswith(GOES_ON):
        send_job(task.app, kind, tenant_id, UUID(job_id), said.removeprefix(GOES_ON))
    return said


def _json(values: Values) -> str:
    return msgspec.json.encode(values).decode()
