"""One search from its request to its answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from api.models import Model
from api.runtime import Runtime
from db.queries.neighbours import NEIGHBOURS, windows_from_rows
from db.queries.scopes import EXACT_UP_TO, scope_size
from db.queries.search import Asked, candidate_from_row, search_candidates
from db.reading import Read
from memory.embedding.protocol import Vectors
from memory.errors import EmbeddingError, EmbeddingRejectedError, EmbeddingUnavailableError
from memory.lexical.analysis import Analyser, analyser
from memory.passages import merge
from memory.ranking import (
    SEMANTIC_WEIGHTS,
    Ranked,
    candidate_count,
    explained,
    hit,
    rank,
    relevance,
    reranked,
    weights_of,
)
from memory.rerank.blending import RERANKED, blend
from memory.rerank.protocol import Reranker
from memory.search import Candidate, Hit, Neighbour, SearchAnswer, SearchRequest, Weights
from memory.tenants import Effective

# Merging makes fewer passages of hits: so many more are looked at before the rest is.
HITS_PER_PASSAGE = 3


@dataclass(frozen=True, slots=True)
class Search:
    """What one request asks for, with all that holds for it."""

    request: SearchRequest
    settings: Effective
    model: Model
    reranker: Reranker | None
    read: Read
    """Reads where the messages are to be read."""

    @property
    def weights(self) -> Weights:
        """What each part counts for."""
        semantic = self.request.mode == "semantic"
        return SEMANTIC_WEIGHTS if semantic else weights_of(self.settings)

    @property
    def analyser(self) -> Analyser:
        """What makes terms of the queries."""
        return analyser(self.settings.language)

    def relevance(self, similarity: float | None, lexical: float | None) -> float:
        """Relevance as the mode has it."""
        if self.request.mode == "semantic":
            return similarity or 0.0
        return relevance(similarity, lexical)

    def question(self, query: str) -> bytes:
        """All that the answer to `query` hangs on, beside the messages."""
        request = msgspec.structs.replace(self.request, query=query, queries=None)
        return msgspec.json.encode([request, self.settings, self.model.id, repr(self.reranker)])


@dataclass(slots=True)
class Found:
    """What became of one query on its way to an answer."""

    query: str
    vector: Vectors | None = None
    obstacles: list[str] = field(default_factory=list)
    ranked: list[Ranked] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)


async def embed(runtime: Runtime, search: Search, queries: Sequence[str]) -> list[Found]:
    """The queries with their vectors; without them, and the reason, when there can be none.

    Raises the embedder's error when nothing can be found without a vector.
    """
    if search.request.mode == "lexical":
        return [Found(query) for query in queries]
    try:
        with runtime.metrics.leg("embed"):
            vectors = await search.model.vectors.get(queries, search.request.tenant_id)
    except (EmbeddingUnavailableError, EmbeddingRejectedError):
        if search.request.mode == "semantic":
            raise
        runtime.metrics.degraded.labels("embedding").inc(len(queries))
        reason = "The query could not be embedded; the answer is by its words alone."
        return [Found(query, obstacles=[reason]) for query in queries]
    return [Found(query, vector) for query, vector in zip(queries, vectors, strict=True)]


async def answer(runtime: Runtime, search: Search, found: Found) -> SearchAnswer:
    """Find, rank and dress the messages for one query."""
    request = search.request
    with runtime.metrics.leg("find"):
        candidates = await find(runtime, search, found)
    found.ranked = rank(
        candidates,
        search.relevance,
        search.weights,
        search.settings.half_life_days,
        datetime.now(UTC),
    )
    if search.reranker and found.ranked:
        with runtime.metrics.leg("rerank"):
            await rerank(runtime, search, search.reranker, found)
    with runtime.metrics.leg("dress"):
        await dress(search, found)
    return SearchAnswer(
        total=len(found.hits),
        items=found.hits,
        scope=request.scope,
        mode=request.mode,
        degraded=bool(found.obstacles),
        degraded_reason=" ".join(found.obstacles) or None,
    )


async def find(runtime: Runtime, search: Search, found: Found) -> list[Candidate]:
    """The candidates of both legs; small scopes are compared in full."""
    request = search.request
    most = candidate_count(request.top_k)
    terms = {} if request.mode == "semantic" else search.analyser.query_terms(found.query)
    asked = Asked(found.vector, terms)
    exact = found.vector is None or await is_exact(runtime, search)
    candidates = await read(search, asked, exact=exact)
    # A filter that few messages pass leaves the index with too few: then all are compared.
    if not exact and sum("semantic" in each.found_by for each in candidates) < most // 2:
        candidates = await read(search, asked, exact=True)
    return candidates


async def read(search: Search, asked: Asked, *, exact: bool) -> list[Candidate]:
    """What both legs find."""
    request = search.request
    statement, parameters = search_candidates(
        request.scope, asked, search.model.id, candidate_count(request.top_k), exact=exact
    )
    rows = await search.read([request.tenant_id], statement, parameters, planned=True)
    return [candidate_from_row(row) for row in rows]


async def is_exact(runtime: Runtime, search: Search) -> bool:
    """Whether all vectors of the scope had better be compared with the query's."""
    tenant_id = search.request.tenant_id
    if await runtime.tenants.is_small(search.read, tenant_id):
        return True
    narrowed = scope_size(search.request.scope)
    if narrowed is None:
        return False
    ((size,),) = await search.read([tenant_id], *narrowed, planned=True)
    return bool(size <= EXACT_UP_TO)


async def rerank(runtime: Runtime, search: Search, reranker: Reranker, found: Found) -> None:
    """Order the candidates anew by what the reranker makes of the first of them."""
    found.ranked.sort(key=lambda each: each.relevance, reverse=True)
    first = found.ranked[:RERANKED]
    windows = await look_around(search, first, reach=1)
    texts = [each.candidate.content for each in first]
    contexts = [spoken_before(each.candidate.message_id, windows) for each in first]
    try:
        scores = await asyncio.to_thread(reranker.scores, found.query, texts, contexts)
    except EmbeddingError:
        runtime.metrics.degraded.labels("reranker").inc()
        found.obstacles.append("The reranker did not answer; the order is without it.")
        scores = []
    fused = blend([each.relevance for each in found.ranked], scores)
    found.ranked = reranked(found.ranked, fused, scores, search.weights)


async def dress(search: Search, found: Found) -> None:
    """Make hits of the ranked, with neighbours and explanations as the request wants them."""
    request = search.request
    if not (request.context or request.explain):
        found.hits = [hit(each) for each in found.ranked[: request.top_k]]
        return
    windows: dict[UUID, list[Neighbour]] = {}
    enough = request.top_k * (HITS_PER_PASSAGE if request.context else 1)
    for ranked in (found.ranked[:enough], found.ranked[enough:]):
        windows |= await look_around(search, ranked, reach=max(1, request.context))
        found.hits = dressed(search, found, windows)
        if not request.context or len(found.hits) == request.top_k:
            break


async def look_around(
    search: Search, ranked: Sequence[Ranked], reach: int
) -> dict[UUID, list[Neighbour]]:
    """Each of `ranked` with up to `reach` messages either side, by its id, in their order."""
    parameters = {
        "tenant_id": search.request.tenant_id,
        "ids": [each.candidate.message_id for each in ranked],
        "reach": reach,
        "include_archived": search.request.include_archived,
    }
    return windows_from_rows(await search.read([search.request.tenant_id], NEIGHBOURS, parameters))


def dressed(search: Search, found: Found, windows: dict[UUID, list[Neighbour]]) -> list[Hit]:
    """The hits that have `windows`, as the request wants to see them."""
    request = search.request
    ranked = [each for each in found.ranked if each.candidate.message_id in windows]
    hits = [hit(each) for each in ranked]
    if request.explain:
        terms = search.analyser.query_terms(found.query)
        hits = [
            explained(
                shown,
                each,
                search.weights,
                terms,
                search.analyser.terms(
                    f"{spoken_before(shown.message_id, windows)}\n{shown.content}"
                ),
            )
            for shown, each in zip(hits, ranked, strict=True)
        ]
    return merge(hits, windows, request.top_k) if request.context else hits


def spoken_before(message_id: UUID, windows: dict[UUID, list[Neighbour]]) -> str:
    """The content of the message before, empty for the first of a conversation."""
    window = windows.get(message_id, [])
    ids = [near.message_id for near in window]
    place = ids.index(message_id) if ids else 0
    return window[place - 1].content if place else ""
