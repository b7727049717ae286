"""Transactions of the API, each of which names the tenants that it may see.

The rows of `jobs` and of `audit_log` can be about all tenants (tenant `*`), and an operator looks a
job up by its id alone. A transaction that says `memory.operator` may read and add such rows of
every tenant, and all keys; no other table listens to it.

Whoever answers a caller whose key is for some tenants only says so once, with `bound_to`; from then
on no transaction, whatever asks for it, can name another tenant or be an operator's.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from memory.errors import ForeignTenantError

# The tenants of the caller who is answered in this context, None for all.
BOUND: ContextVar[frozenset[str] | None] = ContextVar("bound", default=None)

# The role is that of the connection, where nothing between here and PostgreSQL passes over what a
# connection asks for at its start. A pooler may, and the owner sees all.
NAME_TENANTS = text("""
/* name_tenants */
select set_config('memory.tenants', :tenants, true), set_config('role', 'memory_api', true)
""")
# A plan for any tenant takes each for one of average size. Where one has 20 messages and another
# 100,000 that may cost seconds, while planning takes a third of a millisecond.
NAME_TENANTS_AND_PLAN = text("""
/* name_tenants_and_plan */
select set_config('memory.tenants', :tenants, true), set_config('role', 'memory_api', true),
  set_config('plan_cache_mode', 'force_custom_plan', true)
""")

BE_OPERATOR = text("""
/* be_operator */
select set_config('memory.operator', 'yes', true), set_config('role', 'memory_api', true)
""")

AS_API = text("/* as_api */ set local role memory_api")


@contextmanager
def bound_to(tenants: frozenset[str] | None) -> Iterator[None]:
    """What is done in the block, and begun from it, is for a caller who has these tenants."""
    token = BOUND.set(tenants)
    try:
        yield
    finally:
        BOUND.reset(token)


def check_bound(tenants: Iterable[str]) -> None:
    """Raise `ForeignTenantError` when one of `tenants` is not the caller's."""
    bound = BOUND.get()
    if bound is not None and not bound.issuperset(tenants):
        raise ForeignTenantError


@asynccontextmanager
async def tenant_transaction(
    engine: AsyncEngine, tenants: Iterable[str], *, planned: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A transaction in which row-level security shows the rows of `tenants` only.

    With `planned`, each statement is planned for its own parameters. The transaction commits when
    the block ends and rolls back when the block raises. Raises `ForeignTenantError`.
    """
    tenants = set(tenants)
    check_bound(tenants)
    named = NAME_TENANTS_AND_PLAN if planned else NAME_TENANTS
    async with engine.begin() as connection:
        await connection.execute(named, {"tenants": ",".join(sorted(tenants))})
        yield connection


@asynccontextmanager
async def operator_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees the jobs and the audit log of all tenants, and keys; nothing else.

    It commits when the block ends and rolls back when the block raises. Raises
    `ForeignTenantError` for a caller who has not all tenants.
    """
    if BOUND.get() is not None:
        raise ForeignTenantError
    async with engine.begin() as connection:
        await connection.execute(BE_OPERATOR)
        yield connection


@asynccontextmanager
async def visible_transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees the jobs and the audit log as far as they are the caller's."""
    bound = BOUND.get()
    named = operator_transaction(engine) if bound is None else tenant_transaction(engine, bound)
    async with named as connection:
        yield connection


def visible_tenants() -> list[str] | None:
    """The tenants that a statement for the caller must name; None for all."""
    bound = BOUND.get()
    return None if bound is None else sorted(bound)


def see_as_api(connection: Connection, tenant_id: str) -> None:
    """For the rest of the transaction a worker's connection sees this tenant and no more."""
    check_bound([tenant_id])
    connection.execute(AS_API)
    connection.execute(NAME_TENANTS, {"tenants": tenant_id})
