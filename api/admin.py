"""`/v1/admin`: is it alive, is it well, may it get traffic."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Literal

import msgspec
import structlog
from litestar import Response, get

from api.runtime import NamedRuntime, Runtime
from memory.embedding.breaker import CLOSED
from memory.embedding.protocol import Embedder
from memory.embedding.remote import RemoteEmbedder
from memory.version import VERSION

Check = Literal["up", "down", "not_used", "not_checked"]

RETRY_SECONDS = "1"

log = structlog.get_logger(__name__)


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is. `latency_ms` is the database's, null when it is down."""

    status: Literal["ok", "down"]
    database: Check
    timestamp: datetime
    latency_ms: float | None
    uptime_seconds: float
    environment: str
    version: str
    last_retention_run: datetime | None = None


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process may get traffic, and why not."""

    status: Literal["ready", "degraded", "unavailable"]
    database: Check
    redis: Check
    broker: Check
    embedding: Check
    reasons: list[str]


@get("/v1/admin/live", tags=["admin"])
async def live() -> Live:
    """Touches nothing: a process that answers is alive."""
    return Live()


@get("/v1/admin/health", tags=["admin"])
async def health(runtime: NamedRuntime) -> Response[Health]:
    """The state of the service; 503 when its database is down."""
    latency = await runtime.probes.latency_ms()
    last_run = None if latency is None else await runtime.probes.last_retention_run()
    found = Health(
        status="down" if latency is None else "ok",
        database="down" if latency is None else "up",
        timestamp=datetime.now(UTC),
        latency_ms=latency,
        uptime_seconds=round(time.monotonic() - runtime.started, 3),
        environment=runtime.settings.environment,
        version=VERSION,
        last_retention_run=last_run,
    )
    return Response(found, status_code=503 if latency is None else 200)


@get("/v1/admin/readiness", tags=["admin"])
async def readiness(runtime: NamedRuntime) -> Response[Readiness]:
    """503 only when requests would fail; what merely makes them worse is `degraded`."""
    latency, redis, broker, embedding = await asyncio.gather(
        runtime.probes.latency_ms(),
        redis_check(runtime),
        broker_check(runtime),
        embedding_check(runtime),
    )
    found = judge(runtime, "down" if latency is None else "up", redis, broker, embedding)
    if found.status != "unavailable":
        return Response(found)
    return Response(found, status_code=503, headers={"Retry-After": RETRY_SECONDS})


def judge(
    runtime: Runtime, database: Check, redis: Check, broker: Check, embedding: Check
) -> Readiness:
    """What the checks mean for traffic."""
    redis_counts = runtime.settings.require_redis_in_production
    fatal = ["The process is about to stop."] if runtime.leaving else []
    if database == "down":
        fatal.append("The database is down.")
    if database == "up" and not runtime.ready:
        fatal.append(runtime.obstacle)
    faults = silent_servers(runtime, redis, broker)
    if redis_counts:
        fatal, faults = fatal + faults, []
    if embedding == "down":
        faults.append(f"{obstacle(runtime) or 'The embedding provider does not answer'}.")
    if runtime.active.behind:
        faults.append(runtime.active.behind)
    return Readiness(
        status="unavailable" if fatal else "degraded" if faults else "ready",
        database=database,
        redis=redis,
        broker=broker,
        embedding=embedding,
        reasons=fatal + faults,
    )


async def redis_check(runtime: Runtime) -> Check:
    """Whether Redis answers; it is not used when messages are embedded inline."""
    if runtime.redis is None:
        return "not_used"
    return "up" if await runtime.probes.redis() else "down"


async def broker_check(runtime: Runtime) -> Check:
    """Whether the broker answers, which is Redis where no other is set."""
    if runtime.redis is None:
        return "not_used"
    return "up" if await runtime.probes.broker() else "down"


def silent_servers(runtime: Runtime, redis: Check, broker: Check) -> list[str]:
    """What it means that Redis or the broker is down."""
    wait = "messages wait for the sweep to be embedded"
    if not runtime.probes.own_broker:
        return [f"Redis is down: {wait}."] if redis == "down" else []
    faults = [f"The broker is down: {wait}."] if broker == "down" else []
    if redis == "down":
        faults.append("Redis is down: beat sends nothing, and each process keeps its own limits.")
    return faults


async def embedding_check(runtime: Runtime) -> Check:
    """Whether the provider embeds a word in time, if the settings ask for that.

    One that was left alone is asked in any case, once its time is over: otherwise it would be so
    until the next search, in a process that has none.
    """
    embedder = runtime.embedder
    broken = isinstance(embedder, RemoteEmbedder) and embedder.breaker_state != CLOSED
    if not (broken or runtime.settings.health_embed_check_enabled):
        return "not_checked"
    if embedder is None or obstacle(runtime):
        return "down"
    # One at a time: a provider that hangs must not hold a thread for each that asks.
    if runtime.probe is None or runtime.probe.done():
        runtime.probe = asyncio.create_task(asyncio.to_thread(embeds, embedder))
    try:
        async with asyncio.timeout(runtime.settings.readiness_embed_timeout_seconds):
            return "up" if await asyncio.shield(runtime.probe) else "down"
    except TimeoutError:
        return "down"


def obstacle(runtime: Runtime) -> str:
    """Why the provider is left alone now; empty when it is not."""
    embedder = runtime.embedder
    return embedder.obstacle if isinstance(embedder, RemoteEmbedder) else ""


def embeds(embedder: Embedder) -> bool:
    """Whether the provider embeds a word, whatever it fails with."""
    try:
        embedder.embed(["ready"], "query")
    except Exception as error:
        log.warning("embedding_down", reason=type(error).__name__)
        return False
    return True
