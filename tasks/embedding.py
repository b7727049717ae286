"""Embedding: what was posted, and what was left behind."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task

from db.queries.embeddings import CLAIM_PENDING, GIVE_BACK, RELEASE_CLAIM, WAITING
from memory.errors import EmbeddingError, EmbeddingRejectedError
from tasks.base import Task
from tasks.ending import cut_short, ending, is_late, undisturbed
from tasks.indexing import write_contexts
from tasks.outcome import Failure, Outcome
from tasks.resources import Resources
from tasks.sending import send_again, send_embedding
from tasks.storing import Claimed, embed_for_all

log = structlog.get_logger(__name__)

# A claim is sized to be embedded within seconds: so many messages, so many characters.
CLAIM_MESSAGES = 128
CLAIM_CHARACTERS = 60_000
# Of those that are embedded over the network, where a request may take seconds.
REMOTE_CLAIM_MESSAGES = 64
# A task that has worked this long leaves the rest of its messages to another.
TASK_ENOUGH_SECONDS = 20
RETRY_DELAY_SECONDS = 30


@shared_task(name="embed_messages", base=Task, bind=True)
def embed_messages(task: Task, messages: dict[str, list[str]], alone: bool = False) -> str:
    """Embed the pending ones of `messages` (tenant to ids), with others that wait beside them.

    Raises `NotEmbeddedError` at the end when it failed for some; their rows say so, too.
    """
    task.resources.check_model()
    outcome = Outcome()
    enough = time.monotonic() + TASK_ENOUGH_SECONDS
    for tenant_id, named in messages.items():
        left = [UUID(message_id) for message_id in named]
        while left and time.monotonic() < enough and not ending():
            if obstacle := task.resources.obstacle(tried=alone):
                # Not sent again: they wait for the sweep.
                outcome.note(tenant_id, len(left), Failure(obstacle, "left pending"))
                return outcome.told()
            most = claim_size(task.resources)
            claimed = claim(task.resources, tenant_id, left[:most], alone)
            try:
                failure = embed_claimed(task.resources, tenant_id, claimed)
            finally:
                # What was written before an interrupt stays written.
                task.resources.answers.changed(tenant_id)
            outcome.note(tenant_id, len(claimed), failure)
            if task.resources.growth.add(tenant_id, len(claimed)):
                send_again(task.app, "refresh_statistics", tenant_id, about=tenant_id)
            done = {message.id for message in claimed} or set(left[:most])
            left = [message_id for message_id in left if message_id not in done]
        if left:
            send_embedding(task.app, {tenant_id: left}, alone=alone)
    return outcome.told()


def claim(resources: Resources, tenant_id: str, ids: Sequence[UUID], alone: bool) -> list[Claimed]:
    """Claim the pending ones of `ids`, with others of the tenant up to a full batch.

    `alone` claims one of them, which may have failed before, and nothing beside it.
    """
    most = claim_size(resources)
    with resources.engine.begin() as connection:
        if not alone and len(ids) < most:
            waiting = connection.execute(WAITING, {"tenant_id": tenant_id, "most": most})
            ids = list(dict.fromkeys([*ids, *waiting.scalars()]))[:most]
        rows = connection.execute(
            CLAIM_PENDING,
            {
                "tenant_id": tenant_id,
                "ids": ids,
                "alone": alone,
                "lease": resources.settings.embedding_lease_seconds,
                "max_attempts": resources.settings.embedding_max_attempts,
                "budget": 1 if alone else CLAIM_CHARACTERS,
            },
        )
        return [Claimed(*row) for row in rows]


def claim_size(resources: Resources) -> int:
    """How many messages are claimed at once."""
    return REMOTE_CLAIM_MESSAGES if resources.models.remote else CLAIM_MESSAGES


def embed_claimed(
    resources: Resources, tenant_id: str, claimed: Sequence[Claimed]
) -> Failure | None:
    """Store the vectors of `claimed`, or free each for a later try with the reason noted.

    What is interrupted because the worker ends is freed at once, and no try.
    """
    if not claimed:
        return None
    try:
        return embed_or_release(resources, tenant_id, claimed)
    except Exception as error:
        if cut_short(error):
            with undisturbed():
                give_back(resources, tenant_id, claimed)
        raise


def embed_or_release(
    resources: Resources, tenant_id: str, claimed: Sequence[Claimed]
) -> Failure | None:
    """The same; what interrupts it is raised."""
    started = time.perf_counter()
    ids = [message.id for message in claimed]
    indexed = resources.beside(write_contexts, resources, tenant_id, ids)
    try:
        embed_for_all(resources, tenant_id, claimed, indexed)
    except EmbeddingRejectedError as error:
        # One of them is at fault; alone, each shows whether it is the one.
        hopeless = len(claimed) == 1
        return release(resources, tenant_id, claimed, error, hopeless=hopeless, delay=0)
    except Exception as error:
        if cut_short(error):
            raise
        failure = release(resources, tenant_id, claimed, error)
        if is_late(error):
            # The task is over, and has a few seconds to say so.
            raise
        return failure
    took = time.perf_counter() - started
    resources.metrics.note_embedded([message.waited + took for message in claimed])
    milliseconds = round(took * 1000)
    log.info("embedded", tenant_id=tenant_id, messages=len(claimed), milliseconds=milliseconds)
    return None


def give_back(resources: Resources, tenant_id: str, claimed: Sequence[Claimed]) -> None:
    """Free `claimed` at once, as if it had never been claimed: no fault of theirs was the end."""
    with resources.engine.begin() as connection:
        connection.execute(GIVE_BACK, {"tenant_id": tenant_id, **named(claimed)})


def named(claimed: Sequence[Claimed]) -> dict[str, list[Any]]:
    """The parameters that name `claimed` as they were read."""
    return {
        "ids": [message.id for message in claimed],
        "versions": [message.version for message in claimed],
    }


def release(
    resources: Resources,
    tenant_id: str,
    claimed: Sequence[Claimed],
    error: Exception,
    *,
    hopeless: bool = False,
    delay: float = RETRY_DELAY_SECONDS,
) -> Failure:
    """Free `claimed` for a later try, or fail them when they are `hopeless` or out of tries."""
    reason = str(error) if isinstance(error, EmbeddingError) else type(error).__name__
    with resources.engine.begin() as connection:
        released = connection.scalars(
            RELEASE_CLAIM,
            {
                "tenant_id": tenant_id,
                **named(claimed),
                # A row may keep what a provider says of its own words; a log may not.
                "error": error.in_full if isinstance(error, EmbeddingError) else reason,
                "hopeless": hopeless,
                "delay": delay,
                "max_attempts": resources.settings.embedding_max_attempts,
            },
        ).all()
    given_up = released.count("failed")
    resources.metrics.not_embedded.labels("given_up").inc(given_up)
    resources.metrics.not_embedded.labels("put_off").inc(len(released) - given_up)
    log.warning("embedding_failed", tenant_id=tenant_id, messages=len(claimed), reason=reason)
    return Failure(reason, "given up" if given_up else "put off")
