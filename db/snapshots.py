"""A store held still: one backup or restore at a time, and all of it as it was at one moment."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from db.dumping import APPLICATION
from db.queries.backups import (
    COPIED,
    COUNTED_TABLES,
    EXPORT_SNAPSHOT,
    ONE_MOMENT,
    OTHERS_HERE,
    TRY_LOCK,
    TRY_SHARED_LOCK,
    WITHOUT_LIMITS,
    count_rows,
)
from db.schema import LOCK as MIGRATION_LOCK
from db.schema import current_revision, owner_connection
from db.scratch import at_once
from memory.backups import Rows
from memory.errors import BackupError

# Any number will do, as long as it is ours: it keys the advisory lock of backups and restores.
LOCK = 0x6261636B7570
WAIT_SECONDS = 0.5


class Snapshot(NamedTuple):
    """A store at one moment, for pg_dump too, as long as the connection is open."""

    connection: Connection
    name: str
    taken_at: datetime
    database: str
    database_bytes: int
    revision: str
    server: int
    vector: str


@contextmanager
def alone(url: str, waiting: Callable[[], None]) -> Iterator[Connection]:
    """While the block lasts no other backup or restore of this database begins, and no migration.

    One that is at work is waited for; `waiting` is called meanwhile and may raise to give up.
    """
    with at_once(url) as connection:
        locks = {TRY_LOCK: LOCK, TRY_SHARED_LOCK: MIGRATION_LOCK}
        for statement, number in locks.items():
            while not connection.scalar(statement, {"lock": number}):
                waiting()
                time.sleep(WAIT_SECONDS)
        yield connection


@contextmanager
def store_snapshot(url: str) -> Iterator[Snapshot]:
    """The store at `url` as it is now. Raises `BackupError` when there is none."""
    with owner_connection(url) as connection:
        connection.execute(WITHOUT_LIMITS)
        connection.commit()
        revision = current_revision(connection)
        if revision is None:
            raise BackupError("There is nothing to back up: the database has no schema of ours.")
        connection.execute(ONE_MOMENT)
        row = connection.execute(EXPORT_SNAPSHOT).one()
        yield Snapshot(
            connection,
            row.snapshot,
            row.taken_at,
            row.database,
            row.database_bytes,
            revision,
            row.server,
            row.vector or "",
        )


def counted(connection: Connection) -> Rows:
    """The rows of each table, by tenant where it has them."""
    return {
        table.name: {
            row.tenant: row.rows
            for row in connection.execute(count_rows(table.name, by_tenant=table.by_tenant))
        }
        for table in connection.execute(COUNTED_TABLES).all()
    }


def counted_at(url: str) -> Rows:
    """The rows of each table of the database at `url`."""
    with at_once(url) as connection:
        return counted(connection)


def copied(connection: Connection, database: str) -> dict[int, int]:
    """Of the tables that pg_dump is at work on, how many rows it has read."""
    asked = {"database": database, "application": APPLICATION}
    return {row.table: row.rows for row in connection.execute(COPIED, asked)}


def others_here(connection: Connection) -> str:
    """Who is connected to the database beside us, in words; empty for nobody."""
    return ", ".join(f"{row.name} ({row.sessions})" for row in connection.execute(OTHERS_HERE))
