"""The sweep: what was committed and never embedded is sent again."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import Row

from db.queries.embeddings import FAIL_EXHAUSTED, OVERDUE
from memory.queues import EMBEDDINGS
from tasks.base import Task
from tasks.embedding import CLAIM_MESSAGES
from tasks.resources import BEFORE_ALL, Place, Resources
from tasks.sending import queue_depths, send_embedding

log = structlog.get_logger(__name__)

# A message younger than this is still on its way through the broker.
SWEEP_GRACE_SECONDS = 10
SWEEP_MESSAGES = 5_000
# With more tasks than this in the queue the workers have enough to do.
SWEEP_QUEUE_DEPTH = 200
# So many tasks are sent whatever waits, or what was left behind would wait for as long as others
# post faster than the workers embed.
SWEEP_LEAST = 20
# A task with messages that failed before, each of which is claimed alone.
TRIED_MESSAGES = 32


class Lot(NamedTuple):
    """What one task is to embed: messages of a tenant that were never tried, or that were."""

    tenant_id: str
    ids: list[UUID]
    tried: bool

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another."""
        return len(self.ids) == (TRIED_MESSAGES if self.tried else CLAIM_MESSAGES)

    @property
    def claims(self) -> list[list[UUID]]:
        """The ids of each claim that it takes."""
        return [[id_] for id_ in self.ids] if self.tried else [self.ids]


@shared_task(name="sweep_pending", base=Task, bind=True)
def sweep_pending(task: Task) -> str:
    """Send what was committed and not embedded: lost by the broker, or by a worker that died.

    It goes on where the last one ended, for what that has sent may be waiting for its turn.
    """
    overdue = overdue_messages(task.resources, SWEEP_GRACE_SECONDS, task.resources.swept)
    room = SWEEP_QUEUE_DEPTH - queue_depths(task.app, [EMBEDDINGS])[EMBEDDINGS]
    lots, task.resources.swept = sweep_lots(overdue, max(room, SWEEP_LEAST))
    for lot in lots:
        send_embedding(task.app, {lot.tenant_id: lot.ids}, alone=lot.tried, origins=())
    if overdue:
        log.info("swept", overdue=len(overdue), tasks=len(lots))
    return f"{len(overdue)} overdue, {len(lots)} tasks sent"


def overdue_messages(
    resources: Resources, grace: float, behind: Place = BEFORE_ALL
) -> Sequence[Row[Any]]:
    """What is pending, in nobody's hands and older than `grace` seconds; the hopeless end here.

    At most 5,000, by tenant and id: those `behind` a place, then those before it.
    """
    attempts = {"max_attempts": resources.settings.embedding_max_attempts}
    scope = {**attempts, "grace": grace, "most": SWEEP_MESSAGES}
    with resources.engine.begin() as connection:
        failed = connection.execute(FAIL_EXHAUSTED, attempts).all()
        overdue = list(connection.execute(OVERDUE, {**scope, **behind._asdict()}))
        if behind != BEFORE_ALL and len(overdue) < SWEEP_MESSAGES:
            seen = {row.id for row in overdue}
            first = connection.execute(OVERDUE, {**scope, **BEFORE_ALL._asdict()})
            overdue += [row for row in first if row.id not in seen]
    resources.metrics.not_embedded.labels("given_up").inc(len(failed))
    for row in failed:
        log.error("embedding_given_up", tenant_id=row.tenant_id, message_id=str(row.id))
    return overdue[:SWEEP_MESSAGES]


def sweep_lots(overdue: Sequence[Row[Any]], most: int) -> tuple[list[Lot], Place]:
    """At most so many lots of `overdue`, in its order, and the place of the last row in them."""
    lots: list[Lot] = []
    growing: dict[tuple[str, bool], Lot] = {}
    place = BEFORE_ALL
    for row in overdue:
        key = row.tenant_id, row.embedding_attempts > 0
        lot = growing.get(key)
        if lot is None or lot.is_full:
            if len(lots) == most:
                break
            lot = growing[key] = Lot(row.tenant_id, [], key[1])
            lots.append(lot)
        lot.ids.append(row.id)
        place = Place(row.tenant_id, row.id)
    return lots, place
