"""Storing messages: concurrent requests go into the database together, one statement a group."""

import asyncio
import contextlib
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.contexts import index_contexts
from api.storing import (
    Request,
    Stored,
    is_among,
    new_rows,
    replay,
    settle,
    split_repeated,
    tenants_of,
)
from api.vectors import store_vectors, wanted_models
from db.pipelined import Pipelined
from db.queries.messages import INSERT_MESSAGES, insert_parameters
from db.sessions import check_bound, tenant_transaction
from memory import tracing

GROUP_MESSAGES = 500
WRITERS = 2
# Longer than the server lets a statement take. A connection that has died in silence would
# otherwise hold its writer, and with it all who post, for as long as TCP hopes.
STORE_SECONDS = 35


class Ingest:
    """Gathers the requests that wait and stores them in groups.

    While a group is on its way to the database the next one fills up, so groups are as large as
    the load makes them and a lone request waits for nothing.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: asyncio.Queue[Request] = asyncio.Queue()
        self._writers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to store."""
        self._writers = [asyncio.create_task(self._write()) for _ in range(WRITERS)]

    async def stop(self) -> None:
        """Store what waits, then end."""
        await self._waiting.join()
        for writer in self._writers:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def store(self, request: Request) -> Stored:
        """Commit `request` and give what is stored.

        A caller that is cancelled cancels neither its group nor the commit. Raises
        `IdempotencyError`, or SQLAlchemy's errors when the database fails.
        """
        # Here, for the writers know no caller.
        check_bound({message.tenant_id for _, message in request.messages})
        self._waiting.put_nowait(request)
        return await asyncio.shield(request.done)

    async def _write(self) -> None:
        connection = Pipelined(self._engine)
        try:
            while True:
                await self._store_next(connection)
        finally:
            await connection.aclose()

    async def _store_next(self, connection: Pipelined) -> None:
        group = [await self._waiting.get()]
        size = len(group[0].messages)
        while size < GROUP_MESSAGES and not self._waiting.empty():
            group.append(self._waiting.get_nowait())
            size += len(group[-1].messages)
        try:
            await self._store_group(connection, group)
        finally:
            for _ in group:
                self._waiting.task_done()

    async def _store_group(self, connection: Pipelined, group: list[Request]) -> None:
        first, repeated = split_repeated(group)
        await self._try_together(connection, first)
        # A key that came twice in one group: the second finds what the first has stored.
        for request in repeated:
            await self._try_together(connection, [request])

    async def _try_together(self, connection: Pipelined, group: list[Request]) -> None:
        try:
            with storing(group):
                async with asyncio.timeout(STORE_SECONDS):
                    await self._store_all(connection, group)
        except (DataError, IntegrityError) as error:
            if len(group) == 1:
                settle(group[0], error)
            # One of them is bad: each alone, so that no other fails with it.
            for request in group if len(group) > 1 else ():
                await self._try_together(connection, [request])
        except Exception as error:
            for request in group:
                settle(request, error)

    async def _store_all(self, connection: Pipelined, group: list[Request]) -> None:
        if any(request.vectors for request in group):
            inserted = await self._insert_with_vectors(group)
        else:
            parameters = insert_parameters(new_rows(group))
            rows = await connection.execute(tenants_of(group), INSERT_MESSAGES, parameters)
            inserted = {id_ for (id_,) in rows}
        for request in group:
            if is_among(inserted, request):
                # At once, for it is durable, whatever becomes of the others.
                messages = [message for _, message in request.messages]
                settle(request, Stored(messages, replayed=False))
        for request in group:
            if not is_among(inserted, request):
                settle(request, await self._replay(request))

    async def _insert_with_vectors(self, group: list[Request]) -> set[UUID]:
        """Store what comes with vectors; the ids of the messages that are new."""
        async with tenant_transaction(self._engine, tenants_of(group)) as connection:
            wanted = await wanted_models(connection)
            group[:] = [request.as_wanted(wanted) for request in group]
            parameters = insert_parameters(new_rows(group))
            inserted = set((await connection.execute(INSERT_MESSAGES, parameters)).scalars())
            stored = [request for request in group if is_among(inserted, request)]
            await store_vectors(connection, [each for one in stored for each in one.embedded()])
        for request in stored:
            if request.vectors:
                await index_contexts(self._engine, request.analysers, request.messages)
        return inserted

    async def _replay(self, request: Request) -> Stored | Exception:
        try:
            async with tenant_transaction(self._engine, tenants_of([request])) as connection:
                return await replay(connection, request)
        except Exception as error:
            # Its own: what was stored beside it stands.
            return error


def storing(group: Sequence[Request]) -> tracing.Span:
    """The span of what is stored at once."""
    messages = sum(len(request.messages) for request in group)
    counted = {"memory.requests": len(group), "memory.messages": messages}
    return tracing.group("store messages", [each.origin for each in group], attributes=counted)
