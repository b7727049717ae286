"""`POST /v1/messages/{message_id}/restore`: out of the archive again."""

from typing import Any

from litestar import Request, Response, post

from api.entry import WRITE
from api.messages import MessageId, TenantOfMessage, found, stored_message
from api.runtime import NamedRuntime
from api.starting import embed_soon
from db.queries.retention import RESTORE_MESSAGE
from db.sessions import tenant_transaction
from memory.messages import Message


@post("/v1/messages/{message_id:str}/restore", status_code=202, tags=["messages"], opt=WRITE)
async def restore_message(
    request: Request[Any, Any, Any],
    runtime: NamedRuntime,
    message_id: MessageId,
    tenant_id: TenantOfMessage = None,
) -> Response[Message]:
    """Bring a message back from the archive.

    202: it is found by its words at once, and its vector follows. 200 when it was not archived.
    """
    before = await found(request, runtime, message_id, tenant_id)
    named = {"tenant_id": before.tenant_id, "id": before.id}
    async with tenant_transaction(runtime.engine, [before.tenant_id]) as connection:
        restored = await connection.scalar(RESTORE_MESSAGE, named)
    if restored is None:
        return Response(before, status_code=200)
    await runtime.answers.changed([before.tenant_id])
    embed_soon(request, runtime, before.tenant_id, [before.id])
    if runtime.upkeep:
        runtime.upkeep.wake()
    after = await stored_message(runtime, before.tenant_id, before.id)
    return Response(after, status_code=202)
