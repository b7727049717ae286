"""Transactions of the API, each of which names the tenants that it may see.

The rows of `jobs` and of `audit_log` can be about all tenants (tenant `*`), and an operator looks a
job up by its id alone. A transaction that says `memory.operator` may read and add such rows of
every tenant; no other table listens to it.
"""

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

BE_OPERATOR = text("select set_config('memory.operator', 'yes', true)")


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


@asynccontextmanager
async def operator_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees the jobs and the audit log of all tenants, and nothing else.

    It commits when the block ends and rolls back when the block raises.
    """
    async with engine.begin() as connection:
        await connection.execute(BE_OPERATOR)
        yield connection
