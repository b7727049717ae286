"""What the API stores for messages, row by row: by pgbench, the floor of `POST /v1/messages`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bench.speed import pgbench
from bench.speed.pgbench import Rate
from bench.speed.posting import NUMBER, TENANTS, messages
from bench.speed.running import Service
from db.queries.messages import NewRow, insert_columns
from memory.lexical.analysis import analyser
from memory.lexical.bm25 import content_entry
from memory.markers import markers
from memory.messages import NewMessage, accept
from memory.settings import Settings
from memory.tenants import TenantSettings, effective

ROWS = 1_000
STORED = (
    "conversation_id",
    "role",
    "content",
    "metadata",
    "importance_score",
    "markers",
    "embedding_status",
)

# What one message is in the store, as the API's role, which row-level security holds: `number`
# makes each text, and with it one of its terms, another. All else is as the API has it.
INSERT = rf"""
\set place random(0, {ROWS - 1})
\set number random(1, 999999999)
\set tenant :place % {len(TENANTS)}
\startpipeline
begin;
select set_config('memory.tenants', 'tenant-' || :tenant, true);
with input as materialized (
  select * from bench_messages where place = :place
), stored as (
  insert into messages (
    tenant_id, id, conversation_id, role, content, metadata, importance_score, markers,
    embedding_status, created_at, ingested_at, updated_at)
  select tenant_id, uuidv7(), conversation_id, role,
    replace(content, '{NUMBER}', cast(:number as text)), cast(metadata as jsonb),
    cast(importance_score as float8), cast(markers as real), embedding_status, now(), now(), now()
  from input
  returning id
)
insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
select tenant_id, stored.id, 'content', analyser, cast(length as int), cast(weights as sparsevec),
  array_append(cast(keys as int8[]), :number)
from input, stored;
commit;
\endpipeline
"""


def rows_of(settings: Settings, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The columns, by name, that the API stores for the texts as messages."""
    own = effective(settings, TenantSettings())
    words, now = analyser(own.language), datetime.now(UTC)
    rows = []
    for each in messages(texts, NUMBER):
        new = msgspec.convert(each, NewMessage)
        marks = markers(new.content)
        stored = accept(new, "pending", now, marks, own)
        terms = content_entry(words, new.tenant_id, new.content, new.metadata)
        rows.append(NewRow(new, stored, terms, marks, None, None))
    columns = insert_columns(rows)
    return [{name: values[n] for name, values in columns.items()} for n in range(len(rows))]


def keep_rows(found: Service, texts: Sequence[str]) -> None:
    """Lay out what `insert` is to store."""
    repeated = [texts[place % len(texts)] for place in range(ROWS)]
    rows = rows_of(found.settings, repeated)
    pgbench.keep(found, "bench_messages", rows)


def insert(found: Service, clients: int, seconds: float) -> Rate:
    """Store messages one by one, by so many clients."""
    return pgbench.run(found, INSERT, {}, clients, seconds)
