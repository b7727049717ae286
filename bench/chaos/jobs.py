"""A caller that starts jobs, of all kinds, and looks at what they come to."""

import asyncio
import gzip
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from bench.chaos.asking import Asker
from bench.chaos.callers import FOUND
from bench.chaos.ledger import AGEING, TENANTS, StartedJob
from bench.connection import Answer

# Begun, done within the request, or refused because one like it is at work.
BEGUN = frozenset({200, 202, 409})
ENDED = frozenset({"completed", "failed", "cancelled"})
CANCELLED = frozenset({200, 409})
POLL_SECONDS, PAUSE_SECONDS = 0.5, 1.0
# A job whose worker was killed goes on within a minute and a half; that is seen to in the end.
WAIT_SECONDS = 40.0
MODELS = (
    {"provider": "openai", "model": "text-embedding-3-large", "dimensions": 96},
    {"provider": "openai", "model": "text-embedding-3-small", "dimensions": 64},
)
MOST_MESSAGES = 50

Errand = Callable[[Asker], Awaitable[None]]


async def work_for_ever(asker: Asker, errands: tuple[Errand, ...]) -> None:
    """One errand after the other, drawn by chance."""
    while True:
        await asker.numbers.choice(errands)(asker)
        await asyncio.sleep(PAUSE_SECONDS)


async def have_retention_work(asker: Asker) -> None:
    """Set how many messages the tenant `AGEING` keeps."""
    target = f"/v1/admin/tenants/{AGEING}/policy"
    policy = {"max_messages": MOST_MESSAGES}
    await asker.insist("PUT", target, policy, expected=FOUND)


async def export_and_import(asker: Asker) -> None:
    """Export a tenant, look into the file, and import it, which is to change nothing."""
    tenant_id = asker.numbers.choice(TENANTS)
    before = {each.id for each in asker.ledger.all_said(tenant_id)}
    target = f"/v1/admin/tenants/{tenant_id}/export"
    ended = await begin(asker, target, {"vectors": asker.numbers.random() < 0.5}, "export")
    if ended != "completed":
        return
    answer = await asker.insist("GET", target, expected=FOUND)
    written = await asyncio.to_thread(ids_in, answer.body)
    if missing := before - written.keys():
        asker.ledger.note_wrong(f"an export of {tenant_id} lacks {sorted(missing)[:3]}")
    if twice := [id_ for id_, times in written.items() if times > 1]:
        asker.ledger.note_wrong(f"an export of {tenant_id} has twice {twice[:3]}")
    if asker.numbers.random() < 0.5:
        packed = {"content-type": "application/octet-stream"}
        target = f"/v1/admin/tenants/{tenant_id}/import"
        await begin(asker, target, answer.body, "import", packed)


def ids_in(file: bytes) -> Counter[str]:
    """The ids of the messages in an exported file."""
    lines = [msgspec.json.decode(line) for line in gzip.decompress(file).splitlines()]
    return Counter(line["id"] for line in lines if "content" in line)


async def rescore(asker: Asker) -> None:
    """Rescore a tenant."""
    body = {"tenant_id": asker.numbers.choice(TENANTS)}
    await begin(asker, "/v1/admin/importance/run", body, "rescore")


async def retain(asker: Asker) -> None:
    """Have retention run, for the one tenant that has more than it keeps."""
    body = {"tenant_id": AGEING, "wait": False}
    await begin(asker, "/v1/admin/retention/run", body, "retention")


async def try_failed_again(asker: Asker) -> None:
    """Have what could not be embedded tried again."""
    body = {"tenant_id": asker.numbers.choice(TENANTS)}
    await asker.ask("POST", "/v1/admin/embeddings/retry", body, expected=FOUND)


async def cancel_and_retry(asker: Asker) -> None:
    """Begin a rescoring, cancel it, and have it go on after all."""
    body = {"tenant_id": asker.numbers.choice(TENANTS)}
    answer = await asker.ask("POST", "/v1/admin/importance/run", body, expected=BEGUN)
    job = noted(asker, answer, "rescore")
    if job is None:
        return
    job.cancelled = True
    await asker.ask("POST", f"/v1/jobs/{job.id}/cancel", expected=CANCELLED)
    if asker.numbers.random() < 0.5:
        await asker.ask("POST", f"/v1/jobs/{job.id}/retry", expected=BEGUN)


async def move(asker: Asker) -> None:
    """Move the store to another model."""
    body = asker.numbers.choice(MODELS)
    await begin(asker, "/v1/admin/embeddings/migrate", body, "embeddings_migrate")
    await asyncio.sleep(WAIT_SECONDS)


async def begin(
    asker: Asker, target: str, body: object, kind: str, headers: dict[str, str] | None = None
) -> str:
    """Begin a job and wait for a while; its state then, empty when it has not begun.

    Who asks while one like it is at work gets that, which is "another's".
    """
    asked_at = datetime.now(UTC)
    answer = await asker.ask("POST", target, body, expected=BEGUN, headers=headers)
    job = noted(asker, answer, kind)
    if job is None:
        return ""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        found = await asker.insist("GET", f"/v1/jobs/{job.id}", expected=FOUND)
        shown = msgspec.json.decode(found.body)
        if datetime.fromisoformat(shown["created_at"]) < asked_at:
            return "another's"
        if shown["state"] in ENDED:
            return str(shown["state"])
        await asyncio.sleep(POLL_SECONDS)
    return "slow"


def noted(asker: Asker, answer: Answer | None, kind: str) -> StartedJob | None:
    """The job that `answer` acknowledges, None when it does not."""
    if answer is None or answer.status == 409:
        return None
    said = msgspec.json.decode(answer.body)
    job = StartedJob(said.get("id") or said["job_id"], kind, said.get("tenant_id") or "")
    asker.ledger.acknowledge_job(job)
    return job


ERRANDS: tuple[Errand, ...] = (
    export_and_import,
    rescore,
    retain,
    retain,
    try_failed_again,
    cancel_and_retry,
)
MOVES: tuple[Errand, ...] = (move,)
