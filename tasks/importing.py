"""Bringing back what a file of messages holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from db.queries.embeddings import INSERT_VECTORS, vector_parameters
from db.queries.importing import (
    IMPORT_MESSAGES,
    IMPORT_USES,
    LOCK_THERE,
    SAID,
    import_parameters,
    said_there,
)
from db.queries.models import SHARE_MODELS, WANTED_IDS
from db.queries.terms import (
    WITH_PREVIOUS,
    WRITE_TERMS,
    content_entries,
    context_entries,
    term_parameters,
)
from memory.embedding.protocol import Vectors
from memory.errors import StateConflictError
from memory.lexical.analysis import Analyser
from tasks.archiving import delete
from tasks.due import policy_for
from tasks.exporting import model_places
from tasks.file_format import ArchivedMessage, Header
from tasks.imported_vectors import vectors_of
from tasks.indexing import analyser_of
from tasks.resources import Resources

# So many messages are stored in one transaction.
TOGETHER = 500
NAMED_CONFLICTS = 20


class Imported(msgspec.Struct, kw_only=True):
    """What became of messages.

    `stored` are new, `there` were there as they are, `replaced` took the place of another with
    their id, and `conflicts` are those that found another with their id and left it; the first of
    them are in `named`. `pending` of the stored and the replaced are still to be embedded.
    """

    stored: int = 0
    there: int = 0
    replaced: int = 0
    conflicts: int = 0
    pending: int = 0
    named: list[str] = []

    def conflict(self, what: str) -> None:
        """Note that `what` was left as it is here, where it differs from the file."""
        self.conflicts += 1
        self.named = [*self.named, what][:NAMED_CONFLICTS]

    def add(self, other: "Imported") -> None:
        """Add what became of others."""
        for name in ("stored", "there", "replaced", "conflicts", "pending"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.named = [*self.named, *other.named][:NAMED_CONFLICTS]


class Importing(NamedTuple):
    """Where messages go, from a file with which header, and whether they replace others."""

    tenant_id: str
    header: Header
    overwrite: bool = False


def import_messages(
    resources: Resources,
    connection: Connection,
    to: Importing,
    messages: Sequence[ArchivedMessage],
) -> Imported:
    """Store `messages` in this transaction, with their vectors where those are of use here.

    Without them the workers embed them anew. Raises `FileContentError` for vectors that are none,
    and `StateConflictError` for what would be replaced under a legal hold.
    """
    if to.header.holds == "deleted":
        messages = [msgspec.structs.replace(message, archived_at=None) for message in messages]
    words = analyser_of(resources, connection, to.tenant_id)
    batch = Batch(connection, words, to)
    outcome = Imported()
    # Of two with one id the first is stored, and the second finds it there.
    new = {message.id: message for message in reversed(messages)}
    stored = batch.store(sorted(new.values(), key=lambda message: message.id), {})
    outcome.stored = len(stored)
    others = [each for each in messages if each.id not in stored or new[each.id] is not each]
    different = batch.different(others)
    outcome.there = len(others) - len(different)
    if different and to.overwrite:
        if policy_for(connection, resources, to.tenant_id).legal_hold:
            raise StateConflictError(
                f"{to.tenant_id} is under a legal hold: message {different[0].id} may not be"
                " replaced"
            )
        outcome.replaced = batch.replace(different)
    else:
        for message in different:
            outcome.conflict(str(message.id))
    outcome.pending = batch.pending
    return outcome


class Batch:
    """Messages of one transaction on their way into the store."""

    def __init__(self, connection: Connection, words: Analyser, to: Importing) -> None:
        self.pending = 0
        self._connection = connection
        self._words = words
        self._to = to
        self._tenant = {"tenant_id": to.tenant_id}
        self._places: dict[int, int] = {}
        self._wanted: set[int] = set()
        if to.header.models:
            connection.execute(SHARE_MODELS)
            self._wanted = set(connection.scalars(WANTED_IDS))
            places = model_places(connection, to.header)
            self._places = {id_: place for id_, place in places.items() if id_ in self._wanted}

    def store(self, messages: Sequence[ArchivedMessage], versions: dict[UUID, int]) -> set[UUID]:
        """Store those that are not there, indexed; which they are."""
        vectors = {each.id: vectors_of(each, self._to.header, self._places) for each in messages}
        statuses = [self._status(each, vectors[each.id]) for each in messages]
        counted = [versions.get(each.id, 1) for each in messages]
        parameters = import_parameters(self._to.tenant_id, messages, statuses, counted)
        stored = set(self._connection.scalars(IMPORT_MESSAGES, parameters))
        for message, status in zip(messages, statuses, strict=True):
            self.pending += status == "pending" and message.id in stored
        self._store_vectors({id_: own for id_, own in vectors.items() if id_ in stored})
        self._store_uses([each for each in messages if each.id in stored])
        # Who embeds a message indexes it with the one before, too.
        embedded = any(
            status == "completed" and message.id in stored
            for message, status in zip(messages, statuses, strict=True)
        )
        self._index(stored, contexts=embedded)
        return stored

    def different(self, messages: Sequence[ArchivedMessage]) -> list[ArchivedMessage]:
        """Those of `messages` in whose place something else is said."""
        if not messages:
            return []
        ids = list({message.id for message in messages})
        rows = self._connection.execute(said_there(self._to.tenant_id, ids))
        there = {row.id: {name: getattr(row, name) for name in SAID} for row in rows}
        return [
            each
            for each in messages
            if there.get(each.id) != {name: getattr(each, name) for name in SAID}
        ]

    def replace(self, messages: Sequence[ArchivedMessage]) -> int:
        """Put `messages` in the place of those that have their ids; how many that were."""
        new = {message.id: message for message in messages}
        locked = self._connection.execute(LOCK_THERE, {**self._tenant, "ids": list(new)})
        versions = {row.id: row.content_version + 1 for row in locked}
        delete(self._connection, self._words, self._to.tenant_id, list(versions))
        return len(self.store([new[id_] for id_ in sorted(new)], versions))

    def _status(self, message: ArchivedMessage, vectors: dict[int, Vectors]) -> str:
        if message.archived_at:
            return "archived"
        covered = self._wanted and self._wanted <= vectors.keys()
        return "completed" if covered else "pending"

    def _store_vectors(self, vectors: dict[UUID, dict[int, Vectors]]) -> None:
        for model_id in sorted(self._places):
            own = [(id_, each[model_id]) for id_, each in vectors.items() if model_id in each]
            parameters: dict[str, list[Any]] = vector_parameters(own)
            many = len(parameters["part_ids"])
            if many:
                parameters |= {
                    "tenant_ids": [self._to.tenant_id] * many,
                    "model_ids": [model_id] * many,
                }
                self._connection.execute(INSERT_VECTORS, parameters)

    def _store_uses(self, messages: Sequence[ArchivedMessage]) -> None:
        used = [message for message in messages if message.uses]
        if used:
            parameters = {
                **self._tenant,
                "message_ids": [message.id for message in used],
                "uses": [message.uses for message in used],
                "counted_at": [message.counted_at for message in used],
            }
            self._connection.execute(IMPORT_USES, parameters)

    def _index(self, ids: set[UUID], *, contexts: bool) -> None:
        if not ids:
            return
        found = self._connection.execute(WITH_PREVIOUS, {**self._tenant, "ids": sorted(ids)})
        rows = found.all()
        own = [row for row in rows if row.id in ids]
        entries = content_entries(self._words, self._to.tenant_id, own)
        if contexts:
            entries += context_entries(self._words, self._to.tenant_id, rows)
        self._connection.execute(WRITE_TERMS, {**self._tenant, **term_parameters(entries)})
