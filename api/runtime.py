"""The running parts of one API process, and whether they can serve."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog
from litestar.di import NamedDependency
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cache import Cache
from api.door import Door
from api.failures import Failures
from api.ingest import Ingest
from api.known_keys import KnownKeys
from api.limiter import Limiter
from api.metrics import Metrics
from api.models import ActiveModel, Model
from api.probes import Probes
from api.problems import UnavailableError
from api.reading import Reader
from api.replicas import Replicas
from api.search_answers import SearchAnswers
from api.still_there import still_there
from api.tenant_limits import TenantLimits
from api.tenants import Tenants
from api.upkeep import Upkeep
from api.uses import Uses
from api.watching import Watch
from db.engine import api_engine, side_engine
from db.reading import Reads
from memory.embedding.protocol import Embedder
from memory.errors import (
    EmbeddingSetupError,
    EmbeddingUnavailableError,
    MemoryLayerError,
    MigrationError,
    SchemaOutdatedError,
)
from memory.rerank.protocol import Reranker, RerankerName
from memory.settings import Settings
from tasks.publisher import Publisher
from tasks.redis_clients import async_redis_client, close
from tasks.resources import Resources

log = structlog.get_logger(__name__)

# At the start these are waited out.
MAY_PASS = (
    SchemaOutdatedError,
    MigrationError,
    EmbeddingUnavailableError,
    SQLAlchemyError,
    OSError,
)
RETRY_SECONDS = 1.0
POLL_SECONDS = 0.05
STOP_SECONDS = 10
DATABASE_AWAY = "The database does not answer now."
REDIS_SECONDS = 0.5
# Of their own for kept answers, for a check takes a millisecond and a search may take a second.
CHECKS = 2
# How often the store is asked which model is the active one.
FOLLOW_SECONDS = 2.0


class Runtime:
    """What the handlers work with; opened when the process starts and closed when it ends."""

    # Whether proxies are to send their requests elsewhere, for this process is to end.
    leaving = False
    # Why the store is not served.
    obstacle = "The store has not been checked yet."

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.started = time.monotonic()
        self.engine: AsyncEngine = api_engine(settings)
        # For probes and keys, which must be seen to however busy the other connections are.
        self.side_engine: AsyncEngine = side_engine(settings)
        # For the work of tasks that is done here, in threads.
        self.backstage = Resources(settings, metrics.work)
        self.keys = KnownKeys(self.side_engine)
        self.failures = Failures(self.side_engine)
        self.door = Door(settings, self.keys, self._why_not)
        self.limiter = Limiter(settings.redis_url if settings.async_embeddings else "", metrics)
        self.reader = Reader()
        self.reads = Reads(self.engine)
        self.checks = Reads(self.engine, CHECKS)
        self.still_there = still_there(self.checks.read)
        self.ingest = Ingest(self.engine)
        self.watch = Watch(self.engine)
        self.publisher = (
            Publisher(settings, metrics.publish_dropped.inc) if settings.async_embeddings else None
        )
        self.upkeep = None if settings.async_embeddings else Upkeep(self.backstage)
        timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        self.redis: Redis | None = (
            async_redis_client(settings.redis_url, **timeouts)
            if settings.async_embeddings
            else None
        )
        self.probes = Probes(self.side_engine, self.redis, self.publisher)
        cache_url = settings.cache_url or (settings.redis_url if self.redis else "")
        self.cache = Cache.connect(cache_url) if cache_url else None
        self.answers = SearchAnswers(self.cache, metrics)
        self.replicas = Replicas(settings, self.side_engine, metrics)
        self.tenants = Tenants(self.engine, settings)
        self.tenant_limits = TenantLimits(settings)
        self.uses = Uses(self.engine, self.tenants)
        self.active = ActiveModel(settings, self.engine, self.backstage.models, self.cache, metrics)
        self.probe: asyncio.Task[bool] | None = None
        self._later: set[asyncio.Task[None]] = set()

    @property
    def model(self) -> Model:
        """The model to embed with; raises `UnavailableError` until the store is checked."""
        if self.active.current is None:
            raise UnavailableError(self.obstacle)
        return self.active.current

    @property
    def ready(self) -> bool:
        """Whether schema and model were found to fit."""
        return self.active.current is not None

    @property
    def embedder(self) -> Embedder | None:
        """What the model embeds with; None until the store is checked."""
        return self.active.current.embedder if self.active.current else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the parts. Raises `MemoryLayerError` when the store must not be served as it is."""
        try:
            await self.active.open()
            await self.door.follow()
        except MAY_PASS as error:
            self._note(error)
        watching = [
            asyncio.create_task(self._watch_the_store()),
            asyncio.create_task(self._watch_the_door()),
        ]
        await self.ingest.start()
        self.uses.storing.start()
        self.keys.noting.start()
        self.failures.recording.start()
        self.replicas.start()
        if self.publisher:
            await self.publisher.start()
        if self.upkeep:
            self.upkeep.start()
        try:
            yield
        finally:
            for each in watching:
                each.cancel()
            await self._stop()

    async def until_ready(self) -> None:
        """Wait until the store can be served."""
        while not self.ready:  # noqa: ASYNC110 - another task looks now and then
            await asyncio.sleep(POLL_SECONDS)

    def turn_away(self) -> None:
        """From here on readiness says no; all is answered as before."""
        self.leaving = True

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` beside what comes next; at the end it is waited for."""
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def reranker(self, wanted: RerankerName | None) -> Reranker | None:
        """The reranker called `wanted`, None for the deployment's; loaded when first asked for.

        Raises `EmbeddingSetupError` when this deployment has none of that name.
        """
        name = wanted or self.settings.reranker
        if name == "none":
            return None
        configured = self.settings.reranker_model_name
        if name == "cross_encoder" and not (configured or self.settings.reranker == name):
            raise EmbeddingSetupError(
                "cross_encoder is not set up here: MEMORY_RERANKER_MODEL_NAME names no model"
            )
        return await asyncio.to_thread(self.model.reranker, name, configured)

    async def _watch_the_store(self) -> None:
        """Until it can be served, see whether it can by now; then follow its active model."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS if self.ready else RETRY_SECONDS)
            try:
                await (self.active.follow() if self.ready else self.active.open())
            except Exception as error:
                if not self.ready:
                    self._note(error)

    async def _watch_the_door(self) -> None:
        """See whether the store has its first key, also while a model is being loaded."""
        while self.door.open:
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self.door.follow()

    def _why_not(self) -> str:
        return DATABASE_AWAY if self.ready else self.obstacle

    def _note(self, error: Exception) -> None:
        known = isinstance(error, MemoryLayerError)
        obstacle = str(error) if known else DATABASE_AWAY
        if obstacle != self.obstacle:
            log.warning("not_ready", reason=obstacle, error=type(error).__name__)
        self.obstacle = obstacle

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.watch.stop()
                await self.ingest.stop()
                await asyncio.gather(*self._later, return_exceptions=True)
                if self.publisher:
                    await self.publisher.stop()
                if self.upkeep:
                    await self.upkeep.stop()
                await self.active.stop()
                await self.uses.storing.stop()
                await self.keys.noting.stop()
                await self.failures.recording.stop()
                await self.probes.stop()
                await self.replicas.stop()
        await self.limiter.aclose()
        if self.cache:
            await self.cache.aclose()
        if self.redis:
            await close(self.redis)
        await self.reads.aclose()
        await self.checks.aclose()
        await self.engine.dispose()
        await self.side_engine.dispose()
        await asyncio.to_thread(self.backstage.close)


NamedRuntime = NamedDependency[Runtime]
