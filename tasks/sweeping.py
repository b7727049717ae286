"""The sweep: what was committed and never embedded is sent again."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import Row

from db.queries.embeddings import FAIL_EXHAUSTED, OVERDUE
from memory.queues import EMBEDDINGS
from tasks.base import Task
from tasks.embedding import CLAIM_MESSAGES
from tasks.resources import Resources
from tasks.sending import queue_depths, send_embedding

log = structlog.get_logger(__name__)

# A message younger than this is still on its way through the broker.
SWEEP_GRACE_SECONDS = 10
SWEEP_MESSAGES = 5_000
# With more tasks than this in the queue the workers have enough to do.
SWEEP_QUEUE_DEPTH = 200


@shared_task(name="sweep_pending", base=Task, bind=True)
def sweep_pending(task: Task) -> str:
    """Send what was committed and not embedded: lost by the broker, or by a worker that died."""
    overdue = overdue_messages(task.resources, SWEEP_GRACE_SECONDS)
    room = max(0, SWEEP_QUEUE_DEPTH - queue_depths(task.app, [EMBEDDINGS])[EMBEDDINGS])
    lots = sweep_lots(overdue)[:room]
    for tenant_id, ids, alone in lots:
        send_embedding(task.app, {tenant_id: ids}, alone=alone, origins=())
    if overdue:
        log.info("swept", overdue=len(overdue), tasks=len(lots))
    return f"{len(overdue)} overdue, {len(lots)} tasks sent"


def overdue_messages(resources: Resources, grace: float) -> Sequence[Row[Any]]:
    """What is pending, in nobody's hands and older than `grace` seconds; the hopeless end here."""
    attempts = {"max_attempts": resources.settings.embedding_max_attempts}
    scope = {**attempts, "grace": grace, "most": SWEEP_MESSAGES}
    with resources.engine.begin() as connection:
        failed = connection.execute(FAIL_EXHAUSTED, attempts).all()
        overdue = connection.execute(OVERDUE, scope).all()
    resources.metrics.not_embedded.labels("given_up").inc(len(failed))
    for row in failed:
        log.error("embedding_given_up", tenant_id=row.tenant_id, message_id=str(row.id))
    return overdue


def sweep_lots(overdue: Sequence[Row[Any]]) -> list[tuple[str, list[UUID], bool]]:
    """Tasks for `overdue` rows, as (tenant, ids, alone): what failed before goes alone."""
    untried: dict[str, list[UUID]] = defaultdict(list)
    for row in overdue:
        if row.embedding_attempts == 0:
            untried[row.tenant_id].append(row.id)
    return [
        (tenant_id, ids[start : start + CLAIM_MESSAGES], False)
        for tenant_id, ids in untried.items()
        for start in range(0, len(ids), CLAIM_MESSAGES)
    ] + [(row.tenant_id, [row.id], True) for row in overdue if row.embedding_attempts > 0]
