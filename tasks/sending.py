"""Sending tasks, by those who post, by those who sweep and by those who start long work."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from celery import Celery
from kombu import Connection

from memory import tracing
from memory.jobs import ALL_TENANTS, JobKind
from memory.queues import QUEUES
from tasks.brokers import tries
from tasks.tracing import about as span_of

TASK_OF: dict[JobKind, str] = {
    "retention": "expire_messages",
    "rescore": "rescore_importance",
    "embeddings_retry": "retry_failed_embeddings",
    "embeddings_migrate": "migrate_embeddings",
    "embeddings_drop": "drop_embeddings",
    "export": "export_tenant",
    "import": "import_tenant",
    "backup": "back_up_store",
}
EVERYBODY = "all tenants"
BEGINS = "begins"
SHOWN = 3


def send_embedding(
    app: Celery,
    messages: Mapping[str, Sequence[UUID]],
    *,
    alone: bool = False,
    request_ids: Sequence[str] = (),
    origins: Sequence[tracing.Origin] | None = None,
) -> None:
    """Ask the workers to embed `messages` (tenant to ids).

    They are claimed one by one when `alone`, for they failed before; `origins` are the spans that
    it is for, if not the one at work. Raises kombu's `OperationalError` when the broker cannot be
    reached; there is no further try, for the sweep is one.
    """
    _send(
        app,
        "embed_messages",
        origins,
        kwargs={
            "messages": {tenant: [str(id_) for id_ in ids] for tenant, ids in messages.items()},
            "alone": alone,
        },
        **shown_as(whose(messages) + (", tried before" if alone else "")),
        headers={"request_ids": list(request_ids)},
        **tries(app.conf.broker_url),
    )


def send_job(
    app: Celery, kind: JobKind, tenant_id: str, job_id: UUID, progress: str = BEGINS
) -> None:
    """Ask the workers to begin a job, or to go on with it. Raises as `send_embedding` does.

    It does not expire, which would be judged by the clocks of two machines: one too many finds
    nothing to do.
    """
    about = EVERYBODY if tenant_id == ALL_TENANTS else tenant_id
    _send(
        app,
        TASK_OF[kind],
        # Each slice is a trace of its own: a job may be at work for a day.
        None if progress == BEGINS else (),
        kwargs={"tenant_id": tenant_id, "job_id": str(job_id)},
        **shown_as(f"{about}, {progress}, job {job_id}"),
        **tries(app.conf.broker_url),
    )


def send_again(app: Celery, task: str, *arguments: str, about: str = EVERYBODY) -> None:
    """Ask the workers for a task of upkeep that is about a tenant, or goes on for all of them."""
    _send(app, task, (), args=arguments, **shown_as(about))


def _send(app: Celery, task: str, origins: Sequence[tracing.Origin] | None, **options: Any) -> None:
    name, known = f"publish {task}", span_of(task, "send")
    span = (
        tracing.child(name, "producer", known)
        if origins is None
        else tracing.group(name, origins, "producer", known)
    )
    with span:
        headers = {**options.pop("headers", {}), **tracing.headers()}
        app.send_task(task, headers=headers, **options)


def shown_as(what: str) -> dict[str, str]:
    """What Flower and logs show of a task's arguments: for whom it is and how much."""
    return {"argsrepr": what, "kwargsrepr": ""}


def whose(messages: Mapping[str, Sequence[UUID]]) -> str:
    """Tenants and how many messages of theirs, such as `acme: 64, globex: 3 messages`."""
    shown = first_few([f"{tenant}: {len(ids)}" for tenant, ids in messages.items()])
    if len(messages) > SHOWN:
        return f"{shown} tenants"
    return f"{shown} message" + ("" if sum(map(len, messages.values())) == 1 else "s")


def first_few(parts: Sequence[str], between: str = ", ") -> str:
    """The first of `parts`, and how many there are beyond them."""
    more = len(parts) - SHOWN
    return between.join(parts[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def queue_depths(app: Celery, queues: Sequence[str] = QUEUES) -> dict[str, int]:
    """How many tasks wait in the broker, by queue, whatever their priorities."""
    with app.connection_for_write() as connection:
        return {queue: _waiting(connection, queue) for queue in queues}


def _waiting(connection: Connection, queue: str) -> int:
    # A channel of its own, for some brokers close one that asked for what is not there.
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            # Redis keeps no empty queue, so one that is not there is empty.
            return 0
