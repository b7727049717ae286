"""What runs as the owner, and sees all tenants, gives away those only that are named."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.engine import api_engine, worker_engine
from db.models import register_model
from db.queries.search import Asked, search_candidates
from db.sessions import tenant_transaction
from memory.lexical.analysis import analyser
from memory.search import SearchScope
from memory.settings import Settings
from tests.conftest import message, serving

TENANT_TABLES = (
    "message_terms",
    "term_statistics",
    "term_counts",
    "tenant_settings",
    "term_reindexing",
)
REFUSED = "does not name this tenant"


@pytest.fixture
async def engine(settings: Settings, owner: Connection) -> AsyncIterator[AsyncEngine]:
    """As the API's role, where two tenants have rows in every table."""
    register_model(settings.database_url, "mock", 384)
    with serving(settings) as api:
        for tenant_id in ("acme", "globex"):
            for _ in range(2):
                said = message(tenant_id=tenant_id, content="bees", metadata={"channel": "web"})
                assert api.post("/v1/messages", json=said).status_code == 202
            body = {"language": "german"}
            api.put(f"/v1/admin/tenants/{tenant_id}/settings", json=body)
            owner.execute(
                text("insert into term_statistics values (:tenant_id, 2, 1, 2)"),
                {"tenant_id": tenant_id},
            )
            owner.execute(
                text("insert into term_counts values (:tenant_id, 1, 2)"), {"tenant_id": tenant_id}
            )
    engine = api_engine(settings)
    yield engine
    await engine.dispose()


async def found(connection: AsyncConnection, tenant_id: str, **filters: Any) -> int:
    """How many messages about bees `tenant_id` has, as a search in its name finds them."""
    scope = SearchScope(tenant_id=tenant_id, **filters)
    asked = Asked(None, analyser("english").query_terms("bees"))
    found = await connection.execute(*search_candidates(scope, asked, 1, 50, exact=True))
    return len(found.all())


@pytest.mark.parametrize("filters", [{}, {"metadata": {"channel": "web"}}])
async def test_a_search_finds_what_the_transaction_names(
    engine: AsyncEngine, filters: dict[str, Any]
) -> None:
    async with tenant_transaction(engine, ["acme"]) as connection:
        assert await found(connection, "acme", **filters) == 2
    async with tenant_transaction(engine, ["globex", "acme"]) as connection:
        assert await found(connection, "acme", **filters) == 2
        assert await found(connection, "globex", **filters) == 2


@pytest.mark.parametrize("named", [[], ["globex"], ["acme2"], ["acm"], ["globex", "initech"]])
@pytest.mark.parametrize("filters", [{}, {"metadata": {"channel": "web"}}])
async def test_a_tenant_that_is_not_named_is_refused(
    engine: AsyncEngine, named: list[str], filters: dict[str, Any]
) -> None:
    with pytest.raises(ProgrammingError, match=REFUSED):
        async with tenant_transaction(engine, named) as connection:
            await found(connection, "acme", **filters)


async def test_without_any_name_there_is_no_search(engine: AsyncEngine) -> None:
    with pytest.raises(ProgrammingError, match=REFUSED):
        async with engine.connect() as connection:
            await found(connection, "acme")


async def test_the_look_up_by_metadata_refuses_by_itself(engine: AsyncEngine) -> None:
    look_up = text("select * from messages_with_key(:tenant_id, 1, true)")
    for tenant_id in ("acme", "", None):
        with pytest.raises(ProgrammingError, match=REFUSED):
            async with tenant_transaction(engine, ["globex"]) as connection:
                await connection.execute(look_up, {"tenant_id": tenant_id})


async def test_a_key_of_another_tenant_opens_nothing(
    engine: AsyncEngine, owner: Connection
) -> None:
    look_up = text("select count(*) from messages_with_key('acme', :key, false)")
    keys = text("select unnest(keys) from message_terms where tenant_id = :tenant_id")
    async with tenant_transaction(engine, ["acme"]) as connection:
        for key in owner.scalars(keys, {"tenant_id": "globex"}).all():
            assert await connection.scalar(look_up, {"key": key}) == 0
        ours = owner.scalars(keys, {"tenant_id": "acme"}).all()
        assert [await connection.scalar(look_up, {"key": key}) for key in ours] != [0] * len(ours)


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_the_api_reads_the_rows_of_the_tenants_it_names(
    engine: AsyncEngine, table: str
) -> None:
    whose = text(f"select distinct tenant_id from {table} order by 1")
    async with tenant_transaction(engine, ["acme"]) as connection:
        assert (await connection.scalars(whose)).all() == ["acme"]
    async with tenant_transaction(engine, ["acme", "globex"]) as connection:
        assert (await connection.scalars(whose)).all() == ["acme", "globex"]
    async with engine.connect() as connection:
        assert (await connection.scalars(whose)).all() == []


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("insert into tenant_settings (tenant_id) values ('initech')", "row-level security"),
        ("insert into term_reindexing (tenant_id) values ('initech')", "row-level security"),
        ("update message_terms set tenant_id = 'globex'", "row-level security"),
        ("update term_statistics set messages = 0", "permission denied"),
        ("delete from term_counts", "permission denied"),
        ("delete from term_reindexing", "permission denied"),
    ],
)
async def test_the_api_writes_what_is_its_own_only(
    engine: AsyncEngine, statement: str, refusal: str
) -> None:
    with pytest.raises(ProgrammingError, match=refusal):
        async with tenant_transaction(engine, ["acme"]) as connection:
            await connection.execute(text(statement))


def test_nobody_else_may_call_what_runs_as_the_owner(settings: Settings, owner: Connection) -> None:
    definers = text("""
select proname from pg_proc
where prosecdef and pronamespace = 'public'::regnamespace
  and has_function_privilege(:role, oid, 'execute') order by 1
""")
    assert len(owner.scalars(definers, {"role": "memory_api"}).all()) >= 2
    assert owner.scalars(definers, {"role": "memory_worker"}).all() == []
    engine = worker_engine(settings)
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text("select * from messages_with_key('acme', 1, false)"))
    engine.dispose()
