"""Storing and reading messages."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, Select, select, text

from db.tables import messages
from memory.lexical.bm25 import Entry
from memory.messages import Message, NewMessage

# One statement stores a group of requests. A row whose Idempotency-Key is taken is left out;
# `insert ... on conflict` waits for another writer that is about to commit the same key, so of
# two requests at once one stores and the other finds what was stored. Keys go in in order, so
# that two groups that share keys cannot wait for each other.
INSERT_MESSAGES = text("""
/* insert_messages */
with input as (
  select * from unnest(
    cast(:tenant_id as text[]), cast(:id as uuid[]), cast(:conversation_id as text[]),
    cast(:role as text[]), cast(:content as text[]), cast(:metadata as jsonb[]),
    cast(:importance_score as float8[]), cast(:importance_override as float8[]),
    cast(:markers as real[]), cast(:embedding_status as text[]), cast(:created_at as timestamptz[]),
    cast(:updated_at as timestamptz[]), cast(:analyser as text[]), cast(:length as int[]),
    cast(:weights as text[]), cast(:keys as text[]), cast(:key as text[]), cast(:digest as bytea[])
  ) with ordinality as input (
    tenant_id, id, conversation_id, role, content, metadata, importance_score,
    importance_override, markers, embedding_status, created_at, updated_at, analyser, length,
    weights, keys, key, digest, place)
), fresh as (
  insert into idempotency_keys (tenant_id, key, digest, message_ids)
  select tenant_id, key, min(digest), array_agg(id order by place)
  from input where key is not null
  group by tenant_id, key order by tenant_id, key
  on conflict (tenant_id, key) do update
    set digest = excluded.digest, message_ids = excluded.message_ids, created_at = now()
    where idempotency_keys.created_at < now() - interval '24 hours'
  returning tenant_id, key
), stored as (
  insert into messages (
    tenant_id, id, conversation_id, role, content, metadata, importance_score,
    importance_override, markers, embedding_status, created_at, ingested_at, updated_at)
  select tenant_id, id, conversation_id, role, content, metadata, importance_score,
    importance_override, markers, embedding_status, created_at, updated_at, updated_at
  from input left join fresh using (tenant_id, key)
  where input.key is null or fresh.key is not null
  order by place
  returning id
)
insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
select tenant_id, id, 'content', analyser, length, cast(weights as sparsevec),
  cast(keys as int8[])
from input join stored using (id) order by place
returning message_id
""")

IDEMPOTENT_REQUEST = text("""
/* idempotent_request */
select digest, message_ids from idempotency_keys where tenant_id = :tenant_id and key = :key
""")

# Across tenants: the purge.
PURGE_IDEMPOTENCY_KEYS = text("""
/* purge_idempotency_keys */
delete from idempotency_keys where (tenant_id, key) in (
  select tenant_id, key from idempotency_keys
  where created_at < now() - interval '24 hours'
  limit :most for update skip locked)
""")

# Across tenants: the one look-up of an operator who knows an id and not its tenant.
TENANT_OF_MESSAGE = text("/* tenant_of_message */ select tenant_of_message(:id)")

# The same for a key that is for some tenants.
TENANT_AMONG = text("""
/* tenant_among */
select tenant_id from messages
where tenant_id = any(cast(:tenants as text[])) and id = :id
""")

STORED_AS_THEY_ARE = (
    "tenant_id",
    "id",
    "conversation_id",
    "role",
    "content",
    "importance_score",
    "embedding_status",
    "created_at",
    "updated_at",
)


class NewRow(NamedTuple):
    """A message to store, as it was asked for and as it will be, with its terms and markers.

    `key` and `digest` are those of an idempotent request.
    """

    new: NewMessage
    message: Message
    terms: Entry
    markers: float
    key: str | None
    digest: bytes | None


def insert_parameters(rows: Sequence[NewRow]) -> dict[str, str]:
    """The arrays of `INSERT_MESSAGES`, in PostgreSQL's own writing.

    The driver would write them element by element, which takes it longer than all else here.
    """
    return {name: array_literal(values) for name, values in insert_columns(rows).items()}


def insert_columns(rows: Sequence[NewRow]) -> dict[str, list[Any]]:
    """What `INSERT_MESSAGES` takes, by column and in the order of `rows`."""
    stored = [row.message for row in rows]
    return {
        **{name: [getattr(message, name) for message in stored] for name in STORED_AS_THEY_ARE},
        "metadata": [msgspec.json.encode(message.metadata).decode() for message in stored],
        "importance_override": [row.new.importance_override for row in rows],
        "markers": [row.markers for row in rows],
        **{name: [getattr(row.terms, name) for row in rows] for name in Entry._fields},
        "key": [row.key for row in rows],
        "digest": [row.digest and f"\\x{row.digest.hex()}" for row in rows],
    }


def array_literal(values: Iterable[Any]) -> str:
    """`values` as the text of an array of one dimension; None is NULL."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value)
    # An array in an array of texts, an empty text, and whatever has a mark of an array's in it.
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def stored_messages() -> Select[Any]:
    """Stored messages, to be narrowed down; read each with `message_from_row`."""
    return select(
        messages.c.id,
        messages.c.tenant_id,
        messages.c.conversation_id,
        messages.c.role,
        messages.c.content,
        messages.c.metadata_.label("metadata"),
        messages.c.importance_score,
        messages.c.embedding_status,
        messages.c.created_at,
        messages.c.updated_at,
        messages.c.embedding_error,
        messages.c.pinned,
        messages.c.archived_at,
    )


def messages_by_id(tenant_id: str, ids: Sequence[UUID]) -> Select[Any]:
    """Those of `ids`, in no order."""
    found = stored_messages().prefix_with("/* messages_by_id */")
    return found.where(messages.c.tenant_id == tenant_id, messages.c.id.in_(ids))


def message_from_row(row: Row[Any]) -> Message:
    """The message of a row of `stored_messages`."""
    return Message(**row._mapping)
