"""Bringing messages back as they were, under the ids that they had."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select, select, text

from db.tables import messages

# What is there already stays as it is. For retention an imported message is as new as a restored
# one, whichever age counts. No time of the service's own lies
# ahead: the sweep would wait for it.
IMPORT_MESSAGES = text("""
/* import_messages */
insert into messages (
  tenant_id, id, conversation_id, role, content, metadata, importance_score,
  importance_override, pinned, created_at, ingested_at, updated_at, archived_at, restored_at,
  markers, rarity, embedding_status, content_version)
select :tenant_id, id, conversation_id, role, content, metadata, importance_score,
  importance_override, pinned, created_at, least(coalesce(ingested_at, now()), now()),
  least(coalesce(updated_at, now()), now()),
  case when archived_at is not null then least(archived_at, now()) end, now(),
  markers, rarity, embedding_status, content_version
from unnest(
  cast(:id as uuid[]), cast(:conversation_id as text[]), cast(:role as text[]),
  cast(:content as text[]), cast(:metadata as jsonb[]), cast(:importance_score as float8[]),
  cast(:importance_override as float8[]), cast(:pinned as boolean[]),
  cast(:created_at as timestamptz[]), cast(:ingested_at as timestamptz[]),
  cast(:updated_at as timestamptz[]), cast(:archived_at as timestamptz[]),
  cast(:markers as real[]), cast(:rarity as real[]), cast(:embedding_status as text[]),
  cast(:content_version as int[])
) as input (
  id, conversation_id, role, content, metadata, importance_score, importance_override, pinned,
  created_at, ingested_at, updated_at, archived_at, markers, rarity, embedding_status,
  content_version)
order by id
on conflict (tenant_id, id) do nothing
returning id
""")

IMPORT_USES = text("""
/* import_uses */
insert into message_uses (tenant_id, message_id, uses, counted_at)
select :tenant_id, message_id, uses, least(coalesce(counted_at, now()), now())
from unnest(cast(:message_ids as uuid[]), cast(:uses as float8[]),
  cast(:counted_at as timestamptz[])) as input (message_id, uses, counted_at)
order by message_id
on conflict (tenant_id, message_id) do nothing
""")

# Of others, who may write a vector for the version that is replaced, each waits here or is waited
# for.
LOCK_THERE = text("""
/* lock_there */
select id, content_version from messages
where tenant_id = :tenant_id and id = any(cast(:ids as uuid[])) order by id for update
""")

KEPT = (
    "id",
    "conversation_id",
    "role",
    "content",
    "importance_score",
    "importance_override",
    "pinned",
    "created_at",
    "ingested_at",
    "updated_at",
    "archived_at",
    "markers",
    "rarity",
)
# What was said and of whom, which nothing but an import of another message changes.
SAID = ("conversation_id", "role", "content", "metadata", "created_at")


def said_there(tenant_id: str, ids: Sequence[UUID]) -> Select[Any]:
    """What those of `ids` say that are there."""
    shown = [
        messages.c.metadata_.label(name) if name == "metadata" else messages.c[name]
        for name in SAID
    ]
    found = select(messages.c.id, *shown).prefix_with("/* said_there */")
    return found.where(messages.c.tenant_id == tenant_id, messages.c.id.in_(ids))


def import_parameters(
    tenant_id: str, imported: Sequence[Any], statuses: Sequence[str], versions: Sequence[int]
) -> dict[str, Any]:
    """The parameters of `IMPORT_MESSAGES` for messages of one tenant."""
    return {
        "tenant_id": tenant_id,
        **{name: [getattr(message, name) for message in imported] for name in KEPT},
        "metadata": [msgspec.json.encode(message.metadata).decode() for message in imported],
        "embedding_status": list(statuses),
        "content_version": list(versions),
    }
