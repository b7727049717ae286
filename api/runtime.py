"""The running parts of one API process, and whether they can serve."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog
from litestar.di import NamedDependency
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.ingest import Ingest
from api.metrics import Metrics
from api.problems import UnavailableError
from db.engine import api_engine
from db.migrating import register_model
from memory.embedding.protocol import Embedder
from memory.embedding.select import create_embedder
from memory.errors import EmbeddingUnavailableError, MemoryLayerError, SchemaOutdatedError
from memory.settings import Settings
from tasks.publisher import Publisher

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
STOP_SECONDS = 10
REDIS_SECONDS = 0.5


class Model:
    """The embedder and the id under which its vectors lie in the store."""

    def __init__(self, embedder: Embedder, model_id: int) -> None:
        self.embedder = embedder
        self.id = model_id


class Runtime:
    """What the handlers work with; opened when the process starts and closed when it ends."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.started = time.monotonic()
        self.engine: AsyncEngine = api_engine(settings)
        self.ingest = Ingest(self.engine)
        self.publisher = (
            Publisher(settings, metrics.publish_dropped.inc) if settings.async_embeddings else None
        )
        self.redis: Redis | None = (
            Redis.from_url(
                settings.redis_url,
                socket_timeout=REDIS_SECONDS,
                socket_connect_timeout=REDIS_SECONDS,
            )
            if settings.async_embeddings
            else None
        )
        self.embedder: Embedder | None = None
        self.probe: asyncio.Task[bool] | None = None
        self._model: Model | None = None
        self.obstacle = "The store has not been checked yet."

    @property
    def model(self) -> Model:
        """The model to embed with; raises `UnavailableError` until the store is checked."""
        if self._model is None:
            raise UnavailableError(self.obstacle)
        return self._model

    @property
    def ready(self) -> bool:
        """Whether schema and model were found to fit."""
        return self._model is not None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the parts. Raises `MemoryLayerError` when the store must not be served as it is."""
        checking = None
        try:
            await self.check_store()
        except (SchemaOutdatedError, EmbeddingUnavailableError, SQLAlchemyError, OSError) as error:
            self._note(error)
            checking = asyncio.create_task(self._check_store_until_it_fits())
        await self.ingest.start()
        if self.publisher:
            await self.publisher.start()
        try:
            yield
        finally:
            if checking:
                checking.cancel()
            await self._stop()

    async def check_store(self) -> None:
        """Load the model, and see that the store is of it and of this schema."""
        if self.embedder is None:
            self.embedder = await asyncio.to_thread(self._load_embedder)
        model_id = await asyncio.to_thread(
            register_model,
            self.settings.database_url,
            self.embedder.model,
            self.embedder.dimensions,
        )
        self._model = Model(self.embedder, model_id)

    def _load_embedder(self) -> Embedder:
        embedder = create_embedder(self.settings)
        if self.settings.embedding_provider in ("onnx", "mock"):
            embedder.embed(["warm"])
        return embedder

    async def _check_store_until_it_fits(self) -> None:
        while not self.ready:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self.check_store()
            except Exception as error:
                self._note(error)

    def _note(self, error: Exception) -> None:
        known = isinstance(error, MemoryLayerError)
        obstacle = str(error) if known else "The database does not answer now."
        if obstacle != self.obstacle:
            log.warning("not_ready", reason=obstacle, error=type(error).__name__)
        self.obstacle = obstacle

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.ingest.stop()
                if self.publisher:
                    await self.publisher.stop()
        if self.redis:
            await self.redis.aclose()
        await self.engine.dispose()


NamedRuntime = NamedDependency[Runtime]
