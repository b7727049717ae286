"""Messages that could not be embedded, and another try for them: as if they were new."""

from sqlalchemy import text

COUNT_FAILED_OF_TENANT = text("""
/* count_failed_of_tenant */
select count(*) from (
  select from messages where tenant_id = :tenant_id and embedding_status = 'failed' limit :most
) as counted
""")

# Across tenants: a retry for all.
COUNT_FAILED = text("""
/* count_failed */
select count(*) from messages
where embedding_status = 'failed' and (tenant_id = :tenant_id or :all)
""")

AGAIN = """
update messages
set embedding_status = 'pending', pending_since = now(), embedding_attempts = 0,
  embedding_error = null, claimed_until = null, updated_at = now()
"""

# `ids` are those that are named, null for all of the tenant.
RETRY_OF_TENANT = text(f"""
/* retry_of_tenant */
{AGAIN}
where tenant_id = :tenant_id and embedding_status = 'failed'
  and (cast(:ids as uuid[]) is null or id = any(cast(:ids as uuid[])))
returning id
""")

# A message that has failed again meanwhile lies behind, and is not tried for ever.
RETRY_SLICE_OF_TENANT = text(f"""
/* retry_slice_of_tenant */
{AGAIN}
where (tenant_id, id) in (
  select tenant_id, id from messages
  where tenant_id = :tenant_id and id > :after and embedding_status = 'failed'
  order by id limit :most for update
)
returning tenant_id, id
""")  # noqa: S608 - our own text only; values are parameters

# Across tenants: a retry for all.
RETRY_SLICE = text(f"""
/* retry_slice */
{AGAIN}
where (tenant_id, id) in (
  select tenant_id, id from messages
  where (tenant_id, id) > (:after_tenant, :after) and embedding_status = 'failed'
  order by tenant_id, id limit :most for update
)
returning tenant_id, id
""")  # noqa: S608 - our own text only; values are parameters
