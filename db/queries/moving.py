"""Moving a store to another embedding model: what lacks its vectors, and what an old one leaves.

The statements work within a window of ids of one tenant, so that each takes no longer in a tenant
of millions than in one of thousands.
"""

from sqlalchemy import text

from memory.jobs import ALL_TENANTS

# Across tenants: how much there is to walk through.
LIVE_MESSAGES = text("/* live_messages */ select count(*) from messages where archived_at is null")
ALL_MESSAGES = text("/* all_messages */ select count(*) from messages")

# The seconds since anybody worked on a move.
WAITED = text(f"""
/* waited */
select cast(extract(epoch from now() - updated_at) as float8) from jobs
where tenant_id = '{ALL_TENANTS}' and id = :id
""")  # noqa: S608 - our own text only; values are parameters

WINDOW = """tenant_id = :tenant_id and id > :after
  and (cast(:upto as uuid) is null or id <= cast(:upto as uuid))"""

# As with a claim, `budget` bounds the characters; the first row always fits.
LACKING = text(f"""
/* lacking */
select id, content, version from (
  select id, content, version,
    sum(length(content)) over (order by id) - length(content) as before
  from (
    select id, content, content_version as version from messages
    where {WINDOW} and embedding_status = 'completed' and archived_at is null
      and not exists (
        select from message_embeddings as embeddings
        where embeddings.tenant_id = :tenant_id and embeddings.message_id = messages.id
          and embeddings.model_id = :model_id)
    order by id limit :most
  ) as first_ones
) as sized where before < :budget order by id
""")  # noqa: S608 - our own text only; values are parameters

PASSED = text(f"""
/* passed */
select count(*) as messages, count(*) filter (where archived_at is null) as live,
  count(*) filter (where archived_at is null and embedding_status = 'completed') as embedded
from messages where {WINDOW}
""")  # noqa: S608 - our own text only; values are parameters

# With the new model they will not have a vector: then they are not embedded, and say why.
MARK_REFUSED = text("""
/* mark_refused */
update messages
set embedding_status = 'failed', embedding_error = input.error, updated_at = now()
from unnest(cast(:ids as uuid[]), cast(:versions as int[]), cast(:errors as text[]))
  as input (id, version, error)
where messages.tenant_id = :tenant_id and messages.id = input.id
  and messages.content_version = input.version and messages.embedding_status = 'completed'
""")

DELETE_VECTORS = text(f"""
/* delete_vectors */
delete from message_embeddings
where tenant_id = :tenant_id and model_id = :model_id
  and message_id in (select id from messages where {WINDOW})
""")  # noqa: S608 - our own text only; values are parameters
