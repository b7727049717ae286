"""The schema of a store, looked after by the owner of the database.

A migration waits for a lock no longer than `LOCK_TIMEOUT`: whoever comes after a statement that
waits for a table waits behind it, so that a migration behind one long transaction would stop the
service. It gives up instead, lets the others pass, and tries again.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import migrations
from db import revisions
from db.revisions import known_revisions
from db.schema import check_schema, current_revision, limit, migration_connection
from memory.errors import MigrationError

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


def migrate(url: str, report: Callable[[str], None] = lambda _: None) -> None:
    """Bring the schema at `url` to the newest revision; `report` gets a line for each step.

    A schema that is newer and serves this version is left as it is. Raises `MigrationError`, and
    `VersionOutdatedError` for a newer schema that serves this version no longer.
    """
    with migration_connection(url) as connection:
        before = current_revision(connection)
        known = known_revisions()
        newest = known[0]
        if before == newest:
            return
        if before is not None and before not in known:
            check_schema(connection)
            report(f"schema {before} is newer than this version's {newest}, and serves it")
            return
        report(f"schema {before or 'empty'} to {newest}")
        _upgrade(connection, report)


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
    limit(connection)


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
    configuration.set_main_option("path_separator", "os")
    places = os.pathsep.join(map(str, revisions.FOLDERS))
    configuration.set_main_option("version_locations", places)
    return configuration
