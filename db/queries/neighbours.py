"""The messages that stand around others in their conversations."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from memory.search import Neighbour

# For each named message up to `reach` before it, itself, and up to `reach` after it.
NEIGHBOURS = text("""
/* neighbours */
with hits as (
  select id, conversation_id, created_at from messages
  where tenant_id = :tenant_id and id = any(cast(:ids as uuid[]))
    and (archived_at is null or :include_archived)
)
select hits.id as hit_id, near.id, near.role, near.content, near.created_at
from hits cross join lateral (
  (
    select id, role, content, created_at from messages
    where messages.tenant_id = :tenant_id and messages.conversation_id = hits.conversation_id
      and (messages.created_at, messages.id) <= (hits.created_at, hits.id)
      and (archived_at is null or :include_archived)
    order by messages.created_at desc, messages.id desc limit :reach + 1
  ) union all (
    select id, role, content, created_at from messages
    where messages.tenant_id = :tenant_id and messages.conversation_id = hits.conversation_id
      and (messages.created_at, messages.id) > (hits.created_at, hits.id)
      and (archived_at is null or :include_archived)
    order by messages.created_at, messages.id limit :reach
  )
) as near
order by hits.id, near.created_at, near.id
""")


def windows_from_rows(rows: Iterable[Sequence[Any]]) -> dict[UUID, list[Neighbour]]:
    """The messages around each hit, itself among them, in their order, by the hit's id."""
    windows: dict[UUID, list[Neighbour]] = defaultdict(list)
    for hit_id, message_id, role, content, created_at in rows:
        windows[hit_id].append(
            Neighbour(message_id=message_id, role=role, content=content, created_at=created_at)
        )
    return windows
