"""The schema of a store, looked after by the owner of the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

import migrations
from db.engine import driver_url
from memory.errors import SchemaOutdatedError

# Any number will do, as long as it is ours: it keys the advisory lock of migrations.
LOCK = 0x6D656D6F7279
WAIT_FOR_OTHERS = "300s"
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "600s"


@contextmanager
def owner_connection(url: str) -> Iterator[Connection]:
    """A connection of the login role, with time limits for each of its statements."""
    engine = create_engine(
        driver_url(url),
        poolclass=NullPool,
        connect_args={"connect_timeout": 5, "application_name": "memory_migrate"},
    )
    with engine.connect() as connection:
        connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.commit()
        yield connection


@contextmanager
def migration_connection(url: str) -> Iterator[Connection]:
    """An `owner_connection` that holds the lock of migrations until it is closed."""
    with owner_connection(url) as connection:
        connection.execute(text(f"set local lock_timeout = '{WAIT_FOR_OTHERS}'"))
        connection.execute(text("select pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        yield connection


def migrate(url: str, report: Callable[[str], None] = lambda _: None) -> None:
    """Bring the schema at `url` to the newest revision; `report` gets a line for each step."""
    with migration_connection(url) as connection:
        before = current_revision(connection)
        if before == newest_revision():
            return
        report(f"schema {before or 'empty'} to {newest_revision()}")
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_configuration()).get_current_head()
    assert head is not None  # noqa: S101 - the project ships at least one migration
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision of the database, None when it has no schema yet."""
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    return revision


def check_schema(connection: Connection) -> None:
    """Raise `SchemaOutdatedError` when the schema lacks a migration of this version.

    A revision that this version does not know is a newer one, which it can live with.
    """
    current = current_revision(connection)
    known = [
        script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()
    ]
    if current is None or (current in known and current != known[0]):
        raise SchemaOutdatedError(
            f"The database's schema is {current or 'empty'}, this version needs {known[0]}:"
            " run `aiml migrate`."
        )


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return configuration
