"""The catalog of a real store: each table of tenants can be cut by `tenant_id`, as by Citus."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.db.cross_tenant import KEYS, STATEMENTS, TABLES

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
COLUMNS = text("""
select relname, coalesce(bool_or(attname = 'tenant_id'), false) as of_tenants,
  coalesce(bool_or(attname = 'tenant_id' and attnotnull and collname = 'C'), false) as fit
from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
left join pg_collation on pg_collation.oid = attcollation
where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') group by relname
""")
# Of each key the first column, here and where it points to.
KEYS_OF_TABLES = text("""
select pg_class.relname, conname as name, contype::text as kind, target.relname as target,
  (select attname from pg_attribute where attrelid = conrelid and attnum = conkey[1]) as first,
  (select attname from pg_attribute where attrelid = confrelid and attnum = confkey[1]) as there
from pg_constraint join pg_class on pg_class.oid = conrelid
left join (select oid, relname from pg_class) as target on target.oid = confrelid
where pg_class.relnamespace = 'public'::regnamespace and contype in ('p', 'u', 'f', 'x')
union all
select tables.relname, indexes.relname, 'index', null,
  (select attname from pg_attribute where attrelid = indrelid and attnum = indkey[0]), null
from pg_index join pg_class as tables on tables.oid = indrelid
join pg_class as indexes on indexes.oid = indexrelid
where tables.relnamespace = 'public'::regnamespace and indisunique
""")
WITHOUT_WALL = text("""
select relname from pg_class join pg_attribute on attrelid = pg_class.oid
where relnamespace = 'public'::regnamespace and attname = 'tenant_id' and relkind in ('r', 'p')
  and not (relrowsecurity and 2 = (
    select count(*) from pg_policies
    where tablename = relname and roles <@ array['memory_api', 'memory_worker']::name[]))
""")


POLICIES = text("""
select tablename, qual from pg_policies
where policyname = 'api_sees_named_tenants' and roles = array['memory_api']::name[]
""")


@pytest.fixture
def of_tenants(owner: Connection) -> set[str]:
    return {row.relname for row in owner.execute(COLUMNS) if row.of_tenants}


def test_tables_without_tenants_are_these(owner: Connection) -> None:
    assert {row.relname for row in owner.execute(COLUMNS) if not row.of_tenants} == TABLES.keys()


def test_a_tenant_is_never_null_and_is_compared_byte_by_byte(
    owner: Connection, of_tenants: set[str]
) -> None:
    assert {row.relname for row in owner.execute(COLUMNS) if row.fit} == of_tenants


def test_each_key_begins_with_the_tenant(owner: Connection, of_tenants: set[str]) -> None:
    found = [row for row in owner.execute(KEYS_OF_TABLES) if row.relname in of_tenants]
    assert {row.relname for row in found if row.kind == "p"} == of_tenants
    wrong = {row.name for row in found if row.first != "tenant_id"}
    wrong |= {row.name for row in found if row.kind == "f" and row.there != "tenant_id"}
    assert wrong == KEYS.keys()
    assert all(row.target in TABLES for row in found if row.name in KEYS)


def test_no_table_points_to_tenants_from_outside(owner: Connection, of_tenants: set[str]) -> None:
    found = owner.execute(KEYS_OF_TABLES)
    assert [
        row.name
        for row in found
        if row.target in of_tenants - {row.relname} and row.relname not in of_tenants
    ] == []


def test_each_has_its_wall(owner: Connection) -> None:
    assert owner.scalars(WITHOUT_WALL).all() == []


def section() -> str:
    found = re.search(r"^## Citus\n(.*?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found.group(1)


def statements() -> list[str]:
    """What the page has an operator run, one statement each."""
    blocks = re.findall(r"```sql\n(.*?)```", section(), re.DOTALL)
    lines = re.sub(r"--.*", "", "\n".join(blocks))
    return [" ".join(each.split()) for each in lines.split(";") if each.strip()]


def test_the_statements_for_citus_are_those_of_the_catalog(
    owner: Connection, of_tenants: set[str]
) -> None:
    first, *others = sorted(of_tenants, key=lambda table: (table != "messages", table))
    distributed = [f"select create_distributed_table('{first}', 'tenant_id')"]
    distributed += [
        f"select create_distributed_table('{table}', 'tenant_id', colocate_with => 'messages')"
        for table in after_what_they_point_to(owner, others)
    ]
    found = statements()
    assert [each for each in found if "create_distributed_table" in each] == distributed
    reference = found.index("select create_reference_table('embedding_models')")
    assert reference < found.index(distributed[0])
    altered = {
        each.split(" on ")[1].split()[0] for each in found if each.startswith("alter policy")
    }
    assert altered == of_tenants


def after_what_they_point_to(owner: Connection, tables: list[str]) -> list[str]:
    """In the order of their names, but none before a table that it has a key to."""
    keys = [row for row in owner.execute(KEYS_OF_TABLES) if row.kind == "f"]
    needs = {table: {row.target for row in keys if row.relname == table} for table in tables}
    ordered: list[str] = []
    while left := [table for table in tables if table not in ordered]:
        ordered.append(next(t for t in left if not needs[t] & (set(left) - {t})))
    return ordered


def test_the_policies_for_citus_say_what_those_of_the_migrations_say(owner: Connection) -> None:
    before = without_sub_select(owner)
    owner.exec_driver_sql("begin")
    for statement in statements():
        if statement.startswith("alter"):
            owner.exec_driver_sql(statement)
    found = owner.execute(POLICIES).all()
    owner.exec_driver_sql("rollback")
    assert all("SELECT" not in row.qual for row in found)
    assert {row.tablename: flat(row.qual) for row in found} == before


def without_sub_select(owner: Connection) -> dict[str, str]:
    """What the policies say, by table, with each sub-select replaced by what it selects."""
    selected = re.compile(r"\( ?SELECT (.*?) AS \w+\)(::text\[\])?")
    return {row.tablename: flat(selected.sub(r"\1", row.qual)) for row in owner.execute(POLICIES)}


def flat(condition: str) -> str:
    return re.sub(r"[()\s]", "", condition)


def test_what_spans_tenants_stands_on_the_page() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", section(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(STATEMENTS)
