"""`GET /v1/messages`: going through a tenant's messages, page by page."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.params import QueryParameter

from api.entry import READ, enter
from api.runtime import NamedRuntime
from db.queries.listing import Wanted, messages_page
from db.queries.messages import message_from_row
from db.sessions import tenant_transaction
from memory.checks import check_text
from memory.messages import PRINTABLE_PATTERN, TENANT_PATTERN, Archived, EmbeddingStatus, Message

PAGE_MOST = 200


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages in the order in which they came; `next` is the `after` of the next page."""

    items: list[Message]
    next: UUID | None


@get("/v1/messages", tags=["messages"], opt=READ)
async def list_messages(
    request: Request[Any, Any, Any],
    runtime: NamedRuntime,
    tenant_id: Annotated[str, QueryParameter(min_length=1, max_length=64, pattern=TENANT_PATTERN)],
    embedding_status: Annotated[EmbeddingStatus | None, QueryParameter()] = None,
    archived: Annotated[Archived | None, QueryParameter()] = None,
    conversation_id: Annotated[
        str | None, QueryParameter(min_length=1, max_length=128, pattern=PRINTABLE_PATTERN)
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_MOST)] = 50,
    after: Annotated[UUID | None, QueryParameter()] = None,
) -> MessagePage:
    """A tenant's messages in the order in which they came, without the archived ones.

    With `archived` these too, or `only` these; the status `archived` asks for them by itself.
    """
    check_text("conversation_id", conversation_id or "", 128)
    await enter(request, runtime, tenant_id)
    asked_by_status: Archived = "only" if embedding_status == "archived" else "exclude"
    wanted = Wanted(embedding_status, archived or asked_by_status, conversation_id, after)
    async with tenant_transaction(runtime.engine, [tenant_id], planned=True) as connection:
        rows = (await connection.execute(messages_page(tenant_id, wanted, limit + 1))).all()
    items = [message_from_row(row) for row in rows[:limit]]
    return MessagePage(items=items, next=items[-1].id if len(rows) > limit else None)
