"""Retention: which messages are due, putting them away, bringing them back, deleting them.

The statements of a run work within a window of ids, so that each takes no longer in a tenant of
millions than in one of thousands.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from memory.retention import AgeFrom, EffectivePolicy

# Across tenants: a run for all.
NEXT_TENANT = text("""
/* next_tenant_of_run */
select tenant_id from messages where tenant_id > :after order by tenant_id limit 1
""")

# The last id of the next so many messages; none when fewer are left.
WINDOW_END = text("""
/* window_end */
select id from messages where tenant_id = :tenant_id and id > :after
order by id offset :most - 1 limit 1
""")

AGE = {
    "ingested": "greatest(ingested_at, restored_at)",
    "created": "greatest(created_at, restored_at)",
}
FREE = "not pinned and role <> all(cast(:exempt_roles as text[]))"
WINDOW = "tenant_id = :tenant_id and id > :after and (:upto is null or id <= :upto)"
AGED = (
    "archived_at is null and {free} and {age} < :archive_before and importance_score < :threshold"
)
# An archived message that was imported is as old here as its import.
DELETABLE = (
    "archived_at < :delete_before"
    " and (restored_at is null or restored_at < :delete_before) and " + FREE
)

# What is put away of the rest: as many as there are beyond the limit, the least important first.
OVERFLOW_ORDER = "order by importance_score, {age}, id"

# Rows for the archive's files, and the ids for all else.
EXPORTED = """id, conversation_id, role, content, metadata, importance_score, importance_override,
  pinned, created_at, ingested_at, archived_at"""


def _uuid(statement: str) -> str:
    # A null has no type of its own.
    return statement.replace(":upto", "cast(:upto as uuid)")


def _aged(age_from: AgeFrom) -> str:
    return AGED.format(free=FREE, age=AGE[age_from])


def count_due(age_from: AgeFrom) -> TextClause:
    """Of a window: the live messages, those of them that are free to go, the aged ones, and the
    archived ones that are to be deleted."""
    return text(
        _uuid(f"""
/* count_due */
select count(*) filter (where archived_at is null) as live,
  count(*) filter (where archived_at is null and {FREE}) as free,
  count(*) filter (where {_aged(age_from)}) as aged,
  count(*) filter (where {DELETABLE}) as deletable
from messages where {WINDOW}
""")  # noqa: S608 - our own text only; values are parameters
    )


def lock_aged(age_from: AgeFrom) -> TextClause:
    """Lock the next aged messages of a window, but for those that another is at work on."""
    return text(
        _uuid(f"""
/* lock_aged */
select id from messages where {WINDOW} and {_aged(age_from)}
order by id limit :most for update skip locked
""")  # noqa: S608 - our own text only; values are parameters
    )


def lock_overflow(age_from: AgeFrom) -> TextClause:
    """Lock the least important messages beyond `max_messages`, at most `most` of them."""
    return text(f"""
/* lock_overflow */
select id from messages
where tenant_id = :tenant_id and archived_at is null and {FREE}
{OVERFLOW_ORDER.format(age=AGE[age_from])}
limit least(:most, greatest(0, (
  select count(*) from messages where tenant_id = :tenant_id and archived_at is null
) - :max_messages))
for update skip locked
""")  # noqa: S608 - our own text only; values are parameters


# By the index of the archive: what was put away first goes first.
LOCK_DELETABLE = text(f"""
/* lock_deletable */
select {EXPORTED} from messages
where tenant_id = :tenant_id and {DELETABLE}
order by archived_at, id limit :most for update skip locked
""")  # noqa: S608 - our own text only; values are parameters


def list_due(age_from: AgeFrom) -> dict[str, TextClause]:
    """What a run would do, page by page, by the reason for it; see `DueMessage`."""
    shown = f"select id as message_id, role, importance_score as importance, {AGE[age_from]} as age"
    page = "order by id limit :most"
    overflow = OVERFLOW_ORDER.format(age=AGE[age_from])
    statements = {
        "aged": f"{shown} from messages where {WINDOW} and {_aged(age_from)} {page}",
        "over_max_messages": f"""
{shown} from (
  select * from messages
  where tenant_id = :tenant_id and archived_at is null and {FREE}
    and not ({_aged(age_from)})
  {overflow} limit :overflow
) as surplus where {WINDOW} {page}""",  # noqa: S608 - our own text only
        "archived_long": f"{shown} from messages where {WINDOW} and {DELETABLE} {page}",
    }
    return {
        reason: text(_uuid(f"/* list_due */ {statement}"))
        for reason, statement in statements.items()
    }


# The messages whose context has the words of the named ones.
FOLLOWERS = text("""
/* followers */
select distinct message_id from message_terms
where tenant_id = :tenant_id and previous_id = any(cast(:ids as uuid[]))
  and message_id <> all(cast(:ids as uuid[]))
""")

# Their own words go into the archive's index, their vectors and all contexts with them go.
ARCHIVE_MESSAGES = text("""
/* archive_messages */
with left_index as (
  delete from message_terms
  where tenant_id = :tenant_id
    and (message_id = any(cast(:ids as uuid[])) or previous_id = any(cast(:ids as uuid[])))
  returning message_id, kind, analyser, length, weights, keys
), put_away as (
  insert into archived_terms (tenant_id, message_id, analyser, length, weights, keys)
  select :tenant_id, message_id, analyser, length, weights, keys from left_index
  where kind = 'content' and message_id = any(cast(:ids as uuid[]))
  on conflict (tenant_id, message_id) do update
    set analyser = excluded.analyser, length = excluded.length, weights = excluded.weights,
      keys = excluded.keys
), without_vectors as (
  delete from message_embeddings
  where tenant_id = :tenant_id and message_id = any(cast(:ids as uuid[]))
)
update messages
set archived_at = now(), embedding_status = 'archived', embedding_error = null,
  claimed_until = null, updated_at = now()
where tenant_id = :tenant_id and id = any(cast(:ids as uuid[]))
""")

# It is as new to the workers; its age counts from now.
RESTORE_MESSAGE = text("""
/* restore_message */
with restored as (
  update messages
  set archived_at = null, restored_at = now(), embedding_status = 'pending', pending_since = now(),
    embedding_attempts = 0, embedding_error = null, claimed_until = null, updated_at = now()
  where tenant_id = :tenant_id and id = :id and archived_at is not null
  returning id
), taken as (
  delete from archived_terms using restored
  where archived_terms.tenant_id = :tenant_id and message_id = restored.id
  returning message_id, analyser, length, weights, keys
), found as (
  insert into message_terms (tenant_id, message_id, kind, analyser, length, weights, keys)
  select :tenant_id, message_id, 'content', analyser, length, weights, keys from taken
)
select id from restored
""")

DELETE_MESSAGES = text("""
/* delete_messages */
delete from messages where tenant_id = :tenant_id and id = any(cast(:ids as uuid[]))
""")


def due_parameters(tenant_id: str, policy: EffectivePolicy, as_of: datetime) -> dict[str, Any]:
    """What the statements of a run at `as_of` have in common."""
    return {
        "tenant_id": tenant_id,
        "exempt_roles": policy.exempt_roles,
        "archive_before": policy.archive_before(as_of),
        "threshold": policy.importance_threshold,
        "delete_before": policy.delete_before(as_of),
        "max_messages": policy.max_messages,
    }
