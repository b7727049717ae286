"""Bringing messages back as they were, under the ids that they had."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from memory.lexical.bm25 import Entry

# What is there already stays as it is. For retention an imported message is as new as a restored
# one, whichever age counts.
IMPORT_MESSAGES = text("""
/* import_messages */
with input as (
  select * from unnest(
    cast(:id as uuid[]), cast(:conversation_id as text[]), cast(:role as text[]),
    cast(:content as text[]), cast(:metadata as jsonb[]), cast(:importance_score as float8[]),
    cast(:importance_override as float8[]), cast(:pinned as boolean[]),
    cast(:created_at as timestamptz[]), cast(:analyser as text[]), cast(:length as int[]),
    cast(:weights as text[]), cast(:keys as text[])
  ) as input (
    id, conversation_id, role, content, metadata, importance_score, importance_override, pinned,
    created_at, analyser, length, weights, keys)
), stored as (
  insert into messages (
    tenant_id, id, conversation_id, role, content, metadata, importance_score,
    importance_override, pinned, created_at, restored_at)
  select :tenant_id, id, conversation_id, role, content, metadata, importance_score,
    importance_override, pinned, created_at, now()
  from input order by id
  on conflict (tenant_id, id) do nothing
  returning id
)
insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
select :tenant_id, id, 'content', analyser, length, cast(weights as sparsevec),
  cast(keys as int8[])
from input join stored using (id)
returning message_id
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
)


def import_parameters(
    tenant_id: str, messages: Sequence[Any], entries: Sequence[Entry]
) -> dict[str, Any]:
    """The parameters of `IMPORT_MESSAGES` for messages of one tenant, with their terms."""
    return {
        "tenant_id": tenant_id,
        **{name: [getattr(message, name) for message in messages] for name in KEPT},
        "metadata": [msgspec.json.encode(message.metadata).decode() for message in messages],
        **{name: [getattr(entry, name) for entry in entries] for name in Entry._fields},
    }
