"""The model that a process answers with: the store's active one, and the next when that changes."""

import asyncio
import threading
import time
from collections.abc import Mapping

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from api.cache import Cache
from api.metrics import Metrics
from api.query_vectors import QueryVectors
from db.queries.models import ACTIVE_ID
from memory.embedding.protocol import Embedder
from memory.embedding.recipes import StoredModel
from memory.embedding.remote import RemoteEmbedder
from memory.errors import EmbeddingSetupError, MemoryLayerError
from memory.rerank.protocol import Reranker, RerankerName
from memory.rerank.select import create_reranker
from memory.settings import Settings
from tasks.models import Models

log = structlog.get_logger(__name__)

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

    def with_rerankers(self, known: Mapping[RerankerName, Reranker | None]) -> None:
        """Use `known` ones, None for one to do without."""
        self._rerankers |= known

    def independent_rerankers(self) -> dict[RerankerName, Reranker | None]:
        """The rerankers that are loaded and read with a model of their own."""
        return {name: each for name, each in self._rerankers.items() if name == "cross_encoder"}


class ActiveModel:
    """The store's active model as this process has it, and the way to the next one.

    While the next one is loaded the one before answers; what it was asked is answered by it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: AsyncEngine,
        models: Models,
        cache: Cache | None,
        metrics: Metrics,
    ) -> None:
        self.current: Model | None = None
        self.behind = ""
        """Why the store's active model cannot be followed; empty when it is."""
        self._settings = settings
        self._engine = engine
        self._models = models
        self._cache = cache
        self._metrics = metrics
        self._retired: list[tuple[float, Model]] = []

    async def open(self) -> None:
        """Load the active model. Raises what `Models.active` does, and what the reranker lacks."""
        model = await self._load(await asyncio.to_thread(self._models.active))
        await asyncio.to_thread(
            model.reranker, self._settings.reranker, self._settings.reranker_model_name
        )
        await model.vectors.start()
        self.current = model

    async def follow(self) -> None:
        """Answer with the active model, if it is another by now; one that cannot be had is noted.

        Raises SQLAlchemy's errors when the database does not answer.
        """
        await self._end_retired()
        async with self._engine.connect() as connection:
            active_id = await connection.scalar(ACTIVE_ID)
        if self.current is None or active_id in (None, self.current.id):
            return
        try:
            await self._change(await asyncio.to_thread(self._models.active), self.current)
            self.behind = ""
        except Exception as error:
            known = isinstance(error, MemoryLayerError)
            why = str(error) if known else type(error).__name__
            reason = f"The store's new model cannot be used here: {why}"
            if reason != self.behind:
                log.error("model_not_followed", reason=reason)
            self.behind = reason

    async def stop(self) -> None:
        """End, once the models' calls have."""
        models = [model for _, model in self._retired] + ([self.current] if self.current else [])
        for model in models:
            await model.vectors.stop()

    async def _change(self, stored: StoredModel, before: Model) -> None:
        model = await self._load(stored)
        model.with_rerankers(before.independent_rerankers())
        name = self._settings.reranker
        try:
            await asyncio.to_thread(model.reranker, name, self._settings.reranker_model_name)
        except EmbeddingSetupError as error:
            # Better answers without it than no answers.
            log.warning("reranker_left_out", reason=str(error))
            model.with_rerankers({name: None})
        await model.vectors.start()
        self.current = model
        # Requests that began before are still with the old one.
        end = time.monotonic() + self._settings.request_timeout_seconds
        self._retired.append((end, before))
        log.info("model_followed", model=stored.name, model_id=stored.id)

    async def _load(self, stored: StoredModel) -> Model:
        embedder = await asyncio.to_thread(self._models.embedder, stored)
        remote = isinstance(embedder, RemoteEmbedder)
        if not remote:
            await asyncio.to_thread(embedder.embed, ["warm"])
        calls = REMOTE_CALLS if remote else 1
        vectors = QueryVectors(embedder, self._cache, self._metrics, calls)
        return Model(embedder, stored.id, vectors)

    async def _end_retired(self) -> None:
        now = time.monotonic()
        due = [model for end, model in self._retired if end <= now]
        self._retired = [(end, model) for end, model in self._retired if end > now]
        for model in due:
            await model.vectors.stop()
