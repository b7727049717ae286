"""Storing messages: concurrent requests go into the database together, one statement a group."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import msgspec
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.contexts import index_contexts
from api.vectors import store_vectors, wanted_models
from db.queries.messages import (
    IDEMPOTENT_REQUEST,
    INSERT_MESSAGES,
    NewRow,
    insert_parameters,
    message_from_row,
    messages_by_id,
)
from db.sessions import check_bound, tenant_transaction
from memory import tracing
from memory.embedding.protocol import Vectors
from memory.errors import IdempotencyConflictError, IdempotencyGoneError
from memory.lexical.analysis import Analyser
from memory.lexical.bm25 import Entry
from memory.messages import Message, NewMessage

GROUP_MESSAGES = 500
WRITERS = 2
# Longer than the server lets a statement take. A connection that has died in silence would
# otherwise hold its writer, and with it all who post, for as long as TCP hopes.
STORE_SECONDS = 35


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and a digest of the request that came with it."""

    value: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a request: its messages, and whether an earlier request stored them."""

    messages: list[Message]
    replayed: bool


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Messages to store as one: all of them or none. With a key they are of one tenant."""

    messages: Sequence[tuple[NewMessage, Message]]
    terms: Sequence[Entry]
    markers: Sequence[float]
    analysers: Mapping[str, Analyser]
    key: Key | None = None
    vectors: Sequence[Vectors] = ()
    model_id: int = 0
    origin: tracing.Origin = field(default_factory=tracing.here)
    done: asyncio.Future[Stored] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def identity(self) -> tuple[str, str] | None:
        """The tenant and key that no other request may store under."""
        return (self.messages[0][1].tenant_id, self.key.value) if self.key else None

    def as_wanted(self, models: Set[int]) -> "Request":
        """This request as it is to be stored when vectors of `models` are wanted.

        Messages that were embedded with another are pending; vectors of a model that is wanted no
        longer are left out.
        """
        if not self.vectors or models == {self.model_id}:
            return self
        pending = [
            (new, msgspec.structs.replace(message, embedding_status="pending"))
            for new, message in self.messages
        ]
        vectors = self.vectors if self.model_id in models else ()
        return replace(self, messages=pending, vectors=vectors)

    def embedded(self) -> list[tuple[Message, int, Vectors]]:
        """The messages that have vectors, each with its model and them."""
        pairs = zip(self.messages, self.vectors, strict=False)
        return [(message, self.model_id, vectors) for (_, message), vectors in pairs]


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
        while True:
            group = [await self._waiting.get()]
            size = len(group[0].messages)
            while size < GROUP_MESSAGES and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
                size += len(group[-1].messages)
            try:
                await self._store_group(group)
            finally:
                for _ in group:
                    self._waiting.task_done()

    async def _store_group(self, group: list[Request]) -> None:
        first, repeated = split_repeated(group)
        await self._try_together(first)
        # A key that came twice in one group: the second finds what the first has stored.
        for request in repeated:
            await self._try_together([request])

    async def _try_together(self, group: list[Request]) -> None:
        try:
            with storing(group):
                async with asyncio.timeout(STORE_SECONDS):
                    outcomes = await self._store_all(group)
        except (DataError, IntegrityError) as error:
            if len(group) == 1:
                settle(group[0], error)
            # One of them is bad: each alone, so that no other fails with it.
            for request in group if len(group) > 1 else ():
                await self._try_together([request])
        except Exception as error:
            for request in group:
                settle(request, error)
        else:
            for request, outcome in zip(group, outcomes, strict=True):
                settle(request, outcome)

    async def _store_all(self, group: list[Request]) -> list[Stored | Exception]:
        tenants = {message.tenant_id for request in group for _, message in request.messages}
        async with tenant_transaction(self._engine, tenants) as connection:
            if any(request.vectors for request in group):
                wanted = await wanted_models(connection)
                group = [request.as_wanted(wanted) for request in group]
            parameters = insert_parameters(new_rows(group))
            inserted = set((await connection.execute(INSERT_MESSAGES, parameters)).scalars())
            fresh = [request.messages[0][1].id in inserted for request in group]
            stored = [request for request, new in zip(group, fresh, strict=True) if new]
            await store_vectors(connection, [each for one in stored for each in one.embedded()])
            outcomes = [
                Stored([message for _, message in request.messages], replayed=False)
                if new
                else await replay(connection, request)
                for request, new in zip(group, fresh, strict=True)
            ]
        for request in stored:
            if request.vectors:
                await index_contexts(self._engine, request.analysers, request.messages)
        return outcomes


def storing(group: Sequence[Request]) -> tracing.Span:
    """The span of what is stored at once."""
    messages = sum(len(request.messages) for request in group)
    counted = {"memory.requests": len(group), "memory.messages": messages}
    return tracing.group("store messages", [each.origin for each in group], attributes=counted)


def new_rows(group: Sequence[Request]) -> list[NewRow]:
    """The rows of the messages of `group`, in their order."""
    return [
        NewRow(
            new,
            message,
            terms,
            markers,
            *((request.key.value, request.key.digest) if request.key else (None,) * 2),
        )
        for request in group
        for (new, message), terms, markers in zip(
            request.messages, request.terms, request.markers, strict=True
        )
    ]


def split_repeated(group: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """The requests that can be stored together, and those whose key is among them already."""
    first: list[Request] = []
    repeated: list[Request] = []
    seen: set[tuple[str, str]] = set()
    for request in group:
        (repeated if request.identity in seen else first).append(request)
        if request.identity:
            seen.add(request.identity)
    return first, repeated


def settle(request: Request, outcome: Stored | Exception) -> None:
    """Give `request` its outcome; nobody may be waiting for it any more."""
    if isinstance(outcome, Stored):
        request.done.set_result(outcome)
        return
    request.done.set_exception(outcome)
    # Read once, or asyncio reports an error that nobody fetched when the caller has gone.
    request.done.exception()


async def replay(connection: AsyncConnection, request: Request) -> Stored | Exception:
    """What the first request with this key stored; an error when that was another request."""
    if request.key is None or request.identity is None:
        return LookupError("a message without a key was not stored")
    tenant_id, value = request.identity
    found = await connection.execute(IDEMPOTENT_REQUEST, {"tenant_id": tenant_id, "key": value})
    row = found.one()
    if bytes(row.digest) != request.key.digest:
        return IdempotencyConflictError("This Idempotency-Key was used with another body.")
    stored = await connection.execute(messages_by_id(tenant_id, row.message_ids))
    by_id = {each.id: message_from_row(each) for each in stored}
    if len(by_id) < len(row.message_ids):
        return IdempotencyGoneError("What this Idempotency-Key stored has been deleted since.")
    return Stored([by_id[id_] for id_ in row.message_ids], replayed=True)
