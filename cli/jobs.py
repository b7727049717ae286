"""Long work that a command begins, and what is seen of it until it ends."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self
from uuid import UUID

import click
from celery import Celery
from kombu.exceptions import OperationalError
from rich.console import Console

from cli.errors import StartError
from db.queries.jobs import job_from_row, jobs_by_id
from db.schema import check_schema, owner_connection
from memory.jobs import Job as State
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.jobs import GOES_ON, NewJob, Step, progress, start_job, work
from tasks.moving import check_same
from tasks.resources import Resources
from tasks.sending import send_job

POLL_SECONDS = 0.3
# Where nobody looks on, a line so often.
LINE_SECONDS = 10.0
HERE_SECONDS = 1.0


class Job(NamedTuple):
    """Long work, and how people are told of it."""

    new: NewJob
    step: Step
    title: str
    told: Callable[[dict[str, Any]], str]
    """Makes of the result what is said in the end."""


def carry_out(settings: Settings, job: Job, *, wait: bool, here: bool) -> None:
    """Begin a job and watch it; `here`, or where there are no workers, this process works on it.

    Raises `StateConflictError` when another job is in the way, `StartError` when it fails.
    """
    state = begun(settings, job.new)
    here = here or not settings.async_embeddings
    if not here:
        tell_workers(settings, job.new, state.id)
        if not wait:
            click.echo(f"{job.title}: job {state.id}")
            return
    try:
        ended = watch(settings, job, state.id, here=here)
    except KeyboardInterrupt:
        goes_on = "The same command takes it up again" if here else "It goes on"
        raise StartError(f"{goes_on}: job {state.id}") from None
    if ended.state != "completed" or ended.result is None:
        raise StartError(f"{job.title}: {ended.state}. {ended.error or ''}")
    click.echo(job.told(ended.result))


def begun(settings: Settings, new: NewJob) -> State:
    """The job, or the same one that is active already."""
    with owner_connection(settings.database_url) as connection:
        check_schema(connection)
        job_id = start_job(connection, new)
        state = job_from_row(connection.execute(jobs_by_id([job_id])).one())
        connection.commit()
    check_same(state, new)
    return state


def tell_workers(settings: Settings, new: NewJob, job_id: UUID) -> None:
    """Send the job's task; a broker that is away is no harm."""
    with Celery("memory-cli", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        app.conf.broker_transport_options |= {"max_retries": 0}
        try:
            send_job(app, new.kind, new.tenant_id, job_id)
        except OperationalError:
            click.echo("The broker does not answer: workers begin when it is back.", err=True)


def watch(settings: Settings, job: Job, job_id: UUID, *, here: bool) -> State:
    """Show how far the job is until it has ended."""
    resources = Resources(settings)
    with (
        owner_connection(settings.database_url) as connection,
        contextlib.closing(resources),
        Line(job.title) as line,
    ):
        while True:
            said = ""
            if here:
                said = work(resources, job.new.tenant_id, job_id, job.step, HERE_SECONDS)
            state = job_from_row(connection.execute(jobs_by_id([job_id])).one())
            connection.rollback()
            if state.ended:
                return state
            line.show(described(state))
            if not said.startswith(GOES_ON):
                time.sleep(POLL_SECONDS)


class Line:
    """A line that changes; where nobody looks on, a new line now and then."""

    def __init__(self, title: str, *, stderr: bool = False) -> None:
        self._title = title
        self._console = Console(highlight=False, markup=False, soft_wrap=True, stderr=stderr)
        self._status = self._console.status(title)
        self._said_at = -LINE_SECONDS

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def show(self, text: str) -> None:
        """Show `text` in place of what was there."""
        self._status.update(f"{self._title}: {text}")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said_at >= LINE_SECONDS:
            self._console.print(f"{self._title}: {text}")
            self._said_at = now


def described(state: State) -> str:
    """How a job stands."""
    if state.error:
        return f"{progress(state)}, to be tried again: {state.error}"
    return "waits for a worker" if state.state == "queued" else progress(state)
