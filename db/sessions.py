"""Transactions of the API, each of which names the tenants that it may see."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NAME_TENANTS = text("select set_config('memory.tenants', :tenants, true)")
# A plan for any tenant takes each for one of average size. Where one has 20 messages and another
# 100,000 that may cost seconds, while planning takes a third of a millisecond.
NAME_TENANTS_AND_PLAN = text("""
select set_config('memory.tenants', :tenants, true),
  set_config('plan_cache_mode', 'force_custom_plan', true)
""")


@asynccontextmanager
async def tenant_transaction(
    engine: AsyncEngine, tenants: Iterable[str], *, planned: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A transaction in which row-level security shows the rows of `tenants` only.

    With `planned`, each statement is planned for its own parameters. The transaction commits when
    the block ends and rolls back when the block raises.
    """
    named = NAME_TENANTS_AND_PLAN if planned else NAME_TENANTS
    async with engine.begin() as connection:
        await connection.execute(named, {"tenants": ",".join(sorted(set(tenants)))})
        yield connection
