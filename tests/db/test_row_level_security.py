"""Each process sees what its role may see, whatever the statement says."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.engine import api_engine, driver_url, worker_engine
from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.jobs import INSERT_JOB
from db.queries.messages import TENANT_OF_MESSAGE
from db.sessions import operator_transaction, tenant_transaction
from memory.settings import Settings
from tasks.jobs import NewJob
from tests.db.rows import add_message

EVERY_MESSAGE = text("select tenant_id from messages order by tenant_id")
TENANT_TABLES = text("""
select c.relname, c.relrowsecurity,
  (select a.attname from pg_index i join pg_attribute a
     on a.attrelid = c.oid and a.attnum = i.indkey[0]
   where i.indrelid = c.oid and i.indisprimary) as first_key
from pg_class c join pg_attribute t on t.attrelid = c.oid and t.attname = 'tenant_id'
where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
""")


@pytest.fixture
async def engine(settings: Settings, owner: Connection):
    add_message(owner, "acme")
    add_message(owner, "globex")
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


async def test_the_api_sees_the_tenants_it_names(engine: AsyncEngine) -> None:
    async with tenant_transaction(engine, ["acme"]) as connection:
        assert (await connection.scalars(EVERY_MESSAGE)).all() == ["acme"]
    async with tenant_transaction(engine, ["globex", "acme"]) as connection:
        assert (await connection.scalars(EVERY_MESSAGE)).all() == ["acme", "globex"]


async def test_the_role_does_not_hang_on_how_the_connection_began(
    engine: AsyncEngine, settings: Settings
) -> None:
    """A pooler between here and PostgreSQL may pass over it."""
    plain = create_async_engine(driver_url(settings.database_url))
    try:
        for planned in (False, True):
            async with tenant_transaction(plain, ["acme"], planned=planned) as connection:
                assert (await connection.scalars(EVERY_MESSAGE)).all() == ["acme"]
        async with operator_transaction(plain) as connection:
            assert (await connection.scalars(EVERY_MESSAGE)).all() == []
    finally:
        await plain.dispose()


async def test_without_a_name_the_api_sees_nothing(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert (await connection.scalars(EVERY_MESSAGE)).all() == []


async def test_a_name_ends_with_its_transaction(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("select set_config('memory.tenants', 'acme', true)"))
        await connection.commit()
        assert (await connection.scalars(EVERY_MESSAGE)).all() == []


async def test_the_api_cannot_write_for_a_tenant_that_it_does_not_name(engine: AsyncEngine) -> None:
    move = text("update messages set tenant_id = 'globex' where tenant_id = 'acme'")
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with tenant_transaction(engine, ["acme"]) as connection:
            await connection.execute(move)


async def test_the_look_up_by_id_gives_the_tenant_and_no_more(
    engine: AsyncEngine, owner: Connection
) -> None:
    message_id = add_message(owner, "initech")
    async with operator_transaction(engine) as connection:
        assert await connection.scalar(TENANT_OF_MESSAGE, {"id": message_id}) == "initech"
        assert (await connection.scalars(EVERY_MESSAGE)).all() == []


async def test_the_look_up_by_id_answers_nobody_but_operators(
    engine: AsyncEngine, owner: Connection
) -> None:
    message_id = add_message(owner, "initech")
    for tenants in (["acme"], ["initech"]):
        async with tenant_transaction(engine, tenants) as connection:
            assert await connection.scalar(TENANT_OF_MESSAGE, {"id": message_id}) is None


def new_job(tenant_id: str) -> dict[str, object]:
    return NewJob("rescore", tenant_id, {}, "test").parameters()


async def test_an_operator_sees_jobs_and_records_of_all_and_nothing_else(
    engine: AsyncEngine, owner: Connection
) -> None:
    for tenant_id in ("acme", "globex", "*"):
        owner.execute(INSERT_JOB, new_job(tenant_id))
        owner.execute(INSERT_RECORD, record_parameters(tenant_id, "test", "test", {}))
    seen = ["*", "acme", "globex"]
    tables = set(owner.scalars(text(f"select relname from ({TENANT_TABLES}) as tables")))
    async with operator_transaction(engine) as connection:
        for table in tables:
            found = await connection.scalars(text(f"select tenant_id from {table} order by 1"))
            assert found.all() == (seen if table in {"jobs", "audit_log"} else []), table
        assert (await connection.execute(INSERT_JOB, new_job("initech"))).one()
        await connection.execute(INSERT_RECORD, record_parameters("initech", "test", "test", {}))
    assert owner.scalar(text("select count(*) from jobs")) == 4
    assert owner.scalar(text("select count(*) from audit_log")) == 4


@pytest.mark.parametrize("table", ["jobs", "audit_log"])
async def test_who_is_no_operator_sees_the_named_tenants_alone(
    engine: AsyncEngine, owner: Connection, table: str
) -> None:
    for tenant_id in ("acme", "globex", "*"):
        owner.execute(INSERT_JOB, new_job(tenant_id))
        owner.execute(INSERT_RECORD, record_parameters(tenant_id, "test", "test", {}))
    every = text(f"select tenant_id from {table}")
    async with operator_transaction(engine):
        pass
    async with engine.connect() as connection:
        assert (await connection.scalars(every)).all() == []
    async with tenant_transaction(engine, ["acme"]) as connection:
        assert (await connection.scalars(every)).all() == ["acme"]
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with tenant_transaction(engine, ["acme"]) as connection:
            await connection.execute(INSERT_JOB, new_job("*"))


def test_the_worker_sees_all_and_may_not_change_the_schema(
    settings: Settings, owner: Connection
) -> None:
    add_message(owner, "acme")
    add_message(owner, "globex")
    engine = worker_engine(settings)
    with engine.connect() as connection:
        assert connection.scalars(EVERY_MESSAGE).all() == ["acme", "globex"]
        with pytest.raises(ProgrammingError, match="must be owner"):
            connection.execute(text("drop table messages"))
    engine.dispose()


def test_no_role_of_ours_bypasses_row_level_security(owner: Connection) -> None:
    rows = owner.execute(
        text(
            "select rolbypassrls, rolsuper, rolcanlogin from pg_roles"
            " where rolname in ('memory_api', 'memory_worker')"
        )
    ).all()
    assert len(rows) == 2
    assert not any(any(row) for row in rows)


def test_every_tenant_table_is_locked_and_keyed_by_its_tenant(owner: Connection) -> None:
    tables = owner.execute(TENANT_TABLES).all()
    assert {table.relname for table in tables} >= {"messages", "message_embeddings"}
    for table in tables:
        assert table.relrowsecurity, table.relname
        assert table.first_key == "tenant_id", table.relname
