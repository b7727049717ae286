"""Vectors of queries: embedded together, and each once."""

import asyncio

import numpy as np
import pytest

from api.cache import Cache
from api.metrics import Metrics
from api.query_vectors import CALL_QUERIES, QueryVectors
from memory.embedding.batching import embed_queries
from memory.embedding.mock import MockEmbedder
from memory.errors import (
    EmbeddingError,
    EmbeddingRejectedError,
    EmbeddingSetupError,
    EmbeddingUnavailableError,
)
from tests.api.query_model import (
    LONG,
    Make,
    Model,
    ask,
    cache,
    counted,
    make,
    metrics,
    model,
    vectors,
)

__all__ = ["cache", "make", "metrics", "model", "vectors"]  # fixtures


async def test_each_query_gets_its_vector_in_order(vectors: QueryVectors) -> None:
    queries = ["red bees", LONG, "", "blue cars", "red bees", "lone \udc80 surrogate"]
    got = await vectors.get(queries, "acme")
    for query, vector in zip(queries, got, strict=True):
        np.testing.assert_array_equal(vector, embed_queries(MockEmbedder(), [query])[0])
        assert vector.shape == (384,)
    assert await vectors.get([], "acme") == []


async def test_queries_that_wait_are_the_next_call_together(
    vectors: QueryVectors, model: Model
) -> None:
    model.may_end.clear()
    first = ask(vectors, "first")
    await model.begins()
    waiting = [ask(vectors, f"query {number}") for number in range(CALL_QUERIES + 8)]
    await asyncio.sleep(0)
    model.may_end.set()
    await asyncio.gather(first, *waiting)
    assert [len(call) for call in model.calls] == [1, CALL_QUERIES, 8]
    assert len(model.threads) == 1
    assert "query-vectors" in model.threads.pop()


async def test_a_remote_provider_has_several_calls_under_way(make: Make, model: Model) -> None:
    vectors = make(calls=4)
    await vectors.start()
    model.may_end.clear()
    asked = []
    for number in range(4):
        asked.append(ask(vectors, f"query {number}"))
        await model.begins()
    more = [ask(vectors, "more"), ask(vectors, "and more")]
    await asyncio.sleep(0)
    assert len(model.calls) == 4
    model.may_end.set()
    await asyncio.gather(*asked, *more)
    assert len(model.threads) == 4


async def test_the_same_query_asked_at_once_is_embedded_once(
    vectors: QueryVectors, model: Model, metrics: Metrics
) -> None:
    model.may_end.clear()
    busy = ask(vectors, "busy")
    await model.begins()
    asked = [ask(vectors, "bees", "honey", "bees") for _ in range(10)]
    await asyncio.sleep(0)
    model.may_end.set()
    await asyncio.gather(busy, *asked)
    assert model.calls == [["busy"], ["bees", "honey"]]
    assert counted(metrics) == {"process": 28, "redis": 0, "miss": 3}


async def test_a_caller_that_goes_away_cancels_nothing(vectors: QueryVectors, model: Model) -> None:
    model.may_end.clear()
    leaving = ask(vectors, "bees")
    await model.begins()
    leaving_too, staying = ask(vectors, "honey"), ask(vectors, "honey", "bees", "wax")
    await asyncio.sleep(0)
    leaving.cancel()
    leaving_too.cancel()
    await asyncio.wait({leaving, leaving_too})
    assert leaving.cancelled()
    assert leaving_too.cancelled()
    model.may_end.set()
    assert len(await staying) == 3
    assert model.calls == [["bees"], ["honey", "wax"]]


async def test_a_caller_that_goes_before_redis_answers_cancels_nothing(
    make: Make, cache: Cache, model: Model
) -> None:
    vectors = make(cache)
    await vectors.start()
    leaving, staying = ask(vectors, "bees"), ask(vectors, "bees")
    await asyncio.sleep(0)
    leaving.cancel()
    assert len(await staying) == 1
    assert leaving.cancelled()
    assert model.calls == [["bees"]]


async def test_a_query_that_is_refused_fails_alone(make: Make, model: Model) -> None:
    vectors = make()
    asked = [ask(vectors, query) for query in ("bees", "bad", "honey")]
    await asyncio.sleep(0)
    await vectors.start()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [list, EmbeddingRejectedError, list]
    assert model.calls == [["bees", "bad", "honey"], ["bees"], ["bad"], ["honey"]]


@pytest.mark.parametrize("kind", [EmbeddingUnavailableError, EmbeddingSetupError])
async def test_any_other_error_is_that_of_all(
    make: Make, model: Model, kind: type[EmbeddingError]
) -> None:
    vectors = make()
    model.error = kind("not now")
    asked = [ask(vectors, query) for query in ("bees", "honey")]
    await asyncio.sleep(0)
    await vectors.start()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [kind, kind]
    assert len(model.calls) == 1


async def test_no_error_leaves_anybody_waiting(
    vectors: QueryVectors, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("api.query_vectors.vector_from_bytes", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await vectors.get(["bees"], "acme")
    with monkeypatch.context() as broken:
        broken.setattr("api.query_vectors.embed_queries", lambda *_: [])
        with pytest.raises(ValueError, match="shorter"):
            await vectors.get(["bees"], "acme")
    assert len(await vectors.get(["bees"], "acme")) == 1


async def test_an_error_is_not_kept(vectors: QueryVectors, model: Model) -> None:
    model.error = EmbeddingUnavailableError("not now")
    with pytest.raises(EmbeddingUnavailableError, match="not now"):
        await vectors.get(["bees"], "acme")
    model.error = None
    assert len(await vectors.get(["bees"], "acme")) == 1


async def test_an_end_leaves_nobody_waiting(vectors: QueryVectors, model: Model) -> None:
    model.may_end.clear()
    asked = [ask(vectors, "under way")]
    await model.begins()
    asked.append(ask(vectors, "waiting"))
    await asyncio.sleep(0)
    ending = asyncio.create_task(vectors.stop())
    for outcome in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(outcome, EmbeddingUnavailableError)
    assert not ending.done()
    model.may_end.set()
    await ending
    assert model.calls == [["under way"]]
