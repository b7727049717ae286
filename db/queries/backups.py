"""What a backup asks of the database: a snapshot, what it holds, and databases for a while.

All of this is the owner's, who sees the rows of each tenant; the statements span tenants.
"""

from typing import Any

from sqlalchemy import Row, TextClause, text

# Of the backups and restores of a database one is at work at a time.
TRY_LOCK = text("/* try_backup_lock */ select pg_try_advisory_lock(:lock)")
# While it is held no migration begins; one that is at work is waited for.
TRY_SHARED_LOCK = text("/* try_migration_lock */ select pg_try_advisory_lock_shared(:lock)")
WITHOUT_LIMITS = text("""
/* without_limits */
select set_config('statement_timeout', '0', false), set_config('lock_timeout', '60s', false),
  set_config('idle_in_transaction_session_timeout', '0', false)
""")

ONE_MOMENT = text("/* one_moment */ set transaction isolation level repeatable read, read only")
EXPORT_SNAPSHOT = text("""
/* export_snapshot */
select pg_export_snapshot() as snapshot, now() as taken_at, current_database() as database,
  pg_database_size(current_database()) as database_bytes,
  current_setting('server_version_num')::int as server,
  (select extversion from pg_extension where extname = 'vector') as vector
""")

# All tables, of whatever version the schema is.
COUNTED_TABLES = text("""
/* counted_tables */
select c.relname as name, exists (
    select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'
      and not a.attisdropped) as by_tenant
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by c.relname
""")

# How far the pg_dump or pg_restore that is at work has come with each table.
COPIED = text("""
/* copied */
select relid::int8 as table, tuples_processed as rows
from pg_stat_progress_copy join pg_stat_activity using (pid)
where pg_stat_progress_copy.datname = :database and application_name = :application
""")

# Whether the login may make databases and call this one by another name.
RIGHTS = text("""
/* rights */
select rolsuper or rolcreatedb as creates, pg_has_role(current_user, datdba, 'usage') as owns
from pg_roles, pg_database where rolname = current_user and datname = current_database()
""")

# Who is connected beside this session, and the ones of a backup.
OTHERS_HERE = text("""
/* others_here */
select coalesce(nullif(application_name, ''), 'another program') as name, count(*) as sessions
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend'
  and application_name not in ('memory_migrate', 'memory_backup') and pid <> pg_backend_pid()
group by 1 order by 1
""")

# A database for a while bears the number of the one that it is for, so that the next backup or
# restore of that one removes what a killed one has left. One whose database is gone is anybody's.
NUMBER_OF = text("""
/* number_of_database */
select oid::int8 from pg_database where datname = current_database()
""")
# A new database is to hold the same letters in the same order, whatever the server's others do.
# Which column has the locale of a provider differs between PostgreSQL's versions.
LETTERS = text("""
/* letters_of_database */
select pg_encoding_to_char(encoding) as encoding, datcollate as collate, datctype as ctype,
  case datlocprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end as provider,
  coalesce(to_jsonb(own) ->> 'datlocale', to_jsonb(own) ->> 'daticulocale') as locale
from pg_database as own where datname = current_database()
""")
LEFTOVERS = text("""
/* leftover_databases */
select datname from pg_database where starts_with(datname, :own)
  or starts_with(datname, :any) and not exists (
    select from pg_database as other
    where starts_with(pg_database.datname, :any || other.oid || '_'))
""")

NEWEST_VECTOR = text("""
/* newest_vector */
select max(string_to_array(version, '.')::int[]) as version from pg_available_extension_versions
where name = 'vector' and version ~ '^[0-9.]+$'
""")
ADD_VECTOR = text("/* add_vector */ create extension if not exists vector")
ANALYZE = text("/* analyze_store */ analyze")

# A backup that a job makes has that job in it, at work for ever.
END_BACKUP_JOBS = text("""
/* end_backup_jobs */
update jobs set state = 'cancelled', runner = null, lease_until = null, finished_at = now(),
  updated_at = now()
where tenant_id = '*' and kind = 'backup' and state in ('queued', 'running')
""")
# What was made by hand counts as what the schedule makes.
RECORD_BACKUP = text("""
/* record_backup */
insert into jobs (tenant_id, id, kind, state, result, started_by, started_at, finished_at)
values ('*', :id, 'backup', 'completed', cast(:result as jsonb), :started_by, now(), now())
""")


def count_rows(table: str, *, by_tenant: bool) -> TextClause:
    """Rows of a table, of each tenant where it has them."""
    whose = "tenant_id" if by_tenant else "'*'"
    return text(
        f"/* count_rows */ select {whose} as tenant, count(*) as rows from public.{quoted(table)}"  # noqa: S608
        " group by 1 having count(*) > 0"
    )


def create_database(name: str, letters: Row[Any]) -> TextClause:
    """Make an empty database with the `LETTERS` of another."""
    statement = (
        f"/* create_database */ create database {quoted(name)} template template0"
        f" encoding {literal(letters.encoding)} lc_collate {literal(letters.collate)}"
        f" lc_ctype {literal(letters.ctype)} locale_provider {letters.provider}"
    )
    if letters.provider != "libc":
        statement += f" {letters.provider}_locale {literal(letters.locale)}"
    return text(statement)


def drop_database(name: str) -> TextClause:
    """Drop a database, whoever is connected to it."""
    return text(f"/* drop_database */ drop database if exists {quoted(name)} with (force)")


def rename_database(name: str, to: str) -> TextClause:
    """Call a database by another name; nobody may be connected to it."""
    return text(f"/* rename_database */ alter database {quoted(name)} rename to {quoted(to)}")


def literal(value: str) -> str:
    """A text as it stands in a statement."""
    doubled = value.replace("'", "''")
    return "'" + doubled.replace(":", r"\:") + "'"


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    doubled = name.replace('"', '""')
    # What a colon begins would be a parameter.
    return '"' + doubled.replace(":", r"\:") + '"'
