"""What importance follows from: counting uses, reading the grounds of messages, writing scores."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from memory.importance import RAREST_TERMS
from memory.lexical.keys import METADATA_BIT

# A key's lower half is a term's number, or with this bit a value of the metadata.
OF_TERM = f"key & {METADATA_BIT} = 0"
TERM = f"cast(key & {METADATA_BIT - 1} as int)"

# A use is worth half after each half-life; beyond a hundred of them nothing is left to halve.
# Messages are locked against deletion, in the order in which everybody else locks them too.
ADD_USES = text("""
/* add_uses */
with there as materialized (
  select input.tenant_id, input.message_id, input.uses
  from unnest(cast(:tenant_ids as text[]), cast(:message_ids as uuid[]), cast(:uses as float8[]))
    as input (tenant_id, message_id, uses)
  join messages on messages.tenant_id = input.tenant_id and messages.id = input.message_id
  order by messages.tenant_id, messages.id for key share of messages
)
insert into message_uses as known (tenant_id, message_id, uses)
select tenant_id, message_id, uses from there order by tenant_id, message_id
on conflict (tenant_id, message_id) do update
  set counted_at = greatest(known.counted_at, now()),
    uses = excluded.uses + known.uses * power(0.5, least(100, greatest(0,
      extract(epoch from now() - known.counted_at)::float8 / 86400
        / greatest(1e-6, cast(:half_life_days as float8)))))
""")

# The size of a content is read from its header, not the content.
NEXT_GROUNDS = text("""
/* next_grounds */
select messages.id, messages.role, messages.created_at, messages.markers, messages.rarity,
  messages.importance_override as override, messages.importance_score as score,
  octet_length(messages.content) as size, uses.uses, uses.counted_at
from messages
left join message_uses as uses
  on uses.tenant_id = messages.tenant_id and uses.message_id = messages.id
where messages.tenant_id = :tenant_id and messages.id > :after and messages.archived_at is null
order by messages.id limit :most
""")

CONTENTS = text("""
/* contents */
select id, content from messages
where tenant_id = :tenant_id and id = any(cast(:ids as uuid[]))
""")

STATISTICS = text("""
/* statistics */
select messages, refreshed_at from term_statistics where tenant_id = :tenant_id
""")

# How many messages have each of a message's rarest terms, by the statistics of a large tenant. A
# term that is not among them stands in one message only, or is new.
RAREST_TERMS_COUNTED = text(f"""
/* rarest_terms_counted */
select terms.message_id, array(
    select coalesce(known.messages, 1)
    from unnest(terms.keys) as key
    left join term_counts as known on known.tenant_id = :tenant_id and known.term = {TERM}
    where {OF_TERM} order by 1 limit {RAREST_TERMS}
  ) as frequencies
from message_terms as terms
where terms.tenant_id = :tenant_id and terms.message_id = any(cast(:ids as uuid[]))
  and terms.kind = 'content'
""")  # noqa: S608 - our own constants only; values are parameters

# The same for a small tenant, which has none: counted in its messages, as far as so many words
# reach.
RAREST_TERMS_OF_FEW = text(f"""
/* rarest_terms_of_few */
with sample as materialized (
  select keys from (
    select keys, sum(length) over (order by message_id) as words
    from message_terms where tenant_id = :tenant_id and kind = 'content'
  ) as entries where words <= :most_words
), counted as materialized (
  select {TERM} as term, count(*) as messages
  from sample cross join unnest(keys) as key where {OF_TERM} group by 1
), ranked as (
  select terms.message_id, coalesce(counted.messages, 1) as messages, key,
    row_number() over (
      partition by terms.message_id order by coalesce(counted.messages, 1)) as place
  from message_terms as terms
  left join lateral (select key from unnest(terms.keys) as key where {OF_TERM}) as own on true
  left join counted on counted.term = {TERM}
  where terms.tenant_id = :tenant_id and terms.message_id = any(cast(:ids as uuid[]))
    and terms.kind = 'content'
)
select message_id, coalesce(array_agg(messages) filter (where key is not null), '{{}}')
    as frequencies, (select count(*) from sample) as of
from ranked where place <= {RAREST_TERMS} group by message_id
""")  # noqa: S608 - our own constants only; values are parameters

# Locked in the order of their ids, as everybody does. An override that was set since the grounds
# were read wins.
WRITE_IMPORTANCE = text("""
/* write_importance */
with locked as materialized (
  select messages.id from messages
  where messages.tenant_id = :tenant_id and messages.id = any(cast(:ids as uuid[]))
    and messages.archived_at is null
  order by messages.id for no key update
)
update messages
set importance_score = coalesce(messages.importance_override, input.score),
  markers = input.markers, rarity = input.rarity
from unnest(cast(:ids as uuid[]), cast(:scores as float8[]), cast(:markers as real[]),
  cast(:rarities as real[])) as input (id, score, markers, rarity)
join locked on locked.id = input.id
where messages.tenant_id = :tenant_id and messages.id = input.id
""")

# Of all tenants: when the last run began that has seen them all.
LAST_WALK = text("""
/* last_walk */
select max(started_at) from jobs
where tenant_id = :tenant_id and kind = 'rescore' and state = 'completed'
""")


class Rescored(NamedTuple):
    """What a message's importance is now, and what it follows from."""

    id: UUID
    score: float
    markers: float
    rarity: float | None


def importance_parameters(rescored: Sequence[Rescored]) -> dict[str, list[Any]]:
    """The arrays of `WRITE_IMPORTANCE`."""
    return {
        "ids": [each.id for each in rescored],
        "scores": [each.score for each in rescored],
        "markers": [each.markers for each in rescored],
        "rarities": [each.rarity for each in rescored],
    }
