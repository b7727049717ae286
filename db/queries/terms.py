"""The lexical index: the terms of messages, alone and with the message before, and statistics."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text

from memory.lexical.analysis import Analyser
from memory.lexical.bm25 import Entry, content_entry, context_entry

# A context has the words of two messages. Both must still be there and be locked against deletion
# until this commits, or words that were erased meanwhile would lie here for ever. What was stored
# between the two since they were read has a writer of its own, who knows better. What has been
# archived has its own words in the archive's index, and nobody's context has them.
WRITE_TERMS = text("""
/* write_terms */
with locked as (
  select id, content_version, conversation_id, created_at, archived_at from messages
  where tenant_id = :tenant_id and id = any(cast(:locked_ids as uuid[]))
  order by id for key share
), input as (
  select * from unnest(cast(:ids as uuid[]), cast(:versions as int[]), cast(:kinds as text[]),
    cast(:previous_ids as uuid[]), cast(:previous_versions as int[]), cast(:analyser as text[]),
    cast(:length as int[]), cast(:weights as text[]), cast(:keys as text[]))
    as input (id, version, kind, previous_id, previous_version, analyser, length, weights, keys)
), of_archived as (
  insert into archived_terms (tenant_id, message_id, analyser, length, weights, keys)
  select :tenant_id, input.id, input.analyser, input.length, cast(input.weights as sparsevec),
    cast(input.keys as int8[])
  from input join locked on locked.id = input.id and locked.content_version = input.version
  where locked.archived_at is not null and input.kind = 'content'
  on conflict (tenant_id, message_id) do update
    set analyser = excluded.analyser, length = excluded.length, weights = excluded.weights,
      keys = excluded.keys
)
insert into message_terms (
  tenant_id, message_id, kind, previous_id, analyser, length, weights, keys)
select :tenant_id, input.id, input.kind, input.previous_id, input.analyser, input.length,
  cast(input.weights as sparsevec), cast(input.keys as int8[])
from input
join locked on locked.id = input.id and locked.content_version = input.version
  and locked.archived_at is null
left join locked as previous
  on previous.id = input.previous_id and previous.content_version = input.previous_version
  and previous.archived_at is null
where input.previous_id is null or previous.id is not null and not exists (
  select from messages as between_them
  where between_them.tenant_id = :tenant_id and between_them.archived_at is null
    and between_them.conversation_id = locked.conversation_id
    and (between_them.created_at, between_them.id) > (previous.created_at, previous.id)
    and (between_them.created_at, between_them.id) < (locked.created_at, locked.id)
)
order by input.id, input.kind
on conflict (tenant_id, message_id, kind) do update
  set previous_id = excluded.previous_id, analyser = excluded.analyser, length = excluded.length,
    weights = excluded.weights, keys = excluded.keys
""")

# Each of the named messages with the live one before it in its conversation, and the same for the
# live one after it, whose context has the words of the named one. An archived one stands alone.
WITH_PREVIOUS = text("""
/* with_previous */
with named as (
  select id, conversation_id, created_at from messages
  where tenant_id = :tenant_id and id = any(cast(:ids as uuid[]))
), wanted as (
  select id from named
  union
  select following.id from named cross join lateral (
    select messages.id from messages
    where messages.tenant_id = :tenant_id and messages.conversation_id = named.conversation_id
      and (messages.created_at, messages.id) > (named.created_at, named.id)
      and messages.archived_at is null
    order by messages.created_at, messages.id limit 1
  ) as following
)
select messages.id, messages.content, messages.content_version as version, messages.metadata,
  previous.id as previous_id, previous.content as previous_content,
  previous.content_version as previous_version
from wanted join messages on messages.tenant_id = :tenant_id and messages.id = wanted.id
left join lateral (
  select earlier.id, earlier.content, earlier.content_version
  from messages as earlier
  where earlier.tenant_id = :tenant_id and earlier.conversation_id = messages.conversation_id
    and (earlier.created_at, earlier.id) < (messages.created_at, messages.id)
    and earlier.archived_at is null and messages.archived_at is null
  order by earlier.created_at desc, earlier.id desc limit 1
) as previous on true
""")

# Of more than a million messages one in so many is counted, chosen by the random end of its id.
# Terms that stand in one message only are not kept: unknown ones are taken for such.
REFRESH_STATISTICS = text("""
/* refresh_statistics */
with texts as materialized (
  select count(*) filter (where kind = 'content') as messages,
    coalesce(avg(length) filter (where kind = 'content'), 0) as content_length,
    coalesce(avg(length) filter (where kind = 'context'), 0) as context_length,
    1 << greatest(0, least(7, ceil(log(2.0, greatest(count(*), 2) / 2000000.0))))::int as one_in
  from message_terms where tenant_id = :tenant_id
), counted as materialized (
  select cast(key & 2147483647 as int) as term, count(*) * max(one_in) as messages
  from texts cross join message_terms as terms cross join unnest(terms.keys) as key
  where terms.tenant_id = :tenant_id and terms.kind = 'content' and key & 2147483648 = 0
    and get_byte(uuid_send(terms.message_id), 15) % one_in = 0
  group by 1 having count(*) * max(one_in) > 1
), gone as (
  delete from term_counts as known where known.tenant_id = :tenant_id
    and not exists (select from counted where counted.term = known.term)
), kept as (
  insert into term_counts as known (tenant_id, term, messages)
  select :tenant_id, term, messages from counted
  on conflict (tenant_id, term) do update set messages = excluded.messages
    where known.messages <> excluded.messages
)
insert into term_statistics (tenant_id, messages, content_length, context_length)
select :tenant_id, messages, content_length, context_length from texts
on conflict (tenant_id) do update
  set messages = excluded.messages, content_length = excluded.content_length,
    context_length = excluded.context_length, refreshed_at = now()
""")

# One refresh of a tenant at a time; a second one has nothing to add.
TRY_REFRESH_LOCK = text("""
/* try_refresh_lock */
select pg_try_advisory_xact_lock(hashtext('term_statistics'), hashtext(:tenant_id))
""")

LIVE_AND_COUNTED = text("""
/* live_and_counted */
select
  (select count(*) from message_terms where tenant_id = :tenant_id and kind = 'content') as live,
  (select messages from term_statistics where tenant_id = :tenant_id) as counted
""")

# Across tenants: the refresh of all statistics. The tenants after `after` in their order, with
# those of whom nothing is left but statistics.
LIVE_AND_COUNTED_OF_MANY = text("""
/* live_and_counted_of_many */
with recursive tenants (tenant_id) as (
  select cast(:after as text) collate "C"
  union all
  select least(
    (select min(tenant_id) from message_terms where tenant_id > tenants.tenant_id),
    (select min(tenant_id) from term_statistics where tenant_id > tenants.tenant_id))
  from tenants where tenants.tenant_id is not null
), following as (
  select tenant_id from tenants where tenant_id > :after limit :most
)
select tenant_id, messages as counted,
  (select count(*) from message_terms as terms
   where terms.tenant_id = following.tenant_id and kind = 'content') as live
from following left join term_statistics using (tenant_id) order by tenant_id
""")


class Indexed(NamedTuple):
    """An entry to write, with the versions of the contents that it was made from."""

    message_id: UUID
    version: int
    entry: Entry
    previous_id: UUID | None = None
    previous_version: int | None = None

    @property
    def kind(self) -> str:
        """Whether the entry is of the content alone or of the content with its context."""
        return "context" if self.previous_id else "content"


def context_entries(analyser: Analyser, tenant_id: str, rows: Iterable[Row[Any]]) -> list[Indexed]:
    """The entries of `WITH_PREVIOUS` rows with the message before; the first one has none."""
    return [
        Indexed(
            row.id,
            row.version,
            context_entry(analyser, tenant_id, row.previous_content, row.content),
            row.previous_id,
            row.previous_version,
        )
        for row in rows
        if row.previous_id is not None
    ]


def content_entries(analyser: Analyser, tenant_id: str, rows: Iterable[Row[Any]]) -> list[Indexed]:
    """The entries of `WITH_PREVIOUS` rows without the message before."""
    return [
        Indexed(row.id, row.version, content_entry(analyser, tenant_id, row.content, row.metadata))
        for row in rows
    ]


def term_parameters(entries: Sequence[Indexed]) -> dict[str, list[Any]]:
    """The arrays of `WRITE_TERMS` for `entries`."""
    named = {entry.message_id for entry in entries}
    named |= {entry.previous_id for entry in entries if entry.previous_id}
    return {
        "locked_ids": sorted(named),
        "ids": [entry.message_id for entry in entries],
        "versions": [entry.version for entry in entries],
        "kinds": [entry.kind for entry in entries],
        "previous_ids": [entry.previous_id for entry in entries],
        "previous_versions": [entry.previous_version for entry in entries],
        **{name: [getattr(entry.entry, name) for entry in entries] for name in Entry._fields},
    }
