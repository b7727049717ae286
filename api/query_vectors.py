"""The vectors of queries: kept for a while, and embedded together when many are asked at once."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from api.cache import Cache
from api.metrics import Metrics
from memory import tracing
from memory.embedding.batching import embed_queries
from memory.embedding.protocol import Embedder, Vectors
from memory.errors import EmbeddingRejectedError, EmbeddingUnavailableError
from memory.remembering import remember
from tasks.metrics import timed

CALL_QUERIES = 32
# Some 3 MB of vectors of 384 numbers. The queries themselves are not kept, only their digests.
KEPT_VECTORS = 2_000
REDIS_SECONDS = 600


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query whose vector is on its way."""

    query: str
    digest: str
    vector: asyncio.Future[Vectors]
    origin: tracing.Origin


class QueryVectors:
    """Vectors of queries: those of this process first, then Redis', then the model's.

    While the model works, the queries that come wait and are its next call together, so that a
    call is as large as the load makes it and a lone query waits for nothing.
    """

    def __init__(
        self, embedder: Embedder, cache: Cache | None, metrics: Metrics, calls: int = 1
    ) -> None:
        """With `calls` to the model at once: 1 for a local one, which is no faster with more.

        The embedder's dimensions must be known, or this would ask a remote provider.
        """
        self._embedder = embedder
        self._cache = cache
        self._requests = metrics.cache_requests
        self._seconds = metrics.work.embedding_seconds
        self._calls = calls
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="query-vectors")
        self._prefix = f"query:{embedder.model}:{embedder.dimensions}:"
        # Those on their way too: who asks for one of them waits for it with the first.
        self._known: OrderedDict[str, asyncio.Future[Vectors]] = OrderedDict()
        self._waiting: asyncio.Queue[Asked] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to embed."""
        for _ in range(self._calls):
            self._spawn(self._embed_all())

    async def stop(self) -> None:
        """End, once the model's calls have; who still waits gets `EmbeddingUnavailableError`."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for vector in self._known.values():
            settle(vector, EmbeddingUnavailableError("The service is stopping."))
        await asyncio.to_thread(self._threads.shutdown)

    async def get(self, queries: Sequence[str], tenant_id: str) -> list[Vectors]:
        """The unit vector of each query, shape (dimensions,), not to be written to.

        What a tenant has asked is kept for that tenant: that it is there tells no other.

        A caller that is cancelled cancels no embedding. Raises what the embedder raises.
        """
        new: list[Asked] = []
        vectors = [self._vector(query, tenant_id, new) for query in queries]
        if new:
            # As a task of its own, for others may have come to wait when this caller goes.
            self._spawn(self._find(new))
        return [await asyncio.shield(vector) for vector in vectors]

    def _vector(self, query: str, tenant_id: str, new: list[Asked]) -> asyncio.Future[Vectors]:
        text = query.encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=20, key=tenant_id.encode()).hexdigest()
        vector = self._known.get(digest)
        if vector is None:
            vector = asyncio.get_running_loop().create_future()
            new.append(Asked(query, digest, vector, tracing.here()))
            remember(self._known, digest, vector, KEPT_VECTORS)
        else:
            self._known.move_to_end(digest)
            self._count("process")
        return vector

    async def _find(self, new: list[Asked]) -> None:
        try:
            await self._find_or_queue(new)
        except Exception as error:
            # Whatever it is, or those who wait would wait for ever.
            self._fail(new, error)

    async def _find_or_queue(self, new: list[Asked]) -> None:
        keys = [self._prefix + asked.digest for asked in new]
        values = await self._cache.get_many(keys) if self._cache else [None] * len(new)
        for asked, value in zip(new, values, strict=True):
            vector = vector_from_bytes(value, self._embedder.dimensions)
            self._count("miss" if vector is None else "redis")
            if vector is None:
                self._waiting.put_nowait(asked)
            else:
                settle(asked.vector, vector)

    async def _embed_all(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < CALL_QUERIES and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            await self._embed(batch)

    async def _embed(self, batch: list[Asked]) -> None:
        queries = [asked.query for asked in batch]
        loop = asyncio.get_running_loop()
        try:
            with timed(self._seconds), self._embedding(batch):
                vectors = await loop.run_in_executor(
                    self._threads, embed_queries, self._embedder, queries
                )
            pairs = list(zip(batch, vectors, strict=True))
        except EmbeddingRejectedError as error:
            if len(batch) == 1:
                self._fail(batch, error)
                return
            # One of them is bad: each alone, so that no other fails with it.
            for asked in batch:
                await self._embed([asked])
        except Exception as error:
            self._fail(batch, error)
        else:
            for asked, vector in pairs:
                settle(asked.vector, vector)
            self._keep(pairs)

    def _embedding(self, batch: list[Asked]) -> tracing.Span:
        counted: tracing.Attributes = {
            "gen_ai.request.model": self._embedder.model,
            "memory.queries": len(batch),
        }
        origins = [asked.origin for asked in batch]
        return tracing.group("embed queries", origins, attributes=counted)

    def _fail(self, batch: list[Asked], error: Exception) -> None:
        for asked in batch:
            settle(asked.vector, error)
            if self._known.get(asked.digest) is asked.vector:
                del self._known[asked.digest]

    def _keep(self, pairs: list[tuple[Asked, Vectors]]) -> None:
        if self._cache is None:
            return
        values = {
            self._prefix + asked.digest: vector.astype("<f4").tobytes() for asked, vector in pairs
        }
        self._spawn(self._put(self._cache, values))

    async def _put(self, cache: Cache, values: dict[str, bytes]) -> None:
        await cache.put_many(values, REDIS_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self, result: str) -> None:
        self._requests.labels("query_vector", result).inc()


def settle(vector: asyncio.Future[Vectors], outcome: Vectors | Exception) -> None:
    """Give `vector` its outcome, unless it has one; nobody may be waiting for it any more."""
    if vector.done():
        return
    if isinstance(outcome, Exception):
        vector.set_exception(outcome)
        # Read once, or asyncio reports an error that nobody fetched when the caller has gone.
        vector.exception()
        return
    # Several callers are given the same array.
    outcome.flags.writeable = False
    vector.set_result(outcome)


def vector_from_bytes(value: bytes | None, dimensions: int) -> Vectors | None:
    """The unit vector that `value` holds; None when it holds none of `dimensions`."""
    if value is None or len(value) != 4 * dimensions:
        return None
    vector = np.frombuffer(value, dtype="<f4").astype(np.float32, copy=False)
    with np.errstate(all="ignore"):
        length = float(np.linalg.norm(vector))
    # Not so for what is not a number, either.
    return vector if abs(length - 1) < 1e-3 else None
