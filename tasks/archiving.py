"""Putting messages away and deleting them, with their words in all places where they lie."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection

from db.queries.retention import ARCHIVE_MESSAGES, DELETE_MESSAGES, FOLLOWERS
from db.queries.terms import WITH_PREVIOUS, WRITE_TERMS, context_entries, term_parameters
from memory.lexical.analysis import Analyser


def archive(connection: Connection, words: Analyser, tenant_id: str, ids: Sequence[UUID]) -> None:
    """Put the messages `ids`, which the transaction has locked, into the archive.

    What followed one of them now follows another, and is indexed with that.
    """
    named = {"tenant_id": tenant_id, "ids": list(ids)}
    followers = list(connection.execute(FOLLOWERS, named).scalars())
    connection.execute(ARCHIVE_MESSAGES, named)
    write_contexts_of(connection, words, tenant_id, followers)


def delete(connection: Connection, words: Analyser, tenant_id: str, ids: Sequence[UUID]) -> None:
    """Delete the messages `ids`, which the transaction has locked, and all that is made of them."""
    named = {"tenant_id": tenant_id, "ids": list(ids)}
    followers = list(connection.execute(FOLLOWERS, named).scalars())
    connection.execute(DELETE_MESSAGES, named)
    write_contexts_of(connection, words, tenant_id, followers)


def write_contexts_of(
    connection: Connection, words: Analyser, tenant_id: str, ids: Sequence[UUID]
) -> None:
    """Index each of `ids` anew with the live message before it."""
    if not ids:
        return
    wanted = set(ids)
    rows = connection.execute(WITH_PREVIOUS, {"tenant_id": tenant_id, "ids": list(ids)})
    entries = context_entries(words, tenant_id, [row for row in rows if row.id in wanted])
    if entries:
        connection.execute(WRITE_TERMS, {"tenant_id": tenant_id, **term_parameters(entries)})
