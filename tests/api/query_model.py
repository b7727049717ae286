"""A model of queries that tests can stop, and what they ask about its vectors."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from api.cache import Cache
from api.metrics import Metrics
from api.query_vectors import QueryVectors
from cli.valkey import EmbeddedValkey
from memory.embedding.mock import MockEmbedder
from memory.embedding.protocol import Purpose, Vectors
from memory.errors import EmbeddingError, EmbeddingRejectedError

SECONDS = 30
LONG = "a long query about bees " * 400


class Model(MockEmbedder):
    """A model that can be stopped in the middle of its work, and that refuses what is `bad`."""

    def __init__(self, dimensions: int = 384) -> None:
        super().__init__(dimensions)
        # No other test has it, for the vectors stay in Redis.
        self.model = uuid.uuid4().hex
        self.calls: list[list[str]] = []
        self.threads: set[str] = set()
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()
        self.error: EmbeddingError | None = None

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:
        assert purpose == "query"
        self.calls.append(list(texts))
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        assert self.may_end.wait(SECONDS)
        if "bad" in texts:
            raise EmbeddingRejectedError("refused")
        if self.error:
            raise self.error
        return super().embed(texts, purpose)

    async def begins(self) -> None:
        """Wait until it has begun with one more call."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS)


def ask(vectors: QueryVectors, *queries: str) -> asyncio.Task[list[Vectors]]:
    """Ask without waiting."""
    return asyncio.create_task(vectors.get(queries, "acme"))


def counted(metrics: Metrics) -> dict[str, float]:
    """The look-ups of query vectors so far, by result."""
    return {
        result: metrics.registry.get_sample_value(
            "memory_cache_requests_total", {"cache": "query_vector", "result": result}
        )
        or 0
        for result in ("process", "redis", "miss")
    }


async def stored(vectors: QueryVectors) -> None:
    """Wait until what was embedded is in Redis."""
    while storing := [each for each in vectors._tasks if "_put" in repr(each.get_coro())]:
        await asyncio.wait(storing)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def cache(valkey: EmbeddedValkey) -> AsyncIterator[Cache]:
    cache = Cache.connect(valkey.url)
    yield cache
    await cache.aclose()


Make = Callable[..., QueryVectors]


@pytest.fixture
async def make(model: Model, metrics: Metrics) -> AsyncIterator[Make]:
    """Makes vectors of the model, which the test starts."""
    made: list[QueryVectors] = []

    def make(cache: Cache | None = None, of: Model = model, calls: int = 1) -> QueryVectors:
        made.append(QueryVectors(of, cache, metrics, calls))
        return made[-1]

    yield make
    model.may_end.set()
    for each in made:
        await each.stop()


@pytest.fixture
async def vectors(make: Make) -> QueryVectors:
    """Vectors without Redis, at work."""
    made = make()
    await made.start()
    return made
