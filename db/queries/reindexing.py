"""Tenants whose terms are made anew: after a change of language, or of how words are read."""

from sqlalchemy import text

# Across tenants: the re-indexing. Locked until the slice is done, so that two go side by side.
NEXT_TENANT = text("""
/* next_tenant */
select tenant_id, finished_to from term_reindexing where not_before <= now()
order by not_before limit 1 for update skip locked
""")

NEXT_MESSAGES = text("""
/* next_messages */
select id from messages where tenant_id = :tenant_id and id > :after order by id limit :most
""")

NOTE_REINDEXED = text("""
/* note_reindexed */
update term_reindexing set finished_to = :finished_to where tenant_id = :tenant_id
""")

END_REINDEXING = text("""
/* end_reindexing */
delete from term_reindexing where tenant_id = :tenant_id
""")

# Across tenants: an operator's wish.
REINDEX_ALL = text("""
/* reindex_all */
insert into term_reindexing (tenant_id) select distinct tenant_id from messages
on conflict (tenant_id) do update set finished_to = default, not_before = now()
""")

REINDEX_NAMED = text("""
/* reindex_named */
insert into term_reindexing (tenant_id)
select distinct tenant_id from messages where tenant_id = any(cast(:tenants as text[]))
on conflict (tenant_id) do update set finished_to = default, not_before = now()
""")
