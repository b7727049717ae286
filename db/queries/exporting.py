"""Reading a tenant as a file has it: all that cannot be made again, in the order of the ids."""

from sqlalchemy import text

# What there is to export, up to the newest message of this moment; null where there is none.
EXTENT = text("""
/* export_extent */
select
  (select id from messages where tenant_id = :tenant_id order by id desc limit 1) as upto,
  (select count(*) from messages where tenant_id = :tenant_id) as messages
""")

# One statement, so that vectors are those of the content beside them. `budget` bounds the bytes of
# content of a page; the first row always fits. A real reads back as what was written as a double.
EXPORT_PAGE = text("""
/* export_page */
with page as (
  select *, sum(octet_length(content)) over (order by id) - octet_length(content) as before
  from (
    select * from messages
    where tenant_id = :tenant_id and id > :after and id <= :upto order by id limit :most
  ) as following
)
select page.id, page.conversation_id, page.role, page.content, page.metadata,
  page.importance_score, page.importance_override, page.pinned, page.created_at,
  page.ingested_at, page.archived_at, page.updated_at,
  cast(page.markers as float8) as markers, cast(page.rarity as float8) as rarity,
  uses.uses, uses.counted_at, vectors.model_ids, vectors.vectors
from page
left join message_uses as uses on uses.tenant_id = :tenant_id and uses.message_id = page.id
left join lateral (
  select array_agg(model_id order by model_id, part) as model_ids,
    array_agg(halfvec_send(embedding) order by model_id, part) as vectors
  from message_embeddings as stored
  where stored.tenant_id = :tenant_id and stored.message_id = page.id
    and stored.kind = 'content' and stored.model_id = any(cast(:models as smallint[]))
) as vectors on true
where page.before < :budget order by page.id
""")
