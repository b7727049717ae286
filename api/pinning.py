"""`/v1/messages/{message_id}/pin` and `/unpin`: what retention must not touch."""

from typing import Any

from litestar import Request, post

from api.entry import WRITE
from api.messages import MessageId, TenantOfMessage, found, stored_message
from api.runtime import NamedRuntime, Runtime
from db.queries.listing import PIN_MESSAGE
from db.sessions import tenant_transaction
from memory.messages import Message

HttpRequest = Request[Any, Any, Any]


@post("/v1/messages/{message_id:str}/pin", status_code=200, tags=["messages"], opt=WRITE)
async def pin_message(
    request: HttpRequest,
    runtime: NamedRuntime,
    message_id: MessageId,
    tenant_id: TenantOfMessage = None,
) -> Message:
    """Keep a message where it is: retention neither archives nor deletes it."""
    message = await found(request, runtime, message_id, tenant_id)
    return await pinned(runtime, message, True)


@post("/v1/messages/{message_id:str}/unpin", status_code=200, tags=["messages"], opt=WRITE)
async def unpin_message(
    request: HttpRequest,
    runtime: NamedRuntime,
    message_id: MessageId,
    tenant_id: TenantOfMessage = None,
) -> Message:
    """Leave a message to retention again."""
    message = await found(request, runtime, message_id, tenant_id)
    return await pinned(runtime, message, False)


async def pinned(runtime: Runtime, message: Message, pin: bool) -> Message:
    """The message, pinned or not as it is wanted."""
    named = {"tenant_id": message.tenant_id, "id": message.id, "pinned": pin}
    async with tenant_transaction(runtime.engine, [message.tenant_id]) as connection:
        await connection.execute(PIN_MESSAGE, named)
    return await stored_message(runtime, message.tenant_id, message.id)
