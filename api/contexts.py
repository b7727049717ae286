"""The contexts of messages that are embedded inline, where no worker sees to them."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.queries.terms import WITH_PREVIOUS, WRITE_TERMS, context_entries, term_parameters
from db.sessions import tenant_transaction
from memory.lexical.analysis import Analyser
from memory.messages import Message, NewMessage

log = structlog.get_logger(__name__)

TRIES = 3


async def index_contexts(
    engine: AsyncEngine,
    analysers: Mapping[str, Analyser],
    messages: Sequence[tuple[NewMessage, Message]],
) -> None:
    """Index `messages` with those before them; after the commit, when two at once see each other.

    Raises nothing: they are stored, and found by their own words.
    """
    for tenant_id, words in analysers.items():
        ids = [message.id for _, message in messages if message.tenant_id == tenant_id]
        for last in range(1, TRIES + 1):
            try:
                await write_contexts(engine, tenant_id, words, ids)
                break
            except SQLAlchemyError as error:
                # Two may wait for each other's rows; then the database ends one of them.
                if last == TRIES:
                    log.warning("contexts_not_indexed", reason=type(error).__name__)


async def write_contexts(
    engine: AsyncEngine, tenant_id: str, words: Analyser, ids: Sequence[UUID]
) -> None:
    """Index each of `ids`, and what follows it, together with the message before."""
    async with tenant_transaction(engine, [tenant_id]) as connection:
        named = {"tenant_id": tenant_id, "ids": list(ids)}
        rows = (await connection.execute(WITH_PREVIOUS, named)).all()
        entries = await asyncio.to_thread(context_entries, words, tenant_id, rows)
        if entries:
            parameters = {"tenant_id": tenant_id, **term_parameters(entries)}
            await connection.execute(WRITE_TERMS, parameters)
