"""Answers to searches: kept ones while the tenant's memory has not changed, else new ones."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
from litestar.types import Scope

from api.entry import count
from api.runtime import Runtime
from api.search_answers import Lookup
from api.searching import Found, Search, answer, embed
from api.still_there import Shown
from api.uses import hits_of
from db.reading import Read
from memory.errors import EmbeddingSetupError, InvalidFieldError
from memory.ranking import overridden
from memory.search import SearchAnswer, SearchRequest


class Body(msgspec.Struct, frozen=True, array_like=True):
    """An answer as its caller gets it, in JSON, with what the service must know of it.

    `shown` are all messages in it, and `hits` those of each place.
    """

    shown: list[UUID]
    hits: list[list[UUID]]
    json: bytes


# The ids as they are, and the JSON with nothing escaped.
KEPT_ENCODER = msgspec.msgpack.Encoder(uuid_format="bytes")
KEPT = msgspec.msgpack.Decoder(Body)
# Searches of one request that are in the database at once.
TOGETHER = 4


async def answers_of(
    scope: Scope,
    runtime: Runtime,
    asked: SearchRequest,
    queries: Sequence[str],
) -> list[bytes]:
    """The answer to each of `queries`, in their order, each a `SearchAnswer` in JSON."""
    await count(scope, runtime, {asked.tenant_id: 0})
    search = await search_of(runtime, asked)
    if len(queries) == 1 and runtime.answers.may_have(asked.tenant_id, search.question(queries[0])):
        lookups = [await look_up(runtime, search, queries[0])]
        if kept := lookups[0][1]:
            return counted(runtime, asked.tenant_id, [kept])
        found = await embed(runtime, search, queries)
    else:
        # Side by side: as a rule there is no answer yet.
        embedding = asyncio.create_task(embed(runtime, search, queries))
        # It may fail with nobody there any more to ask for it.
        embedding.add_done_callback(lambda task: task.cancelled() or task.exception())
        lookups = await asyncio.gather(*(look_up(runtime, search, query) for query in queries))
        if all(kept for _, kept in lookups):
            embedding.cancel()
            return counted(runtime, asked.tenant_id, [kept for _, kept in lookups if kept])
        found = await embedding
    missing = [
        (lookup, each) for (lookup, kept), each in zip(lookups, found, strict=True) if not kept
    ]
    new = iter(await new_answers(runtime, search, missing))
    return counted(runtime, asked.tenant_id, [kept or next(new) for _, kept in lookups])


async def new_answers(
    runtime: Runtime, search: Search, missing: Iterable[tuple[Lookup, Found]]
) -> list[Body]:
    """The answers to queries of which none is kept."""
    gate = asyncio.Semaphore(TOGETHER)

    async def new_answer(lookup: Lookup, found: Found) -> Body:
        async with gate:
            if known := await replicas_answer(runtime, search, lookup, found):
                return body_of(known)
            new = await answer(runtime, search, found)
        runtime.metrics.read_from.labels("primary").inc()
        # The caller need not wait for it.
        runtime.later(keep(runtime, search, lookup, found.query, new))
        return body_of(new)

    return await asyncio.gather(*(new_answer(*each) for each in missing))


def counted(runtime: Runtime, tenant_id: str, answers: Sequence[Body]) -> list[bytes]:
    """The JSON of `answers`, noted as searches and as uses of the messages in them."""
    runtime.metrics.searched(tenant_id, len(answers))
    for each in answers:
        runtime.uses.note_hits(tenant_id, each.hits)
    return [each.json for each in answers]


def body_of(answer: SearchAnswer) -> Body:
    """`answer` as its caller gets it."""
    shown = [id_ for hit in answer.items for id_ in hit.message_ids()]
    return Body(shown, list(hits_of(answer)), msgspec.json.encode(answer))


async def search_of(runtime: Runtime, asked: SearchRequest) -> Search:
    """The search that `asked` is, with what its tenant has set and what it sets itself."""
    model = runtime.model
    settings = overridden(await runtime.tenants.effective(asked.tenant_id), asked)
    try:
        reranker = await runtime.reranker(asked.rerank)
    except EmbeddingSetupError as error:
        raise InvalidFieldError("rerank", str(error)) from None
    return Search(asked, settings, model, reranker, runtime.reads.read)


async def look_up(runtime: Runtime, search: Search, query: str) -> tuple[Lookup, Body | None]:
    """What is kept for `query`, if each message of it is still there."""
    tenant_id = search.request.tenant_id
    lookup = await runtime.answers.get(tenant_id, search.question(query))
    if lookup.answer is None:
        return lookup, None
    try:
        kept = KEPT.decode(lookup.answer)
    except msgspec.DecodeError:  # Of another version of the service.
        return lookup, None
    shown = Shown(tenant_id, tuple(kept.shown), search.request.include_archived)
    try:
        there = not kept.shown or await runtime.still_there.ask(shown)
    except TimeoutError:
        # A new answer is read by another connection.
        there = False
    return lookup, kept if there else None


async def replicas_answer(
    runtime: Runtime, search: Search, lookup: Lookup, found: Found
) -> SearchAnswer | None:
    """The answer of a replica, which is not kept; None where the primary is to be asked."""

    def ask(read: Read) -> Coroutine[Any, Any, SearchAnswer]:
        # One that is given up may go on for a while, beside the primary's.
        own = replace(found, obstacles=list(found.obstacles))
        return answer(runtime, replace(search, read=read), own)

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
        kept = body_of(msgspec.structs.replace(answer, cached=True))
        await runtime.answers.put(tenant_id, lookup.version, question, KEPT_ENCODER.encode(kept))
