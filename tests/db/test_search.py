"""The nearest messages: exact in small scopes, through the index in large ones."""

from collections.abc import AsyncIterator
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import api_engine
from db.models import register_model
from db.queries.search import Asked, candidate_from_row, search_candidates
from db.sessions import tenant_transaction
from memory.search import Candidate, SearchScope
from memory.settings import Settings
from tests.db.rows import add_message, add_vector

DIMENSIONS = 8


def unit(*values: float) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


@pytest.fixture
def model_id(database: str) -> int:
    return register_model(database, "mock", DIMENSIONS)


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


async def nearest(
    engine: AsyncEngine, scope: SearchScope, model_id: int, vector: NDArray[np.float32], exact: bool
) -> list[Candidate]:
    statement, parameters = search_candidates(scope, Asked(vector, {}), model_id, 3, exact=exact)
    async with tenant_transaction(engine, [scope.tenant_id], planned=True) as connection:
        return [candidate_from_row(row) for row in await connection.execute(statement, parameters)]


def add(owner: Connection, model_id: int, *vectors: NDArray[np.float32], **fields: object) -> UUID:
    tenant_id = str(fields.pop("tenant_id", "acme"))
    message_id = add_message(owner, tenant_id, status="completed", **fields)  # type: ignore[arg-type]
    for part, vector in enumerate(vectors):
        add_vector(owner, tenant_id, message_id, model_id, vector, part)
    return message_id


@pytest.mark.parametrize("exact", [True, False])
async def test_the_nearest_come_first_and_only_of_the_tenant(
    engine: AsyncEngine, owner: Connection, model_id: int, exact: bool
) -> None:
    near = add(owner, model_id, unit(1, 0.1))
    far = add(owner, model_id, unit(0.1, 1))
    add(owner, model_id, unit(1), tenant_id="globex")
    found = await nearest(engine, SearchScope(tenant_id="acme"), model_id, unit(1), exact)
    found.sort(key=lambda candidate: -candidate.similarity)
    assert [candidate.message_id for candidate in found] == [near, far]
    assert found[0].similarity == pytest.approx(float(unit(1, 0.1) @ unit(1)), abs=1e-3)


@pytest.mark.parametrize("exact", [True, False])
async def test_a_message_counts_once_by_its_best_part(
    engine: AsyncEngine, owner: Connection, model_id: int, exact: bool
) -> None:
    long = add(owner, model_id, unit(0, 1), unit(1), unit(1, 1))
    found = await nearest(engine, SearchScope(tenant_id="acme"), model_id, unit(1), exact)
    assert [(candidate.message_id, round(candidate.similarity, 2)) for candidate in found] == [
        (long, 1.0)
    ]


@pytest.mark.parametrize("exact", [True, False])
async def test_filters(engine: AsyncEngine, owner: Connection, model_id: int, exact: bool) -> None:
    add(owner, model_id, unit(1), conversation_id="a", importance=0.9)
    wanted = add(owner, model_id, unit(1), conversation_id="b", importance=0.9)
    add(owner, model_id, unit(1), conversation_id="b", importance=0.1)
    scope = SearchScope(tenant_id="acme", conversation_id="b", importance_min=0.5)
    found = await nearest(engine, scope, model_id, unit(1), exact)
    assert [candidate.message_id for candidate in found] == [wanted]


async def test_no_term_and_no_vector_find_nothing(
    engine: AsyncEngine, owner: Connection, model_id: int
) -> None:
    add(owner, model_id, unit(1))
    statement, parameters = search_candidates(
        SearchScope(tenant_id="acme"), Asked(None, {}), model_id, 3, exact=True
    )
    async with tenant_transaction(engine, ["acme"], planned=True) as connection:
        assert (await connection.execute(statement, parameters)).all() == []
