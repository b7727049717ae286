"""Connections of the owner of the database, and whether a version can work on its schema."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from db.engine import driver_url
from db.revisions import HAS_SCHEMA, NOTED_REVISION, known_revisions
from memory.errors import MigrationError, SchemaOutdatedError, VersionOutdatedError

# Any number will do, as long as it is ours: it keys the advisory lock of migrations.
LOCK = 0x6D656D6F7279
WAIT_FOR_OTHERS_SECONDS = 300
# Longer than this nobody waits behind a migration that waits for a table.
LOCK_TIMEOUT = "1s"
# What takes longer belongs into `unhurried`, or into a job.
STATEMENT_TIMEOUT = "60s"

SERVED = "serves versions of schema {revision} or later"
SERVED_NOTE = text(
    "/* served_revision */ select obj_description(to_regclass('alembic_version'), 'pg_class')"
)


@contextmanager
def owner_connection(url: str) -> Iterator[Connection]:
    """A connection of the login role, with time limits for each of its statements."""
    engine = create_engine(
        driver_url(url),
        poolclass=NullPool,
        connect_args={"connect_timeout": 5, "application_name": "memory_migrate"},
    )
    with engine.connect() as connection:
        connection.execute(text("set lock_timeout = '5s'"))
        connection.execute(text("set statement_timeout = '600s'"))
        connection.commit()
        yield connection


@contextmanager
def migration_connection(url: str) -> Iterator[Connection]:
    """An `owner_connection` that holds the lock of migrations until it is closed.

    Raises `MigrationError` when another one holds it for too long.
    """
    with owner_connection(url) as connection:
        _take_lock(connection)
        limit(connection)
        yield connection


def current_revision(connection: Connection) -> str | None:
    """The revision of the database, None when it has no schema yet."""
    noted = connection.scalar(text(HAS_SCHEMA))
    revision: str | None = connection.scalar(text(NOTED_REVISION)) if noted else None
    connection.rollback()
    return revision


def check_schema(connection: Connection) -> None:
    """Whether this version can work on the schema, whose revision may be newer than its own.

    Raises `SchemaOutdatedError` when a migration of this version is lacking, and
    `VersionOutdatedError` when the schema serves no version as old as this one.
    """
    current, known = current_revision(connection), known_revisions()
    if current is None or (current in known and current != known[0]):
        raise SchemaOutdatedError(
            f"The database's schema is {current or 'empty'}, this version needs {known[0]}:"
            " run `aiml migrate`."
        )
    if current in known:
        return
    # What is noted in the database is known to a version that came before the schema did.
    oldest = oldest_served(connection)
    connection.rollback()
    if oldest not in known:
        raise VersionOutdatedError(
            f"The database's schema is {current} and serves versions of schema"
            f" {oldest or current} or later; this one is of {known[0]}: start a newer version."
        )


def oldest_served(connection: Connection) -> str | None:
    """The schema of the oldest version that the database serves; None where nothing is noted."""
    found = re.search(SERVED.format(revision=r"(\w+)"), connection.scalar(SERVED_NOTE) or "")
    return found.group(1) if found else None


def _take_lock(connection: Connection) -> None:
    """Asks again and again: a statement that waits would itself hold up an index that is built."""
    deadline = time.monotonic() + WAIT_FOR_OTHERS_SECONDS
    while not connection.scalar(text("select pg_try_advisory_lock(:lock)"), {"lock": LOCK}):
        connection.rollback()
        if time.monotonic() > deadline:
            raise MigrationError(
                "Another process migrates this database, or makes a backup of it, and did so for"
                f" {WAIT_FOR_OTHERS_SECONDS} s: start this one again when it has ended."
            )
        time.sleep(0.2)
    connection.commit()


def limit(connection: Connection) -> None:
    connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    # Or what a killed migration was at goes on, with its locks, until it is done.
    connection.execute(text("set client_connection_check_interval = '2s'"))
    connection.commit()
