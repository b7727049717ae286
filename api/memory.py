"""`/v1/memory`: finding the messages that matter."""

import asyncio
from typing import Annotated, Any

from litestar import Request, get
from litestar.params import QueryParameter

from api.runtime import Model, NamedRuntime, Runtime
from db.queries.search import EXACT_UP_TO, SCOPE_SIZE, candidate_from_row, nearest_messages
from db.sessions import tenant_transaction
from memory.checks import check_text
from memory.embedding.batching import embed_query
from memory.embedding.protocol import Vectors
from memory.messages import TENANT_PATTERN
from memory.search import Candidate, SearchAnswer, SearchScope, candidate_count, rank

# Percent-encoded, each may take twelve bytes of the 64 KiB that a URL may have.
QUERY_MAX_CHARS = 5_000


@get("/v1/memory/search", tags=["search"])
async def search(
    request: Request[Any, Any, Any],
    runtime: NamedRuntime,
    tenant_id: Annotated[str, QueryParameter(min_length=1, max_length=64, pattern=TENANT_PATTERN)],
    query_: Annotated[str, QueryParameter(name="query", min_length=1, max_length=QUERY_MAX_CHARS)],
    top_k: Annotated[int, QueryParameter(ge=1, le=100)] = 5,
    conversation_id: Annotated[str | None, QueryParameter(min_length=1, max_length=128)] = None,
    importance_min: Annotated[float | None, QueryParameter(ge=0, le=1)] = None,
) -> SearchAnswer:
    """The messages of a tenant that answer `query` best, best first."""
    request.scope["tenant_id"] = tenant_id  # type: ignore[typeddict-unknown-key]
    check_text("query", query_, QUERY_MAX_CHARS)
    check_text("conversation_id", conversation_id or "", 128)
    scope = SearchScope(
        tenant_id=tenant_id, conversation_id=conversation_id, importance_min=importance_min
    )
    model = runtime.model
    with runtime.metrics.embedding_seconds.time():
        vector = await asyncio.to_thread(embed_query, model.embedder, query_)
    candidates = await find(runtime, scope, model, vector, candidate_count(top_k))
    runtime.metrics.searches.inc()
    return rank(candidates, top_k)


async def find(
    runtime: Runtime, scope: SearchScope, model: Model, vector: Vectors, most: int
) -> list[Candidate]:
    """The `most` messages of `scope` nearest to `vector`, small scopes compared in full."""
    async with tenant_transaction(runtime.engine, [scope.tenant_id]) as connection:
        exact = scope.conversation_id is not None
        if not exact:
            size = await connection.scalar(
                SCOPE_SIZE,
                {"tenant_id": scope.tenant_id, "model_id": model.id, "most": EXACT_UP_TO + 1},
            )
            exact = (size or 0) <= EXACT_UP_TO
        statement, parameters = nearest_messages(scope, model.id, vector, most, exact=exact)
        return [candidate_from_row(row) for row in await connection.execute(statement, parameters)]
