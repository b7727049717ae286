"""Databases for a while: made beside a store's own, and dropped, by the next one at the latest."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from db.queries.backups import (
    LEFTOVERS,
    LETTERS,
    NUMBER_OF,
    RIGHTS,
    WITHOUT_LIMITS,
    create_database,
    drop_database,
    rename_database,
)
from db.schema import owner_connection
from memory.errors import BackupError

PREFIX = "aiml_scratch_"


@contextmanager
def at_once(url: str) -> Iterator[Connection]:
    """A connection of the owner, without limits, where each statement is a transaction."""
    with owner_connection(url) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(WITHOUT_LIMITS)
        yield connection


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """The URL of an empty database beside the one at `url`, dropped at the end.

    The caller holds the lock of backups. Raises `BackupError` when the login may not make one.
    """
    with at_once(url) as connection:
        if not connection.execute(RIGHTS).one().creates:
            raise BackupError("The login may not create databases (CREATEDB).")
        drop_leftovers(connection)
        name = scratch_name(connection)
        make_database(connection, name)
    try:
        yield sibling(url, name)
    finally:
        with at_once(url) as connection:
            connection.execute(drop_database(name))


def make_database(connection: Connection, name: str) -> None:
    """Make an empty database that holds the same letters as the one of this connection."""
    connection.execute(create_database(name, connection.execute(LETTERS).one()))


def drop_leftovers(connection: Connection) -> None:
    """Drop the databases that killed backups and restores of this one have left."""
    prefixes = {"own": own_prefix(connection), "any": PREFIX}
    for name in connection.scalars(LEFTOVERS, prefixes).all():
        connection.execute(drop_database(name))


def own_prefix(connection: Connection) -> str:
    """How the names begin of databases that are for the one of this connection."""
    return f"{PREFIX}{connection.scalar(NUMBER_OF)}_"


def scratch_name(connection: Connection) -> str:
    """A name that no database has."""
    return own_prefix(connection) + secrets.token_hex(4)


def swap(url: str, new_url: str) -> None:
    """Have the database at `new_url` take the name of the one at `url`, which is dropped then.

    Both names change in one transaction. Nobody may be connected to either.
    """
    name, new = database_of(url), database_of(new_url)
    with at_once(url) as connection:
        meeting = scratch_name(connection)
        make_database(connection, meeting)
    with at_once(new_url) as connection:
        # What is left of the old one when this is killed is the new one's to drop.
        put_away = scratch_name(connection)
    try:
        # One of the two names must be left before it can be taken, and who renames is in neither.
        with owner_connection(sibling(url, meeting)) as connection:
            connection.execute(WITHOUT_LIMITS)
            connection.execute(rename_database(name, put_away))
            connection.execute(rename_database(new, name))
            connection.commit()
    finally:
        with at_once(sibling(url, name)) as connection:
            connection.execute(drop_database(meeting))
    with at_once(url) as connection:
        connection.execute(drop_database(put_away))


def database_of(url: str) -> str:
    """The name of the database at `url`."""
    parts = conninfo_to_dict(url)
    return str(parts.get("dbname") or parts["user"])


def sibling(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)
