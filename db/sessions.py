"""Transactions of the API, each of which names the tenants that it may see."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NAME_TENANTS = text("select set_config('memory.tenants', :tenants, true)")


@asynccontextmanager
async def tenant_transaction(
    engine: AsyncEngine, tenants: Iterable[str]
) -> AsyncIterator[AsyncConnection]:
    """A transaction in which row-level security shows the rows of `tenants` only.

    It commits when the block ends and rolls back when the block raises.
    """
    async with engine.begin() as connection:
        await connection.execute(NAME_TENANTS, {"tenants": ",".join(sorted(set(tenants)))})
        yield connection
