"""Search in a large store: each leg goes by its index, and misses next to nothing."""

import re
from collections.abc import AsyncIterator, Iterator

import msgspec
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api.metrics import Metrics
from api.models import Model
from api.query_vectors import QueryVectors
from api.runtime import Runtime
from api.searching import Found, Search, find, read
from cli.postgres import EmbeddedPostgres
from db.queries.search import Asked, search_candidates
from db.sessions import tenant_transaction
from memory.embedding.onnx import OnnxEmbedder
from memory.lexical.analysis import analyser
from memory.search import SearchRequest, SearchScope
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tests.conftest import TEMPLATE, own_database
from tests.db.store import fill, queries

TENANTS = {"large": 100_000, "middle": 10_000, "small": 100}
CROWD = {f"tenant-{number}": 20 for number in range(1_000)}
MOST = 50
QUERIES = 40
NEAREST = 10

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def store(postgres: EmbeddedPostgres) -> Iterator[tuple[str, int]]:
    """The URL of a database with a thousand tenants and three more, and the model's id."""
    with own_database(postgres.url, TEMPLATE) as url:
        yield url, fill(url, TENANTS | CROWD)


@pytest.fixture
async def runtime(store: tuple[str, int]) -> AsyncIterator[Runtime]:
    runtime = Runtime(Settings(database_url=store[0], async_embeddings=False), Metrics())
    yield runtime
    await runtime.reads.aclose()
    await runtime.engine.dispose()


@pytest.fixture(scope="module")
def asked() -> list[Found]:
    contents, vectors = queries()
    chosen = np.random.default_rng(3).permutation(len(contents))[:QUERIES]
    return [Found(contents[place], vectors[place]) for place in chosen]


def legs(found: Found) -> Asked:
    return Asked(found.vector, analyser("english").query_terms(found.query))


@pytest.mark.parametrize("filters", [{}, {"role": "user"}, {"importance_min": 0.1}])
async def test_the_vectors_of_a_large_tenant_come_from_the_index(
    runtime: Runtime,
    store: tuple[str, int],
    asked: list[Found],
    filters: dict[str, str],
) -> None:
    scope = msgspec.convert({"tenant_id": "large", **filters}, SearchScope)
    statement, parameters = search_candidates(scope, legs(asked[0]), store[1], MOST, exact=False)
    async with tenant_transaction(runtime.engine, ["large"], planned=True) as connection:
        explained = await connection.execute(text(f"explain {statement.text}"), parameters)
        plan = "\n".join(explained.scalars())
    assert "Index Scan using message_embeddings_hnsw" in plan
    assert "Seq Scan" not in plan
    # Each found message is looked up by its key, and the tenant is never walked through.
    assert not re.search(r"Hash Join[^\n]*\n[^\n]*messages", plan)


async def entries_read(connection: AsyncConnection) -> dict[str, int]:
    """How often each index of the terms was scanned, and how many entries of the key were read."""
    await connection.execute(text("select pg_stat_force_next_flush()"))
    await connection.commit()
    rows = await connection.execute(
        text(
            "select indexrelname, indexes.idx_scan, idx_tup_read, seq_scan"
            " from pg_stat_user_indexes as indexes join pg_stat_user_tables as tables using (relid)"
            " where tables.relname = 'message_terms'"
        )
    )
    by_name = {row.indexrelname: row for row in rows}
    await connection.rollback()
    return {
        "by_terms": by_name["message_terms_keys"].idx_scan,
        "by_message": by_name["message_terms_pkey"].idx_tup_read,
        "whole": by_name["message_terms_keys"].seq_scan,
    }


@pytest.mark.parametrize("tenant_id", ["large", "middle", "small", "tenant-7"])
async def test_the_words_come_from_the_index_whatever_the_tenants_size(
    runtime: Runtime, store: tuple[str, int], asked: list[Found], tenant_id: str
) -> None:
    scope = SearchScope(tenant_id=tenant_id)
    async with runtime.engine.connect() as connection:
        before = await entries_read(connection)
        # The plans of the function's statements are generic after a few.
        for each in asked:
            statement, parameters = search_candidates(
                scope, legs(each), store[1], MOST, exact=tenant_id != "large"
            )
            named = text("select set_config('memory.tenants', :tenant_id, true)")
            await connection.execute(named, {"tenant_id": tenant_id})
            await connection.execute(statement, parameters)
            await connection.commit()
        after = await entries_read(connection)
    assert after["whole"] == before["whole"]
    assert after["by_terms"] - before["by_terms"] >= len(asked)
    # The rows of what the vectors found, and of a tenant that is counted as it is.
    assert after["by_message"] - before["by_message"] <= 400 * len(asked)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"role": "user"},
        {"importance_min": 0.48, "role": "user"},
        {"created_after": "2026-01-01T10:00:00Z"},
        {"metadata": {"channel": "rare"}},
        {"metadata": {"channel": "rare"}, "role": "assistant", "conversation_id": "c-0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("tenant_id", list(TENANTS))
async def test_the_nearest_are_all_but_never_missed(
    runtime: Runtime,
    store: tuple[str, int],
    asked: list[Found],
    tenant_id: str,
    filters: dict[str, object],
) -> None:
    values = {"tenant_id": tenant_id, "query": "-", "mode": "semantic", **filters}
    request = msgspec.convert(values, SearchRequest)
    embedder = OnnxEmbedder()
    model = Model(embedder, store[1], QueryVectors(embedder, None, runtime.metrics))
    settings = effective(runtime.settings, TenantSettings())
    search = Search(request, settings, model, None, runtime.reads.read)
    shares = []
    for each in asked:
        nearest = await read(search, Asked(each.vector, {}), exact=True)
        nearest = sorted(nearest, key=lambda one: -(one.similarity or 0))[:NEAREST]
        found = await find(runtime, search, each)
        if right := {one.message_id for one in nearest}:
            shares.append(len(right & {one.message_id for one in found}) / len(right))
    assert np.mean(shares or [1]) >= 0.98
