"""The schema of a store, looked after by the owner of the database.

A migration waits for a lock no longer than `LOCK_TIMEOUT`: whoever comes after a statement that
waits for a table waits behind it, so that a migration behind one long transaction would stop the
service. It gives up instead, lets the others pass, and tries again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

import migrations
from db.engine import driver_url
from memory.errors import MigrationError, SchemaOutdatedError, VersionOutdatedError
from migrations.online import LOCK_TIMEOUT, STATEMENT_TIMEOUT, oldest_served

# Any number will do, as long as it is ours: it keys the advisory lock of migrations.
LOCK = 0x6D656D6F7279
WAIT_FOR_OTHERS_SECONDS = 300
# Between tries to have a lock: some five minutes in all.
PAUSES_SECONDS = (1, 2, 4, *[8] * 36)
# What PostgreSQL says of a lock that was not had in time, and of a deadlock that it ended.
BUSY = {"55P03", "40P01"}

OLDEST_TRANSACTION = text("""
/* oldest_transaction */
select pid, application_name, extract(epoch from now() - xact_start)::int as seconds
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
order by xact_start limit 1
""")


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
        _limit(connection)
        yield connection


def migrate(url: str, report: Callable[[str], None] = lambda _: None) -> None:
    """Bring the schema at `url` to the newest revision; `report` gets a line for each step.

    A schema that is newer and serves this version is left as it is. Raises `MigrationError`, and
    `VersionOutdatedError` for a newer schema that serves this version no longer.
    """
    with migration_connection(url) as connection:
        before = current_revision(connection)
        newest = newest_revision()
        if before == newest:
            return
        if before is not None and before not in known_revisions():
            check_schema(connection)
            report(f"schema {before} is newer than this version's {newest}, and serves it")
            return
        report(f"schema {before or 'empty'} to {newest}")
        _upgrade(connection, report)


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    return known_revisions()[0]


def known_revisions() -> list[str]:
    """All revisions that this version of the code knows, the newest first."""
    scripts = ScriptDirectory.from_config(_configuration())
    return [script.revision for script in scripts.walk_revisions()]


def current_revision(connection: Connection) -> str | None:
    """The revision of the database, None when it has no schema yet."""
    revision = MigrationContext.configure(connection).get_current_revision()
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


def _limit(connection: Connection) -> None:
    connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    # Or what a killed migration was at goes on, with its locks, until it is done.
    connection.execute(text("set client_connection_check_interval = '2s'"))
    connection.commit()


def _upgrade(connection: Connection, report: Callable[[str], None]) -> None:
    """Each migration is a transaction, so a try goes on where the last one ended."""
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    for pause in (*PAUSES_SECONDS, None):
        try:
            command.upgrade(configuration, "head")
            return
        except SQLAlchemyError as error:
            if connection.invalidated:
                raise MigrationError(
                    "The connection was lost. What was under way is undone: start this again."
                ) from error
            if not isinstance(error, DBAPIError) or _sqlstate(error) not in BUSY:
                raise
            _limit_again(connection)
            what = f"A table is in use{_by_whom(connection)}"
            if pause is None:
                raise MigrationError(
                    f"{what}: no lock was had in {len(PAUSES_SECONDS)} tries. Nothing is half done;"
                    " end that transaction, or start this again at a quieter time."
                ) from None
            report(f"{what}: another try in {pause} s")
            time.sleep(pause)


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _limit_again(connection: Connection) -> None:
    """What was under way is undone, and what was without limits has them again."""
    connection.rollback()
    _limit(connection)


def _by_whom(connection: Connection) -> str:
    row = connection.execute(OLDEST_TRANSACTION).one_or_none()
    connection.rollback()
    if row is None:
        return ""
    who = row.application_name or "unnamed"
    return f" (oldest transaction: {who}, process {row.pid}, {row.seconds} s)"


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return configuration
