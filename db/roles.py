"""What a database must have before a backup can be restored into it."""

import importlib

from sqlalchemy import Connection, text

from db.queries.backups import ADD_VECTOR, NEWEST_VECTOR
from db.scratch import at_once
from memory.errors import BackupError


def prepare(url: str, vector: str) -> None:
    """Make the roles of API and workers and the vector extension, where they are not there.

    Raises `BackupError` when the server's pgvector is older than `vector`, that of the backup.
    """
    first = importlib.import_module("migrations.versions.0001_messages")
    with at_once(url) as connection:
        check_vector(connection, vector)
        connection.execute(text(first.ROLES))
        connection.execute(ADD_VECTOR)


def check_vector(connection: Connection, vector: str) -> None:
    """Releases with the same first two numbers store alike."""
    newest: list[int] | None = connection.scalar(NEWEST_VECTOR)
    needed = [int(number) for number in vector.split(".") if number.isdigit()][:2]
    if newest is None or newest[:2] < needed:
        here = ".".join(map(str, newest)) if newest else "none"
        raise BackupError(f"The server has pgvector {here}, the backup is of {vector}.")
