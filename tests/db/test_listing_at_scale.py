"""Listing in a tenant of many messages goes by the indexes, as the API's role."""

import pytest
from sqlalchemy import Connection, text
from uuid_utils.compat import uuid7

from db.engine import api_engine
from db.queries.listing import Wanted, messages_page
from db.sessions import tenant_transaction
from memory.settings import Settings

# One in a hundred has failed, one in ten lies in the archive.
FILL = text("""
insert into messages (tenant_id, id, conversation_id, role, content, importance_score,
  created_at, embedding_status, archived_at)
select 'tenant-' || n % 2, cast(lpad(to_hex(n), 32, '0') as uuid), 'c-' || n / 25, 'user',
  'note ' || n, 0.5, now(),
  case when n % 100 = 1 then 'failed' when n % 10 = 7 then 'archived' else 'completed' end,
  case when n % 10 = 7 then now() end
from generate_series(1, 40000) as n
""")


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted("failed", "exclude", None, None), "messages_failed"),
        (Wanted("failed", "include", None, uuid7()), "messages_failed"),
        (Wanted("pending", "exclude", None, None), "messages_pending"),
        (Wanted("completed", "exclude", None, None), "messages_pkey"),
        (Wanted(None, "exclude", "c-7", None), "messages_conversation"),
        (Wanted(None, "only", None, None), "messages_pkey"),
    ],
)
async def test_a_page_goes_by_its_index(
    settings: Settings, owner: Connection, wanted: Wanted, index: str
) -> None:
    owner.execute(FILL)
    owner.execute(text("analyze messages"))
    engine = api_engine(settings)
    page = messages_page("tenant-1", wanted, 51).compile(dialect=engine.dialect)
    async with tenant_transaction(engine, ["tenant-1"], planned=True) as connection:
        rows = await connection.exec_driver_sql(f"explain {page}", dict(page.params))
        plan = "\n".join(rows.scalars())
    await engine.dispose()
    assert f"using {index}" in plan or f"on {index}" in plan, plan
    assert "Seq Scan" not in plan, plan
    # Or the last page would look through all tenants that come after.
    assert wanted.conversation_id or "tenant_id <= 'tenant-1'" in plan, plan
