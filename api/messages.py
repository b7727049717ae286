"""`/v1/messages`: storing messages and reading one."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.params import PathParameter, QueryParameter, RawBody
from litestar.types import Scope

from api.bodies import check_json, read_batch, read_id, read_idempotency_key, read_message
from api.entry import READ, WRITE, enter, enter_to_store
from api.openapi import documented_body
from api.runtime import NamedRuntime, Runtime
from api.storing import Key, Stored
from api.storing import Request as StoreRequest
from db.queries.messages import (
    TENANT_AMONG,
    TENANT_OF_MESSAGE,
    message_from_row,
    messages_by_id,
)
from db.sessions import operator_transaction, tenant_transaction, visible_tenants
from memory.embedding.batching import embed_contents
from memory.embedding.protocol import Vectors
from memory.errors import MessageNotFoundError
from memory.lexical.analysis import analyser
from memory.messages import (
    TENANT_PATTERN,
    EmbeddingStatus,
    Message,
    MessageBatch,
    NewMessage,
    RowError,
    StoredBatch,
    accept,
    request_digest,
)
from tasks.metrics import timed

PATH = "/v1/messages"
HttpRequest = Request[Any, Any, Any]
Answer = TypeVar("Answer")
MessageId = Annotated[str, PathParameter(description="The message's id, a UUID.")]
TenantOfMessage = Annotated[
    str | None, QueryParameter(min_length=1, max_length=64, pattern=TENANT_PATTERN)
]


@post(PATH, operation_class=documented_body(NewMessage), status_code=202, opt=WRITE)
async def create_message(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[Message]:
    """Store a message. 202 means that it is durable; its vector follows."""
    check_json(request)
    new = read_message(body, runtime.settings.content_max_chars)
    stored = await store(request.scope, runtime, [new], request.headers.get("idempotency-key"))
    return answer(runtime, stored, stored.messages[0])


@post(
    "/v1/messages/batch", operation_class=documented_body(MessageBatch), status_code=202, opt=WRITE
)
async def create_messages(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[StoredBatch]:
    """Store up to 1,000 messages: all or none, or with `partial` those that are valid."""
    check_json(request)
    most = runtime.settings.content_max_chars
    new, errors = await runtime.reader.decode(read_batch, body, most)
    stored = await store(request.scope, runtime, new, request.headers.get("idempotency-key"))
    rejected = [
        RowError(index=error.index or 0, field=error.field, message=error.message)
        for error in errors
    ]
    batch = StoredBatch(stored=len(stored.messages), items=stored.messages, errors=rejected)
    return answer(runtime, stored, batch)


@get("/v1/messages/{message_id:str}", opt=READ)
async def get_message(
    request: HttpRequest,
    runtime: NamedRuntime,
    message_id: MessageId,
    tenant_id: TenantOfMessage = None,
) -> Message:
    """A stored message, and how far its embedding is."""
    return await found(request, runtime, message_id, tenant_id)


async def found(
    request: HttpRequest, runtime: Runtime, message_id: str, tenant_id: str | None
) -> Message:
    """The message with this id, of this tenant if one is named, of any that is the caller's if not.

    The caller is let in to its tenant. Raises `InvalidFieldError` when it can be no id, and
    `MessageNotFoundError`.
    """
    wanted = read_id("message_id", message_id)
    tenant_id = tenant_id or await tenant_of(runtime, wanted)
    if tenant_id is None:
        raise MessageNotFoundError
    await enter(request, runtime, tenant_id)
    return await stored_message(runtime, tenant_id, wanted)


async def stored_message(runtime: Runtime, tenant_id: str, message_id: UUID) -> Message:
    """A message as it stands; raises `MessageNotFoundError`."""
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        row = (await connection.execute(messages_by_id(tenant_id, [message_id]))).one_or_none()
    if row is None:
        raise MessageNotFoundError
    return message_from_row(row)


async def tenant_of(runtime: Runtime, message_id: UUID) -> str | None:
    """The tenant of a message, None when it is none that the caller may know of."""
    tenants = visible_tenants()
    found: str | None
    if tenants is None:
        async with operator_transaction(runtime.engine) as connection:
            found = await connection.scalar(TENANT_OF_MESSAGE, {"id": message_id})
    else:
        named = {"tenants": tenants, "id": message_id}
        async with tenant_transaction(runtime.engine, tenants) as connection:
            found = await connection.scalar(TENANT_AMONG, named)
    return found


async def store(
    scope: Scope, runtime: Runtime, new: Sequence[NewMessage], idempotency_key: str | None
) -> Stored:
    """Commit `new` as one, then have what is pending embedded."""
    key = read_idempotency_key(idempotency_key, new)
    await enter_to_store(scope, runtime, new)
    inline = not runtime.settings.async_embeddings
    now = datetime.now(UTC)
    settings = await runtime.tenants.all_effective({each.tenant_id for each in new})
    analysers = {tenant_id: analyser(own.language) for tenant_id, own in settings.items()}
    terms, marks = await runtime.reader.read(new, analysers)
    status: EmbeddingStatus = "completed" if inline else "pending"
    accepted = [
        (each, accept(each, status, now, mark, settings[each.tenant_id]))
        for each, mark in zip(new, marks, strict=True)
    ]
    model_id, vectors = await embedded(runtime, new) if inline else (0, [])
    stored = await runtime.ingest.store(
        StoreRequest(
            messages=accepted,
            terms=terms,
            markers=marks,
            analysers=analysers,
            key=Key(key, request_digest(list(new))) if key else None,
            vectors=vectors,
            model_id=model_id,
        )
    )
    if not stored.replayed:
        runtime.metrics.stored(each.tenant_id for each in new)
        if not is_pending(stored):
            seconds = (datetime.now(UTC) - now).total_seconds()
            runtime.metrics.work.note_embedded([seconds] * len(new))
        await runtime.answers.changed(analysers)
        set_about(scope, runtime, stored, analysers)
    return stored


def set_about(scope: Scope, runtime: Runtime, stored: Stored, tenants: Collection[str]) -> None:
    """Have what is pending embedded, by the workers or by this process."""
    if runtime.upkeep:
        runtime.upkeep.note(tenants, len(stored.messages))
        if is_pending(stored):
            runtime.upkeep.wake()
    if runtime.publisher:
        pairs = [(message.tenant_id, message.id) for message in stored.messages]
        runtime.publisher.publish(pairs, scope["request_id"])  # type: ignore[typeddict-item]


async def embedded(runtime: Runtime, new: Sequence[NewMessage]) -> tuple[int, list[Vectors]]:
    """The vectors of `new`, one array a message, and the id of the model that made them."""
    model = runtime.model
    contents = [each.content for each in new]
    with timed(runtime.metrics.work.embedding_seconds):
        return model.id, await asyncio.to_thread(embed_contents, model.embedder, contents)


def is_pending(stored: Stored) -> bool:
    """Whether a vector is still to come: inline, when another model is wanted by now, too."""
    return any(message.embedding_status == "pending" for message in stored.messages)


def answer(runtime: Runtime, stored: Stored, content: Answer) -> Response[Answer]:
    """What is answered to who has posted `stored`."""
    status, headers = outcome_of(runtime, stored)
    return Response(content, status_code=status, headers=headers)


def outcome_of(runtime: Runtime, stored: Stored) -> tuple[int, dict[str, str]]:
    """202 while vectors are still to come, 200 when they are stored with the message."""
    headers = {"Idempotency-Replayed": "true"} if stored.replayed else {}
    status = 202 if runtime.settings.async_embeddings or is_pending(stored) else 200
    return status, headers


def messages_router(batch_max_bytes: int) -> Router:
    """The routes of this page; batches have a size limit of their own."""
    batches = Router("/", route_handlers=[create_messages], request_max_body_size=batch_max_bytes)
    return Router("/", route_handlers=[create_message, get_message, batches], tags=["messages"])
