"""What is to be stored as one, and what becomes of it."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from db.queries.messages import IDEMPOTENT_REQUEST, NewRow, message_from_row, messages_by_id
from memory import tracing
from memory.embedding.protocol import Vectors
from memory.errors import IdempotencyConflictError, IdempotencyGoneError
from memory.lexical.analysis import Analyser
from memory.lexical.bm25 import Entry
from memory.messages import Message, NewMessage


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


def tenants_of(group: Sequence[Request]) -> set[str]:
    """Whose the messages of `group` are."""
    return {message.tenant_id for request in group for _, message in request.messages}


def is_among(inserted: Set[UUID], request: Request) -> bool:
    """Whether `request` was stored now, and not by an earlier one with its key."""
    return request.messages[0][1].id in inserted


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
    """Give `request` its outcome, unless it has one; nobody may be waiting for it any more."""
    if request.done.done():
        return
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
