"""The lexical index with its statistics, the settings of tenants, and what filters need.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
serves_from = "0002"

# The words of the message before lie in a row of kind `context`; with that message they go.
# Each search reads what waits to be sorted into the index: of PostgreSQL's 4 MB that took 4 ms.
MESSAGE_TERMS = """
create table message_terms (
  tenant_id text collate "C" not null,
  message_id uuid not null,
  kind text not null check (kind in ('content', 'context')),
  previous_id uuid,
  analyser text not null,
  length integer not null,
  weights sparsevec(1000000000) not null,
  keys int8[] not null,
  primary key (tenant_id, message_id, kind),
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade,
  foreign key (tenant_id, previous_id) references messages (tenant_id, id) on delete cascade,
  check ((kind = 'context') = (previous_id is not null))
);
create index message_terms_keys on message_terms using gin (keys)
  with (gin_pending_list_limit = 128);
create index message_terms_previous on message_terms (tenant_id, previous_id)
  where previous_id is not null;
"""

STATISTICS = """
create table term_statistics (
  tenant_id text collate "C" primary key,
  messages bigint not null,
  content_length double precision not null,
  context_length double precision not null,
  refreshed_at timestamptz not null default now()
);
create table term_counts (
  tenant_id text collate "C" not null,
  term integer not null,
  messages bigint not null,
  primary key (tenant_id, term)
);
"""

TENANT_SETTINGS = """
create table tenant_settings (
  tenant_id text collate "C" primary key,
  language text,
  w_relevance double precision check (w_relevance >= 0),
  w_importance double precision check (w_importance >= 0),
  w_recency double precision check (w_recency >= 0),
  half_life_days double precision check (half_life_days > 0),
  updated_at timestamptz not null default now()
);
"""

# A row is work to do: the messages of the tenant up to `finished_to` have their terms anew.
TERM_REINDEXING = """
create table term_reindexing (
  tenant_id text collate "C" primary key,
  finished_to uuid not null default '00000000-0000-0000-0000-000000000000',
  not_before timestamptz not null default now()
);
insert into term_reindexing (tenant_id) select distinct tenant_id from messages;
"""

MESSAGES = """
alter table messages add column archived_at timestamptz;
create index messages_created on messages (tenant_id, created_at);
"""

# `coalesce` hides the comparison from the planner. Seen, it looked like a second, independent
# filter beside the tenant that each statement names: the planner took a tenant of 100,000 messages
# for one of a thousand and walked through all of it, past the indexes.
TENANT_IS_NAMED = """
coalesce(tenant_id = any (
  (select string_to_array(current_setting('memory.tenants', true), ','))::text[]), false)
"""

POLICIES = """
alter table {table} enable row level security;
create policy api_sees_named_tenants on {table} to memory_api using ({named});
create policy worker_sees_all on {table} to memory_worker using (true);
grant select, insert, update, delete on {table} to memory_worker;
grant {granted} on {table} to memory_api;
"""

TABLES_BEFORE = ("messages", "message_embeddings", "idempotency_keys")
NAMED_BEFORE = """
tenant_id = any (
  (select string_to_array(current_setting('memory.tenants', true), ','))::text[])
"""

GRANTED_TO_API = {
    "message_terms": "select, insert, update, delete",
    "term_statistics": "select",
    "term_counts": "select",
    "tenant_settings": "select, insert, update, delete",
    "term_reindexing": "select, insert, update",
}

# Row-level security lets only leakproof operators use an index, and `&&` is none; so the keys are
# looked up as the owner, by functions that see to the tenant themselves. Each key carries the
# salt of its tenant. The tenant is compared behind `coalesce`, lest the planner walk through the
# whole tenant by the primary key instead.
ALLOWED = """
create function allow_tenant(tenant text) returns void
  language plpgsql stable set search_path = public, pg_temp as $$
begin
  if tenant = any (string_to_array(current_setting('memory.tenants', true), ',')) then
    return;
  end if;
  raise insufficient_privilege using message = 'the transaction does not name this tenant';
end
$$
"""

MESSAGES_WITH_KEY = """
create function messages_with_key(tenant text, wanted int8) returns setof uuid
  language plpgsql stable security definer set search_path = public, pg_temp as $$
begin
  perform allow_tenant(tenant);
  return query
    select terms.message_id from message_terms as terms
    where terms.keys @> array[wanted] and terms.kind = 'content'
      and coalesce(terms.tenant_id = tenant, false);
end
$$
"""

# BM25 of the `most` best messages that have one of the rarer terms, and of `others`. Terms come as
# numbers, with the same numbers salted. A message with nothing before it is its own context. A
# tenant without statistics is counted as it is now, which is right for a new one. The rarest term
# fetches, and the next ones while all that do stand in `budget` messages at most.
LEXICAL_MATCHES = """
create function lexical_matches(
  tenant text, asked int[], asked_keys int8[], others uuid[], context_weight float8,
  k1 float8, b float8, reference float8, budget bigint, most bigint
) returns table (message_id uuid, bm25 float8, rarest float8)
  language plpgsql stable security definer set search_path = public, pg_temp
  set plan_cache_mode = auto as $$
declare
  total bigint;
  content_mean float8;
  context_mean float8;
  counts bigint[];
  fetched int8[] := asked_keys;
  query sparsevec;
begin
  perform allow_tenant(tenant);
  if cardinality(asked) = 0 then
    return;
  end if;
  select statistics.messages, statistics.content_length, statistics.context_length
  into total, content_mean, context_mean
  from term_statistics as statistics where statistics.tenant_id = tenant;
  if found then
    select array_agg(coalesce(known.messages, 1) order by term.place) into counts
    from unnest(asked) with ordinality as term (number, place)
    left join term_counts as known on known.tenant_id = tenant and known.term = term.number;
    select array_agg(ranked.key) into fetched from (
      select term.key, sum(term.messages) over rarer as messages, row_number() over rarer as place
      from unnest(asked_keys, counts) as term (key, messages)
      window rarer as (order by term.messages, term.key)
    ) as ranked where ranked.place = 1 or ranked.messages <= budget;
  else
    select count(*) filter (where terms.kind = 'content'),
      avg(terms.length) filter (where terms.kind = 'content'),
      avg(terms.length) filter (where terms.kind = 'context')
    into total, content_mean, context_mean
    from message_terms as terms where terms.tenant_id = tenant;
    select array_agg(coalesce(counted.messages, 0) order by term.place) into counts
    from unnest(asked_keys) with ordinality as term (key, place)
    left join (
      select key, count(*) as messages from message_terms as terms, unnest(terms.keys) as key
      where terms.keys && asked_keys and terms.kind = 'content'
        and coalesce(terms.tenant_id = tenant, false)
        and key = any (asked_keys)
      group by key
    ) as counted using (key);
  end if;
  select ('{' || string_agg(
      term.number || ':' || ln(1 + (greatest(total - term.messages, 0) + 0.5)::float8
        / (term.messages + 0.5)), ',') || '}/1000000000')::sparsevec
  into query from unnest(asked, counts) as term (number, messages);
  return query
    with matched as (
      select terms.message_id, terms.kind, terms.length, terms.weights
      from message_terms as terms
      where terms.keys && fetched and coalesce(terms.tenant_id = tenant, false)
      union all
      select terms.message_id, terms.kind, terms.length, terms.weights
      from message_terms as terms
      where terms.tenant_id = tenant and terms.message_id = any (others)
        and not terms.keys && fetched
    ), weighed as (
      select matched.message_id, matched.kind, -(matched.weights <#> query)
          * (1 + k1 * (1 - b + b * matched.length / reference)) as score,
        1 + k1 * (1 - b + b * matched.length / greatest(1, content_mean)) as by_content,
        1 + k1 * (1 - b + b * matched.length / greatest(1, context_mean, content_mean))
          as by_context
      from matched
    ), scored as (
      select weighed.message_id, (1 - context_weight)
          * coalesce(max(score / by_content) filter (where kind = 'content'), 0)
        + context_weight * coalesce(max(score / by_context) filter (where kind = 'context'),
            max(score / by_context)) as bm25
      from weighed group by weighed.message_id having max(score) > 0
    ), best as (
      select scored.message_id from scored order by scored.bm25 desc, scored.message_id limit most
    )
    select scored.message_id, scored.bm25, ln(1 + (greatest(total, 1) - 0.5)::float8 / 1.5)
    from scored where scored.message_id = any (others)
      or scored.message_id in (select best.message_id from best);
end
$$
"""

FUNCTIONS_OF_API = ("messages_with_key", "lexical_matches")


def upgrade() -> None:
    for statement in (MESSAGE_TERMS, STATISTICS, TENANT_SETTINGS, TERM_REINDEXING, MESSAGES):
        op.execute(statement)
    for table, granted in GRANTED_TO_API.items():
        op.execute(POLICIES.format(table=table, granted=granted, named=TENANT_IS_NAMED))
    for table in TABLES_BEFORE:
        op.execute(f"alter policy api_sees_named_tenants on {table} using ({TENANT_IS_NAMED})")
    for function in (ALLOWED, MESSAGES_WITH_KEY, LEXICAL_MATCHES):
        op.execute(function)
    for name in FUNCTIONS_OF_API:
        op.execute(f"revoke all on function {name} from public")
        op.execute(f"grant execute on function {name} to memory_api")


def downgrade() -> None:
    for table in TABLES_BEFORE:
        op.execute(f"alter policy api_sees_named_tenants on {table} using ({NAMED_BEFORE})")
    for name in (*FUNCTIONS_OF_API, "allow_tenant"):
        op.execute(f"drop function {name}")
    op.execute("drop index messages_created")
    op.execute("alter table messages drop column archived_at")
    op.execute(f"drop table {', '.join(GRANTED_TO_API)}")
