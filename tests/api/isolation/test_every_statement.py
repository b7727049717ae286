"""Each statement on a table of tenants names the tenant, or stands on a list with its reason.

They are those that lie ready in `db/`, those that a service sends while each of its operations is
called and its workers do all of their work, and those inside functions of the database.
"""

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import Connection, Select, TextClause, text
from sqlalchemy.dialects import postgresql

import db
from db.queries.audit import records_page
from db.queries.backups import count_rows, create_database, drop_database, rename_database
from db.queries.importing import said_there
from db.queries.jobs import jobs_by_id, jobs_page
from db.queries.keys import keys_by_id, keys_page
from db.queries.retention import lock_overflow
from db.queries.transfers import finished_export
from memory.settings import Settings
from tasks.periodic import ALWAYS, Schedule, Turn
from tasks.resources import Resources
from tests.api.isolation.attacking import Attacker
from tests.api.isolation.planted import MINE, TENANT_TABLES
from tests.api.isolation.statements import NAME, Statements
from tests.api.isolation.walking import Walk
from tests.db.cross_tenant import FUNCTIONS, STATEMENTS
from tests.db.naming import Reader, body_of, trees

SERVICE = {"memory_api", "memory_worker", "memory_migrate"}
DEFINITIONS = text("""
select proname, pg_get_functiondef(oid) from pg_proc
where pronamespace = 'public'::regnamespace and prokind = 'f'
  and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
""")


class Known(NamedTuple):
    """A statement, by its name; empty for one that has none."""

    name: str
    text: str


@pytest.fixture(scope="module")
def tables(store: Connection) -> list[str]:
    return list(store.scalars(TENANT_TABLES))


@pytest.fixture(scope="module")
def known(attacked: Attacker, service: Settings, statements: Statements) -> set[Known]:
    """All statements that lie ready or are sent."""
    Walk(attacked, service.redis_url).record()
    work(service)
    sent = {each.text for each in statements.sent if each.role in SERVICE}
    return {Known(name_of(each), each) for each in sent} | set(ready())


def ready() -> list[Known]:
    """The statements that `db/` has when it is imported, and some that it makes when asked."""
    modules = pkgutil.walk_packages(db.__path__, "db.")
    values = [
        value
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Select | TextClause)
    ]
    return [known_as(value) for value in (*values, *made())]


def made() -> list[Select[Any] | TextClause]:
    """Those of operators, with nothing to narrow them down, and what a walk does not send."""
    ids = [UUID(int=0)]
    pages = [jobs_page(None, None, None, None, 1), records_page(None, None, None, 1)]
    keys = [keys_by_id(ids), keys_page(None, True, None, 1)]
    files = [said_there(MINE, ids), finished_export(MINE, 1)]
    counts = [count_rows("messages", by_tenant=each) for each in (True, False)]
    letters: Any = SimpleNamespace(
        encoding="UTF8", collate="C", ctype="C", provider="builtin", locale="C.UTF-8"
    )
    databases = [create_database("a", letters), rename_database("a", "b"), drop_database("b")]
    retention = lock_overflow("ingested")
    return [jobs_by_id(ids), *pages, *keys, *files, *counts, *databases, retention]


def known_as(value: Select[Any] | TextClause) -> Known:
    options = {"render_postcompile": True}
    written = str(value.compile(dialect=postgresql.psycopg.dialect(), compile_kwargs=options))
    return Known(name_of(written), written)


def name_of(statement: str) -> str:
    found = NAME.search(statement)
    return found.group(1) if found else ""


def work(service: Settings) -> None:
    """What beat and the workers do: each chore, two days after nothing was done."""
    resources = Resources(service)
    resources.check_model()
    schedule = Schedule(service)
    for now in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=2)):
        schedule.keep(resources, now)
        for chore in ALWAYS.values():
            chore(resources, Turn(2.0, lambda: False))
    resources.close()


def open_in(statement: str, tables: list[str]) -> set[str]:
    return {
        found for tree in trees(statement) for found in Reader(tables, FUNCTIONS).left_open(tree)
    }


def touches(statement: str, tables: list[str]) -> bool:
    return any(Reader(tables, ()).touched(tree) for tree in trees(statement))


def test_none_is_forgotten(known: set[Known]) -> None:
    written = {
        name
        for path in Path(db.__file__).parent.rglob("*.py")
        for name in NAME.findall(path.read_text())
    }
    assert written - {each.name for each in known} == set(), "make them in `made`"


def test_each_has_a_name(known: set[Known], tables: list[str]) -> None:
    assert [each.text for each in known if not each.name and touches(each.text, tables)] == []


def test_each_names_the_tenant_or_is_on_the_list(known: set[Known], tables: list[str]) -> None:
    assert {each.name for each in known if open_in(each.text, tables)} == STATEMENTS.keys()


def test_functions_name_the_tenant_or_are_on_the_list(store: Connection, tables: list[str]) -> None:
    found = set()
    for name, definition in store.execute(DEFINITIONS):
        read = [Reader(tables, FUNCTIONS).left_open(body) for body in body_of(definition)]
        found |= {name} if any(read) else set()
    assert found == FUNCTIONS.keys()
