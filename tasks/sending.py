"""Sending the embedding task, by those who post and by those who sweep."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from celery import Celery

from tasks.configuration import EMBEDDINGS


def send_embedding(
    app: Celery,
    messages: Mapping[str, Sequence[UUID]],
    *,
    alone: bool = False,
    request_ids: Sequence[str] = (),
) -> None:
    """Ask the workers to embed `messages` (tenant to ids).

    `alone` names one message that failed before. Raises kombu's `OperationalError` when the
    broker cannot be reached; there is no second try, for the sweep is one.
    """
    app.send_task(
        "embed_messages",
        kwargs={
            "messages": {tenant: [str(id_) for id_ in ids] for tenant, ids in messages.items()},
            "alone": alone,
        },
        # What Flower shows: whose and how many, not a wall of ids.
        kwargsrepr=", ".join(f"{tenant}: {len(ids)}" for tenant, ids in messages.items()),
        headers={"request_ids": list(request_ids)},
        retry=False,
    )


def queue_depth(app: Celery) -> int:
    """How many embedding tasks wait in the broker."""
    with app.connection_for_write() as connection:
        try:
            declared = connection.default_channel.queue_declare(EMBEDDINGS, passive=True)
        except connection.channel_errors:
            # Redis keeps no empty queue, so one that is not there is empty.
            return 0
        return int(declared.message_count)
