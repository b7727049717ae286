"""Answers to searches: kept ones while the tenant's memory has not changed, else new ones."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from litestar import Request

from api.entry import enter
from api.replicas import Begin
from api.runtime import Runtime
from api.search_answers import Lookup
from api.searching import Found, Search, answer, embed
from db.queries.messages import COUNT_MESSAGES
from db.sessions import tenant_transaction
from memory.errors import EmbeddingSetupError, InvalidFieldError
from memory.ranking import overridden
from memory.search import SearchAnswer, SearchRequest

ANSWER = msgspec.json.Decoder(SearchAnswer)
# Searches of one request that are in the database at once.
TOGETHER = 4


async def answers_of(
    request: Request[Any, Any, Any],
    runtime: Runtime,
    asked: SearchRequest,
    queries: Sequence[str],
) -> list[SearchAnswer]:
    """The answer to each of `queries`, in their order."""
    await enter(request, runtime, asked.tenant_id)
    search = await search_of(runtime, asked)
    # Side by side: of an answer that is kept the vector is, as a rule, kept too.
    embedding = asyncio.create_task(embed(runtime, search, queries))
    # It may fail with nobody there any more to ask for it.
    embedding.add_done_callback(lambda task: task.cancelled() or task.exception())
    lookups = await asyncio.gather(*(look_up(runtime, search, query) for query in queries))
    if all(kept for _, kept in lookups):
        embedding.cancel()
        return counted(runtime, asked.tenant_id, [kept for _, kept in lookups if kept])
    found = await embedding
    gate = asyncio.Semaphore(TOGETHER)

    async def new_answer(lookup: Lookup, found: Found) -> SearchAnswer:
        async with gate:
            if known := await replicas_answer(runtime, search, lookup, found):
                return known
            new = await answer(runtime, search, found)
        runtime.metrics.read_from.labels("primary").inc()
        # The caller need not wait for it.
        runtime.later(keep(runtime, search, lookup, found.query, new))
        return new

    missing = [
        new_answer(lookup, each)
        for (lookup, kept), each in zip(lookups, found, strict=True)
        if not kept
    ]
    new = iter(await asyncio.gather(*missing))
    return counted(runtime, asked.tenant_id, [kept or next(new) for _, kept in lookups])


def counted(runtime: Runtime, tenant_id: str, answers: list[SearchAnswer]) -> list[SearchAnswer]:
    """`answers`, noted as searches and as uses of the messages in them."""
    runtime.metrics.searched(tenant_id, len(answers))
    runtime.uses.note(tenant_id, answers)
    return answers


async def search_of(runtime: Runtime, asked: SearchRequest) -> Search:
    """The search that `asked` is, with what its tenant has set and what it sets itself."""
    model = runtime.model
    settings = overridden(await runtime.tenants.effective(asked.tenant_id), asked)
    try:
        reranker = await runtime.reranker(asked.rerank)
    except EmbeddingSetupError as error:
        raise InvalidFieldError("rerank", str(error)) from None
    return Search(asked, settings, model, reranker, partial(tenant_transaction, runtime.engine))


async def look_up(
    runtime: Runtime, search: Search, query: str
) -> tuple[Lookup, SearchAnswer | None]:
    """What is kept for `query`, if each message of it is still there."""
    tenant_id = search.request.tenant_id
    lookup = await runtime.answers.get(tenant_id, search.question(query))
    if lookup.answer is None:
        return lookup, None
    try:
        kept = ANSWER.decode(lookup.answer)
    except msgspec.DecodeError:  # Of another version of the service.
        return lookup, None
    asked = {
        "tenant_id": tenant_id,
        "ids": (ids := [id_ for hit in kept.items for id_ in hit.message_ids()]),
        "include_archived": search.request.include_archived,
    }
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        there = await connection.scalar(COUNT_MESSAGES, asked)
    return lookup, msgspec.structs.replace(kept, cached=True) if there == len(ids) else None


async def replicas_answer(
    runtime: Runtime, search: Search, lookup: Lookup, found: Found
) -> SearchAnswer | None:
    """The answer of a replica, which is not kept; None where the primary is to be asked."""

    def ask(begin: Begin) -> Coroutine[Any, Any, SearchAnswer]:
        # One that is given up may go on for a while, beside the primary's.
        own = replace(found, obstacles=list(found.obstacles))
        return answer(runtime, replace(search, begin=begin), own)

    new = await runtime.replicas.answer(search.request.tenant_id, lookup.version, ask)
    if new:
        runtime.metrics.read_from.labels("replica").inc()
    return new


async def keep(
    runtime: Runtime, search: Search, lookup: Lookup, query: str, answer: SearchAnswer
) -> None:
    """Keep a new answer, unless a part of the search was missing."""
    if not answer.degraded:
        tenant_id, question = search.request.tenant_id, search.question(query)
        await runtime.answers.put(tenant_id, lookup.version, question, msgspec.json.encode(answer))
