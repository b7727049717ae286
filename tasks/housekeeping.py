"""Clearing away what has served its time."""

import structlog
from celery import shared_task

from db.queries.messages import PURGE_IDEMPOTENCY_KEYS
from tasks.base import Task
from tasks.resources import Resources
from tasks.sending import send_again

log = structlog.get_logger(__name__)

PURGE_KEYS = 10_000


@shared_task(name="purge_idempotency_keys", base=Task, bind=True)
def purge_idempotency_keys(task: Task) -> str:
    """Delete idempotency keys that are over a day old, slice by slice until none is left."""
    purged = purge_keys(task.resources)
    if purged == PURGE_KEYS:
        send_again(task.app, task.name)
    return f"{purged:,} purged"


def purge_keys(resources: Resources) -> int:
    """Delete a slice of them; how many there were."""
    with resources.engine.begin() as connection:
        purged = connection.execute(PURGE_IDEMPOTENCY_KEYS, {"most": PURGE_KEYS}).rowcount
    if purged:
        log.info("purged_idempotency_keys", keys=purged)
    return purged
