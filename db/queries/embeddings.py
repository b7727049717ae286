"""The outbox: claiming pending messages, writing their vectors, giving up on the hopeless.

A message waits while `embedding_status` is pending. A worker claims it for a time, which also
counts an attempt, so that one that kills its worker is counted too. Whatever ends without a
result is free again when its claim runs out.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from sqlalchemy import text

from memory.embedding.protocol import Vectors

# Rows of an earlier failed attempt are claimed alone, or a poison message would use up the
# attempts of all that lie beside it. `budget` bounds the characters of one claim, so that it
# is embedded well within its lease; the first row always fits, and with a budget of 1 no other.
CLAIM_PENDING = text("""
/* claim_pending */
with named as (
  select id, content, content_version,
    sum(length(content)) over (order by id) - length(content) as before
  from (
    select * from messages
    where tenant_id = :tenant_id and id = any(cast(:ids as uuid[])) and embedding_status = 'pending'
      and (claimed_until is null or claimed_until < now())
      and embedding_attempts < :max_attempts
      and (embedding_attempts = 0 or :alone)
    for update skip locked
  ) as free
)
update messages
set claimed_until = now() + make_interval(secs => :lease),
  embedding_attempts = messages.embedding_attempts + 1
from named
where messages.tenant_id = :tenant_id and messages.id = named.id and named.before < :budget
returning messages.id, messages.content, messages.content_version,
  extract(epoch from now() - messages.pending_since)::float8
""")

# What else of the tenant waits and was never tried: a batch under load grows by these.
WAITING = text("""
/* waiting */
select id from messages
where tenant_id = :tenant_id and embedding_status = 'pending' and claimed_until is null
  and embedding_attempts = 0
order by id limit :most
""")

WRITE_VECTORS = text("""
/* write_vectors */
with embedded as (
  update messages
  set embedding_status = 'completed', embedding_error = null, claimed_until = null,
    updated_at = now()
  from unnest(cast(:ids as uuid[]), cast(:versions as int[])) as input (id, version)
  where messages.tenant_id = :tenant_id and messages.id = input.id
    and messages.content_version = input.version and messages.embedding_status = 'pending'
  returning messages.id
)
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
select :tenant_id, input.id, :model_id, 'content', input.part, cast(input.vector as halfvec)
from unnest(cast(:part_ids as uuid[]), cast(:parts as smallint[]), cast(:vectors as text[]))
  as input (id, part, vector)
join embedded using (id)
on conflict (tenant_id, message_id, model_id, kind, part) do update
  set embedding = excluded.embedding
""")

# Vectors beside those that a message may have, of a model that it is not judged by yet. Locked
# against who archives: an archived message has no vectors.
FILL_VECTORS = text("""
/* fill_vectors */
with current as (
  select messages.id
  from messages join unnest(cast(:ids as uuid[]), cast(:versions as int[])) as input (id, version)
    on messages.id = input.id and messages.content_version = input.version
  where messages.tenant_id = :tenant_id and messages.archived_at is null
  order by messages.id for share of messages
)
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
select :tenant_id, input.id, :model_id, 'content', input.part, cast(input.vector as halfvec)
from unnest(cast(:part_ids as uuid[]), cast(:parts as smallint[]), cast(:vectors as text[]))
  as input (id, part, vector)
join current using (id)
on conflict (tenant_id, message_id, model_id, kind, part) do update
  set embedding = excluded.embedding
""")

INSERT_VECTORS = text("""
/* insert_vectors */
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
select tenant_id, id, model_id, 'content', part, cast(vector as halfvec)
from unnest(cast(:tenant_ids as text[]), cast(:part_ids as uuid[]),
  cast(:model_ids as smallint[]), cast(:parts as smallint[]), cast(:vectors as text[]))
  as input (tenant_id, id, model_id, part, vector)
""")

# A failed try frees the row later and later, or ends it when no try is left or none can help.
RELEASE_CLAIM = text("""
/* release_claim */
update messages
set embedding_error = :error, updated_at = now(),
  embedding_status =
    case when :hopeless or embedding_attempts >= :max_attempts then 'failed' else 'pending' end,
  claimed_until =
    now() + make_interval(secs => least(600, :delay * power(4, embedding_attempts - 1)))
from unnest(cast(:ids as uuid[]), cast(:versions as int[])) as input (id, version)
where tenant_id = :tenant_id and messages.id = input.id
  and content_version = input.version and embedding_status = 'pending'
returning embedding_status
""")

# The worker is to end: another may take them at once, and the attempt has not been one.
GIVE_BACK = text("""
/* give_back */
update messages
set claimed_until = null, embedding_attempts = greatest(embedding_attempts - 1, 0)
from unnest(cast(:ids as uuid[]), cast(:versions as int[])) as input (id, version)
where tenant_id = :tenant_id and messages.id = input.id
  and content_version = input.version and embedding_status = 'pending'
""")

# Across tenants: the sweep. A new message is left to its own task for `grace` seconds. Only what is
# behind the place given, in the order of the index of what is pending.
OVERDUE = text("""
/* overdue */
select tenant_id, id, embedding_attempts from messages
where embedding_status = 'pending' and embedding_attempts < :max_attempts
  and case when claimed_until is null then ingested_at < now() - make_interval(secs => :grace)
    else claimed_until < now() end
  and (tenant_id, id) > (:tenant_id, cast(:id as uuid))
order by tenant_id, id limit :most
""")

# Across tenants: the sweep. The last claim ran out without a word, so its worker was killed.
FAIL_EXHAUSTED = text("""
/* fail_exhausted */
update messages
set embedding_status = 'failed', claimed_until = null, updated_at = now(),
  embedding_error = coalesce(embedding_error,
    format('The worker ended %s times while it embedded this message.', embedding_attempts))
where embedding_status = 'pending' and embedding_attempts >= :max_attempts
  and claimed_until < now()
returning tenant_id, id
""")


def vector_parameters(vectors_of: Sequence[tuple[UUID, Vectors]]) -> dict[str, list[Any]]:
    """The arrays `part_ids`, `parts`, `vectors`, for messages with vectors of shape (parts, d)."""
    parts = [
        (message_id, part, msgspec.json.encode(vector.astype(np.float16).tolist()).decode())
        for message_id, vectors in vectors_of
        for part, vector in enumerate(vectors)
    ]
    return {
        "part_ids": [message_id for message_id, _, _ in parts],
        "parts": [part for _, part, _ in parts],
        "vectors": [vector for _, _, vector in parts],
    }
