"""Vectors of queries that are kept: in the process, and bit by bit in Redis."""

import numpy as np
import pytest
import redis

from api.cache import Cache
from api.metrics import Metrics
from api.query_vectors import QueryVectors
from cli.valkey import EmbeddedValkey
from memory.embedding.batching import embed_queries
from memory.embedding.mock import MockEmbedder
from tests.api.query_model import (
    LONG,
    Make,
    Model,
    cache,
    counted,
    make,
    metrics,
    model,
    stored,
    vectors,
)

__all__ = ["cache", "make", "metrics", "model", "vectors"]  # fixtures


async def test_a_query_asked_again_is_not_embedded_again(
    vectors: QueryVectors, model: Model, metrics: Metrics
) -> None:
    (first,) = await vectors.get([LONG], "acme")
    (again,) = await vectors.get([LONG], "acme")
    assert again.tobytes() == first.tobytes()
    assert len(model.calls) == 1
    assert counted(metrics) == {"process": 1, "redis": 0, "miss": 1}
    with pytest.raises(ValueError, match="read-only"):
        again += 1


async def test_those_asked_last_are_kept(
    vectors: QueryVectors, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.query_vectors.KEPT_VECTORS", 2)
    for query in ("a", "b", "a", "c", "a", "b"):
        await vectors.get([query], "acme")
    assert model.calls == [["a"], ["b"], ["c"], ["b"]]


async def test_another_process_has_them_bit_by_bit(
    make: Make, cache: Cache, model: Model, metrics: Metrics
) -> None:
    queries = [f"query {number}" for number in range(20)] + [LONG, "lone \udc80"]
    ours, theirs = make(cache), make(cache)
    await ours.start()
    first = await ours.get(queries, "acme")
    await stored(ours)
    # It embeds nothing: it has not been started.
    again = await theirs.get(queries, "acme")
    assert [each.tobytes() for each in again] == [each.tobytes() for each in first]
    assert [each.dtype for each in again] == [np.float32] * len(queries)
    assert counted(metrics) == {"process": 0, "redis": 22, "miss": 22}
    assert not again[0].flags.writeable


async def test_they_are_those_of_the_model_and_its_dimensions(
    make: Make, cache: Cache, model: Model, valkey: EmbeddedValkey
) -> None:
    other, shorter = Model(), Model(12)
    other.model, shorter.model = f"{model.model}-2", model.model
    for each in (model, other, shorter):
        vectors = make(cache, each)
        await vectors.start()
        (vector,) = await vectors.get(["bees"], "acme")
        assert vector.shape == (each.dimensions,)
        await stored(vectors)
        assert len(each.calls) == 1
    with redis.Redis.from_url(valkey.url) as client:
        keys = client.keys(f"memory-cache:query:{model.model}*")
        assert len(keys) == 3
        assert all(500 < client.ttl(key) <= 600 for key in keys)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"short",
        bytes(4 * 384),
        b"\xff" * 4 * 384,
        b"\x7f" * 4 * 384,
        np.full(384, 2, "<f4").tobytes(),
        np.full(383, 383**-0.5, "<f4").tobytes(),
        np.full(385, 385**-0.5, "<f4").tobytes(),
    ],
    ids=["empty", "short", "zeros", "nan", "huge", "too long", "too few", "too many"],
)
async def test_what_is_no_vector_is_a_miss(
    make: Make, cache: Cache, model: Model, valkey: EmbeddedValkey, value: bytes
) -> None:
    ours, theirs = make(cache), make(cache)
    await ours.start()
    (first,) = await ours.get(["bees"], "acme")
    await stored(ours)
    with redis.Redis.from_url(valkey.url) as client:
        (key,) = client.keys(f"memory-cache:query:{model.model}:*")
        client.set(key, value, ex=100)
        await theirs.start()
        np.testing.assert_array_equal(await theirs.get(["bees"], "acme"), [first])
        assert len(model.calls) == 2
        await stored(theirs)
        assert client.get(key) == first.tobytes()


async def test_a_silent_redis_does_not_keep_a_query_from_its_vector(
    make: Make, black_hole: int
) -> None:
    cache = Cache.connect(f"redis://127.0.0.1:{black_hole}/0")
    vectors = make(cache)
    await vectors.start()
    (vector,) = await vectors.get(["bees"], "acme")
    np.testing.assert_array_equal(vector, embed_queries(MockEmbedder(), ["bees"])[0])
    await vectors.stop()
    await cache.aclose()
