"""Messages as an operator goes through them, page by page, and takes care of one."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, text, tuple_

from db.queries.messages import stored_messages
from db.tables import messages
from memory.messages import Archived, EmbeddingStatus

FIRST = UUID(int=0)

PIN_MESSAGE = text("""
/* pin_message */
update messages set pinned = :pinned, updated_at = now()
where tenant_id = :tenant_id and id = :id and pinned <> cast(:pinned as boolean)
""")


class Wanted(NamedTuple):
    """Which messages of a tenant; None filters nothing."""

    embedding_status: EmbeddingStatus | None
    archived: Archived
    conversation_id: str | None
    after: UUID | None


def messages_page(tenant_id: str, wanted: Wanted, most: int) -> Select[Any]:
    """At most `most` messages by their ids; read each with `message_from_row`.

    To be planned for its parameters, or the partial indexes on the status cannot serve it.
    """
    page = stored_messages().prefix_with("/* messages_page */")
    if wanted.archived != "include":
        archived = messages.c.archived_at.is_not(None)
        page = page.where(archived if wanted.archived == "only" else ~archived)
    if wanted.embedding_status:
        page = page.where(messages.c.embedding_status == wanted.embedding_status)
    after = wanted.after or FIRST
    if wanted.conversation_id is not None:
        of_conversation = messages.c.conversation_id == wanted.conversation_id
        page = page.where(messages.c.tenant_id == tenant_id, of_conversation, messages.c.id > after)
    else:
        # An equality would do as well, but then the order is that of the ids alone: PostgreSQL
        # goes by their index from the first message of all tenants on, to a new tenant's for long.
        place = tuple_(messages.c.tenant_id, messages.c.id)
        page = page.where(place > (tenant_id, after), messages.c.tenant_id <= tenant_id)
    return page.order_by(messages.c.tenant_id, messages.c.id).limit(most)
