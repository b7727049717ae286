"""The running parts of one API process, and whether they can serve."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import structlog
from litestar.di import NamedDependency
from redis.asyncio import Redis
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cache import Cache
from api.ingest import Ingest
from api.metrics import Metrics
from api.problems import UnavailableError
from api.query_vectors import QueryVectors
from api.search_answers import SearchAnswers
from api.tenants import Tenants
from api.upkeep import Upkeep
from db.engine import api_engine
from db.migrating import register_model
from memory.embedding.protocol import Embedder
from memory.embedding.select import create_embedder
from memory.errors import (
    EmbeddingSetupError,
    EmbeddingUnavailableError,
    MemoryLayerError,
    SchemaOutdatedError,
)
from memory.rerank.protocol import Reranker, RerankerName
from memory.rerank.select import create_reranker
from memory.settings import Settings
from tasks.publisher import Publisher
from tasks.resources import Resources

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
STOP_SECONDS = 10
REDIS_SECONDS = 0.5
LOCAL_PROVIDERS = frozenset({"onnx", "sentence_transformer", "mock"})
# A remote provider takes so many queries' calls at once; a local model is no faster with more.
REMOTE_CALLS = 4


class Model:
    """The embedder, the id under which its vectors lie in the store, and what reads with it."""

    def __init__(self, embedder: Embedder, model_id: int, vectors: QueryVectors) -> None:
        self.embedder = embedder
        self.id = model_id
        self.vectors = vectors
        self._rerankers: dict[RerankerName, Reranker | None] = {}
        self._loading = threading.Lock()

    def reranker(self, name: RerankerName, model_name: str) -> Reranker | None:
        """The reranker called `name`, loaded when first asked for; blocking.

        Raises `EmbeddingSetupError` when this deployment has none of that name.
        """
        with self._loading:
            if name not in self._rerankers:
                own_model = model_name if name == "cross_encoder" else ""
                self._rerankers[name] = create_reranker(name, own_model, self.embedder)
            return self._rerankers[name]


class Runtime:
    """What the handlers work with; opened when the process starts and closed when it ends."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.started = time.monotonic()
        self.engine: AsyncEngine = api_engine(settings)
        # For the work of tasks that is done here, in threads.
        self.backstage = Resources(settings)
        self.ingest = Ingest(self.engine)
        self.publisher = (
            Publisher(settings, metrics.publish_dropped.inc) if settings.async_embeddings else None
        )
        self.upkeep = None if settings.async_embeddings else Upkeep(self.backstage)
        self.redis: Redis | None = (
            Redis.from_url(
                settings.redis_url,
                socket_timeout=REDIS_SECONDS,
                socket_connect_timeout=REDIS_SECONDS,
            )
            if settings.async_embeddings
            else None
        )
        cache_url = settings.cache_url or (settings.redis_url if self.redis else "")
        self.cache = Cache.connect(cache_url) if cache_url else None
        self.answers = SearchAnswers(self.cache, metrics)
        self.tenants = Tenants(self.engine, settings)
        self.embedder: Embedder | None = None
        self.probe: asyncio.Task[bool] | None = None
        self._model: Model | None = None
        self._later: set[asyncio.Task[None]] = set()
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
        if self.upkeep:
            self.upkeep.start()
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
        calls = 1 if self.settings.embedding_provider in LOCAL_PROVIDERS else REMOTE_CALLS
        vectors = QueryVectors(self.embedder, self.cache, self.metrics, calls)
        model = Model(self.embedder, model_id, vectors)
        await asyncio.to_thread(
            model.reranker, self.settings.reranker, self.settings.reranker_model_name
        )
        await vectors.start()
        self.backstage.use(self.embedder, model_id)
        self._model = model

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
                await asyncio.gather(*self._later, return_exceptions=True)
                if self.publisher:
                    await self.publisher.stop()
                if self.upkeep:
                    await self.upkeep.stop()
                if self._model:
                    await self._model.vectors.stop()
        if self.cache:
            await self.cache.aclose()
        if self.redis:
            await self.redis.aclose()
        await self.engine.dispose()
        await asyncio.to_thread(self.backstage.close)


NamedRuntime = NamedDependency[Runtime]
