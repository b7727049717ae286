"""squawk reads each migration as SQL: nothing in it may stop a store that is in use."""

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psycopg
import pytest
from alembic import command

from cli.postgres import EmbeddedPostgres
from db import migrating
from db.migrating import migrate
from db.revisions import known_revisions
from tests.conftest import own_database
from tests.db.next_version import ADD_COLUMN, BUILD_INDEX, Next, next_folder, next_version
from tests.db.squawk_exceptions import EXCEPTIONS, RULES

__all__ = ["next_folder", "next_version"]  # fixtures

SQUAWK = Path(sys.executable).with_name("squawk")
# What is there, by kind: columns, constraints, indexes, policies, functions, grants, comments.
SCHEMA = """
select 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod),
  attnotnull::text, pg_get_expr(adbin, adrelid)
from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
  and attnum > 0 and not attisdropped
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), null, null
from pg_constraint where connamespace = 'public'::regnamespace
union all
select 'index', tablename, indexname, indexdef, null, null from pg_indexes
where schemaname = 'public'
union all
select 'policy', tablename, policyname, roles::text, qual, with_check from pg_policies
union all
select 'function', proname, proacl::text, pg_get_functiondef(oid), null, null from pg_proc
where pronamespace = 'public'::regnamespace
  and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
union all
select 'table', relname, relacl::text, relrowsecurity::text, obj_description(oid, 'pg_class'), null
from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'S')
union all
select 'role', rolname, rolcanlogin::text, rolbypassrls::text, null, null
from pg_roles where rolname like 'memory_%'
order by 1, 2, 3, 4
"""


class Finding(msgspec.Struct):
    """A line of squawk's report."""

    rule_name: str
    line: int
    message: str


def written(revisions: str) -> str:
    """What `alembic upgrade REVISIONS --sql` prints."""
    configuration = migrating._configuration()
    configuration.output_buffer = io.StringIO()
    command.upgrade(configuration, revisions, sql=True)
    return configuration.output_buffer.getvalue()


def step_to(revision: str) -> str:
    order = [None, *reversed(known_revisions())]
    before = order[order.index(revision) - 1]
    return written(f"{before}:{revision}" if before else revision)


def findings(sql: str) -> list[Finding]:
    ignored = [f"--exclude={rule}" for rule in RULES]
    done = subprocess.run(
        [SQUAWK, "--reporter=json", "--stdin-filepath=migration.sql", *ignored],
        input=sql,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr, done.stderr
    return msgspec.json.decode(done.stdout, type=list[Finding])


def rules(found: Sequence[Finding]) -> set[str]:
    return {each.rule_name for each in found}


@pytest.mark.parametrize("revision", known_revisions()[::-1])
def test_a_migration_stops_no_store_that_is_in_use(revision: str) -> None:
    found = findings(step_to(revision))
    assert rules(found) == {rule for of, rule in EXCEPTIONS if of == revision}, found


@pytest.mark.parametrize(
    ("upgrade", "rule"),
    [
        ("create index later on messages (role)", "require-concurrent-index-creation"),
        ("alter table messages alter column role type varchar(9)", "changing-column-type"),
        ("alter table messages drop column role", "ban-drop-column"),
        ("alter table messages rename column role to said_by", "renaming-column"),
        ("alter table messages add column later text not null", "adding-required-field"),
        (
            "alter table messages add column later float8 default random()",
            "adding-field-with-default",
        ),
        (
            "alter table messages add constraint later check (length(role) > 1)",
            "constraint-missing-not-valid",
        ),
        ("alter table messages alter column content set not null", "adding-not-nullable-field"),
        ("drop table message_uses", "ban-drop-table"),
    ],
)
def test_what_is_wrong_is_found(next_version: Next, upgrade: str, rule: str) -> None:
    assert rule in rules(findings(step_to(next_version(f'op.execute("{upgrade}")'))))


@pytest.mark.parametrize(
    "upgrade",
    [
        ADD_COLUMN,
        BUILD_INDEX,
        'op.execute("alter table messages add check (length(role) > 1) not valid")',
        'validate_constraint("messages", "messages_role_check")',
    ],
)
def test_what_the_rules_ask_for_is_fine(next_version: Next, upgrade: str) -> None:
    assert findings(step_to(next_version(upgrade))) == []


def test_the_written_sql_makes_the_same_store(postgres: EmbeddedPostgres) -> None:
    """For who runs it by hand: alembic's offline mode leaves out what cannot be written."""
    with (
        own_database(postgres.url, "template1") as one,
        own_database(postgres.url, "template1") as other,
    ):
        migrate(one)
        with psycopg.connect(other, autocommit=True) as connection:
            connection.execute(written("head").encode())
            by_hand = connection.execute(SCHEMA).fetchall()
        with psycopg.connect(one) as connection:
            assert connection.execute(SCHEMA).fetchall() == by_hand
