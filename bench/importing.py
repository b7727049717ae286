"""Posting conversations, and waiting until the last of their messages has its vector."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.progress import Progress

from bench.concurrency import together
from bench.conversations import Conversation, Turn
from bench.rest import RefusedError, Service, ServiceError

BATCH_MESSAGES = 100
POLL_SECONDS = 0.2
POLLERS = 4
# So long without any message embedded, and the worker is taken for dead.
STALL_SECONDS = 600


@dataclass
class Imported:
    """What a tenant holds: the turn of each message id, and how many batches it already had."""

    turn_of: dict[str, str] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)
    replayed: int = 0


async def import_conversations(
    service: Service, conversations: Mapping[str, Conversation], progress: Progress
) -> dict[str, Imported]:
    """Post each conversation as the tenant it stands under, in order; gives what each holds."""
    turns = sum(len(each.turns) for each in conversations.values())
    bar = progress.add_task("posting", total=turns)
    held = {tenant: Imported() for tenant in conversations}
    # One batch at a time: it is large enough to keep the service busy, and turns keep their order.
    for tenant, conversation in conversations.items():
        for key, batch in batches(conversation.turns):
            await _post_batch(service, tenant, key, batch, held[tenant])
            progress.advance(bar, len(batch))
    return held


def batches(turns: Sequence[Turn]) -> Iterator[tuple[str, Sequence[Turn]]]:
    """The turns by batch, each with its idempotency key.

    The key names the places and not the content, so that another data set under the same tenant
    is refused, rather than mixed with what is there.
    """
    for start in range(0, len(turns), BATCH_MESSAGES):
        batch = turns[start : start + BATCH_MESSAGES]
        yield f"turns-{start}-{start + len(batch)}", batch


async def _post_batch(
    service: Service, tenant: str, key: str, batch: Sequence[Turn], held: Imported
) -> None:
    messages = [
        {
            "tenant_id": tenant,
            "conversation_id": turn.conversation_id,
            "role": turn.role,
            "content": turn.content,
            "created_at": turn.created_at,
        }
        for turn in batch
    ]
    try:
        stored, replayed = await service.post("/v1/messages/batch", {"messages": messages}, key)
    except RefusedError as error:
        hint = " (other messages are there: take another --tenant-prefix)"
        raise ServiceError(
            f"tenant {tenant}: {error}{hint if error.status in (410, 422) else ''}"
        ) from None
    held.replayed += replayed
    for turn, item in zip(batch, stored["items"], strict=True):
        held.turn_of[item["id"]] = turn.id
        if item["embedding_status"] == "pending":
            held.pending.append(item["id"])


async def wait_until_embedded(
    service: Service, held: Mapping[str, Imported], progress: Progress
) -> int:
    """Wait for the vector of every message that lacks one; gives how many failed for good.

    Raises `ServiceError` when nothing was embedded for `STALL_SECONDS`.
    """
    waiting = [(tenant, each) for tenant, one in held.items() for each in one.pending]
    bar = progress.add_task("embedding", total=len(waiting))
    left = iter(waiting)
    statuses: Counter[str] = Counter()
    latest = time.monotonic()

    async def poll() -> None:
        nonlocal latest
        for tenant, message_id in left:
            while (status := await _status(service, tenant, message_id)) == "pending":
                if time.monotonic() - latest > STALL_SECONDS:
                    raise ServiceError(
                        f"nothing was embedded for {STALL_SECONDS} s: is a worker up?"
                    )
                await asyncio.sleep(POLL_SECONDS)
            latest = time.monotonic()
            statuses[status] += 1
            progress.advance(bar)

    # What came first is embedded first, so most are done when their turn comes: one GET each.
    await together(poll() for _ in range(POLLERS))
    return statuses["failed"]


async def _status(service: Service, tenant: str, message_id: str) -> str:
    found = await service.get(f"/v1/messages/{message_id}", {"tenant_id": tenant})
    return str(found["embedding_status"])
