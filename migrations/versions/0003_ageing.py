"""Memories that age: importance and its grounds, the archive, policies, jobs and the audit log.

Revision ID: 0003
Revises: 0002
"""

import importlib

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
serves_from = "0003"

# `markers` and `rarity` are what the content gives to importance, null until they are known.
MESSAGES = """
alter table messages
  add column pinned boolean not null default false,
  add column restored_at timestamptz,
  add column markers real check (markers between 0 and 1),
  add column rarity real check (rarity between 0 and 1),
  drop constraint messages_embedding_status_check,
  add constraint messages_embedding_status_check
    check (embedding_status in ('pending', 'completed', 'failed', 'archived'));
create index messages_archived on messages (tenant_id, archived_at) where archived_at is not null;
create index messages_failed on messages (tenant_id, id) where embedding_status = 'failed';
"""

# An archived message keeps the entry of its own words only: those of others may be erased.
ARCHIVED_TERMS = """
create table archived_terms (
  tenant_id text collate "C" not null,
  message_id uuid not null,
  analyser text not null,
  length integer not null,
  weights sparsevec(1000000000) not null,
  keys int8[] not null,
  primary key (tenant_id, message_id),
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
create index archived_terms_keys on archived_terms using gin (keys)
  with (gin_pending_list_limit = 128);
"""

# `uses` is what it was at `counted_at`; it halves with time.
MESSAGE_USES = """
create table message_uses (
  tenant_id text collate "C" not null,
  message_id uuid not null,
  uses double precision not null check (uses >= 0),
  counted_at timestamptz not null default now(),
  primary key (tenant_id, message_id),
  foreign key (tenant_id, message_id) references messages (tenant_id, id) on delete cascade
);
"""

TENANT_SETTINGS = """
alter table tenant_settings
  add column importance_w_role double precision check (importance_w_role >= 0),
  add column importance_w_content double precision check (importance_w_content >= 0),
  add column importance_w_recency double precision check (importance_w_recency >= 0),
  add column importance_w_use double precision check (importance_w_use >= 0),
  add column importance_half_life_days double precision check (importance_half_life_days > 0);
"""

RETENTION_POLICIES = """
create table retention_policies (
  tenant_id text collate "C" primary key,
  max_age_days integer check (max_age_days > 0),
  importance_threshold double precision check (importance_threshold between 0 and 1),
  delete_after_days integer check (delete_after_days > 0),
  max_messages bigint check (max_messages > 0),
  exempt_roles text[],
  age_from text check (age_from in ('ingested', 'created')),
  legal_hold boolean,
  updated_at timestamptz not null default now()
);
"""

# Tenant `*` stands for all. A runner holds a job until `lease_until`; of active jobs with one
# `unique_key` there is one.
JOBS = """
create table jobs (
  tenant_id text collate "C" not null,
  id uuid not null,
  kind text not null,
  state text not null default 'queued'
    check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  arguments jsonb not null default '{}',
  position jsonb not null default '{}',
  done bigint not null default 0,
  total bigint,
  result jsonb,
  error text,
  started_by text not null,
  unique_key text,
  attempts smallint not null default 0,
  runner uuid,
  lease_until timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  primary key (tenant_id, id)
);
create index jobs_id on jobs (id);
create index jobs_active on jobs (lease_until) where state in ('queued', 'running');
create unique index jobs_unique on jobs (tenant_id, unique_key)
  where state in ('queued', 'running') and unique_key is not null;
"""

AUDIT_LOG = """
create table audit_log (
  tenant_id text collate "C" not null,
  id uuid not null,
  at timestamptz not null default now(),
  actor text not null,
  action text not null,
  result text not null,
  request_id text,
  details jsonb not null default '{}',
  primary key (tenant_id, id)
);
create index audit_log_id on audit_log (id);
"""

# `provider` and `setting` say how to make the embedder; null where the settings of then did.
EMBEDDING_MODELS = """
alter table embedding_models
  add column provider text,
  add column setting text,
  add column filling boolean not null default false,
  add column activated_at timestamptz;
grant update on embedding_models to memory_worker;
"""

# What was measured of the whole store, for `/metrics`.
STORE_GAUGES = """
create table store_gauges (
  name text collate "C" not null,
  label text collate "C" not null default '',
  value double precision not null,
  measured_at timestamptz not null default now(),
  primary key (name, label)
);
grant select on store_gauges to memory_api;
grant select, insert, update, delete on store_gauges to memory_worker;
"""

TENANT_IS_NAMED = """
coalesce(tenant_id = any (
  (select string_to_array(current_setting('memory.tenants', true), ','))::text[]), false)
"""

# An operator sees the jobs and the audit log of all tenants, in a transaction that says so.
OR_OPERATOR = "or coalesce((select current_setting('memory.operator', true)) = 'yes', false)"

POLICIES = """
alter table {table} enable row level security;
create policy api_sees_named_tenants on {table} to memory_api using ({named});
create policy worker_sees_all on {table} to memory_worker using (true);
grant {granted_to_worker} on {table} to memory_worker;
grant {granted_to_api} on {table} to memory_api;
"""

ALL = "select, insert, update, delete"
GRANTED = {  # to the API, to workers
    "archived_terms": (ALL, ALL),
    "message_uses": ("select, insert, update", ALL),
    "retention_policies": (ALL, ALL),
    "jobs": ("select, insert, update", ALL),
    "audit_log": ("select, insert", "select, insert"),
}
SEEN_BY_OPERATORS = {"jobs", "audit_log"}

MESSAGES_WITH_KEY = """
create function messages_with_key(tenant text, wanted int8, archived boolean) returns setof uuid
  language plpgsql stable security definer set search_path = public, pg_temp as $$
begin
  perform allow_tenant(tenant);
  return query
    select terms.message_id from message_terms as terms
    where terms.keys @> array[wanted] and terms.kind = 'content'
      and coalesce(terms.tenant_id = tenant, false);
  if archived then
    return query
      select terms.message_id from archived_terms as terms
      where terms.keys @> array[wanted] and coalesce(terms.tenant_id = tenant, false);
  end if;
end
$$
"""

# As in 0002, with the archive's words on top where they are asked for. What is rare is judged by
# the live messages alone.
LEXICAL_MATCHES = """
create function lexical_matches(
  tenant text, asked int[], asked_keys int8[], others uuid[], context_weight float8,
  k1 float8, b float8, reference float8, budget bigint, most bigint, archived boolean
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
      union all
      select terms.message_id, 'content', terms.length, terms.weights
      from archived_terms as terms
      where archived and terms.keys && fetched and coalesce(terms.tenant_id = tenant, false)
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

# What was archived comes back, to be embedded and indexed again.
BACK = """
insert into term_reindexing (tenant_id)
select distinct tenant_id from messages where archived_at is not null
on conflict (tenant_id) do update set finished_to = default, not_before = now();
update messages
set embedding_status = 'pending', embedding_attempts = 0, claimed_until = null, archived_at = null
where archived_at is not null;
drop index messages_archived, messages_failed;
alter table messages
  drop column pinned, drop column restored_at, drop column markers, drop column rarity,
  drop constraint messages_embedding_status_check,
  add constraint messages_embedding_status_check
    check (embedding_status in ('pending', 'completed', 'failed'));
alter table tenant_settings
  drop column importance_w_role, drop column importance_w_content,
  drop column importance_w_recency, drop column importance_w_use,
  drop column importance_half_life_days;
"""

FUNCTIONS_BEFORE = {
    "messages_with_key": "text, int8",
    "lexical_matches": "text, int[], int8[], uuid[], float8, float8, float8, float8, int8, int8",
}
FUNCTIONS = {
    "messages_with_key": "text, int8, boolean",
    "lexical_matches": FUNCTIONS_BEFORE["lexical_matches"] + ", boolean",
}


def upgrade() -> None:
    for statement in (
        MESSAGES,
        ARCHIVED_TERMS,
        MESSAGE_USES,
        TENANT_SETTINGS,
        RETENTION_POLICIES,
        JOBS,
        AUDIT_LOG,
        EMBEDDING_MODELS,
        STORE_GAUGES,
    ):
        op.execute(statement)
    for table, (api, worker) in GRANTED.items():
        named = TENANT_IS_NAMED + (OR_OPERATOR if table in SEEN_BY_OPERATORS else "")
        op.execute(
            POLICIES.format(table=table, named=named, granted_to_api=api, granted_to_worker=worker)
        )
    for name, arguments in FUNCTIONS_BEFORE.items():
        op.execute(f"drop function {name} ({arguments})")
    replace_functions(MESSAGES_WITH_KEY, LEXICAL_MATCHES)


def replace_functions(*definitions: str) -> None:
    for definition in definitions:
        op.execute(definition)
    for name in FUNCTIONS:
        op.execute(f"revoke all on function {name} from public")
        op.execute(f"grant execute on function {name} to memory_api")


def downgrade() -> None:
    before = importlib.import_module("migrations.versions.0002_search")
    for name, arguments in FUNCTIONS.items():
        op.execute(f"drop function {name} ({arguments})")
    replace_functions(before.MESSAGES_WITH_KEY, before.LEXICAL_MATCHES)
    op.execute(f"drop table store_gauges, {', '.join(GRANTED)}")
    op.execute("revoke update on embedding_models from memory_worker")
    op.execute(
        "alter table embedding_models drop column provider, drop column setting,"
        " drop column filling, drop column activated_at"
    )
    op.execute(BACK)
