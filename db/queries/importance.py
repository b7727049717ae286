"""What importance follows from: counting uses, reading the grounds of messages, writing scores."""

from sqlalchemy import text

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
