"""Streaming replicas: how far they are, and transactions on one that is far enough."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.reading import Rows
from db.sessions import tenant_transaction
from memory.errors import ReplicaUnfitError

# What is flushed, for what is committed is: what is only inserted may end in a page's header, which
# no replica reaches before the next record.
PRIMARY_POSITION = text("""
/* primary_position */
select system_identifier as system, current_database() as database,
  cast(cast('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8) as bit(32)) as bigint)
    as timeline,
  cast(pg_current_wal_flush_lsn() - '0/0' as bigint) as log
from pg_control_system()
""")

# A replica that has followed a promoted server to its timeline says so in its control file from the
# next time on that it writes it.
REPLICA_POSITION = text("""
/* replica_position */
select system.system_identifier as system, current_database() as database,
  cast(greatest(point.timeline_id, recovery.min_recovery_end_timeline) as bigint) as timeline,
  cast(pg_last_wal_replay_lsn() - '0/0' as bigint) as log, pg_is_in_recovery() as replays
from pg_control_system() as system, pg_control_checkpoint() as point,
  pg_control_recovery() as recovery
""")


class Position(NamedTuple):
    """How far a database is: so many bytes of the log of a timeline of a system."""

    system: int
    database: str
    timeline: int
    log: int


async def primary_position(connection: AsyncConnection) -> Position:
    """How far the primary is: what was committed before is there. A replica's raises an error."""
    return Position(*(await connection.execute(PRIMARY_POSITION)).one())


async def replica_position(connection: AsyncConnection) -> Position:
    """How far the replica has come. Raises `ReplicaUnfitError` when it is none."""
    row = (await connection.execute(REPLICA_POSITION)).one()
    if not row.replays:
        raise ReplicaUnfitError("it replays nothing: it is no replica, or was promoted")
    return Position(*row[:4])


def another_log(position: Position, primary: Position) -> str | None:
    """Why `position` is not to be compared with the primary's; None when it is."""
    for name in ("system", "database", "timeline"):
        if getattr(position, name) != getattr(primary, name):
            return f"it is of another {name}"
    return None


@asynccontextmanager
async def replica_transaction(
    engine: AsyncEngine, needed: Position, tenants: Iterable[str], *, planned: bool = False
) -> AsyncIterator[AsyncConnection]:
    """A `tenant_transaction` on a replica that has come as far as `needed`.

    It is asked in each, for behind one URL there may be several, or one that was started anew and
    is not yet where it was. Raises `ReplicaUnfitError`.
    """
    async with tenant_transaction(engine, tenants, planned=planned) as connection:
        position = await replica_position(connection)
        if reason := another_log(position, needed):
            raise ReplicaUnfitError(reason)
        if position.log < needed.log:
            raise ReplicaUnfitError("it is behind")
        yield connection


async def read_on_replica(
    engine: AsyncEngine,
    needed: Position,
    tenants: Iterable[str],
    statement: TextClause,
    parameters: Mapping[str, Any],
    *,
    planned: bool = False,
) -> Rows:
    """The rows of a statement on a replica that has come as far as `needed`: see `db.reading.Read`.

    Raises `ReplicaUnfitError`.
    """
    async with replica_transaction(engine, needed, tenants, planned=planned) as connection:
        return (await connection.execute(statement, parameters)).all()
