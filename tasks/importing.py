"""Bringing back what a file of messages holds."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from db.queries.importing import IMPORT_MESSAGES, import_parameters
from memory.checks import check_message
from memory.errors import ArchiveFileError, InvalidFieldError
from memory.lexical.bm25 import content_entry
from memory.messages import NewMessage
from tasks.archive_files import ArchivedMessage
from tasks.indexing import analyser_of
from tasks.resources import Resources


class Imported(NamedTuple):
    """How many messages came back, and how many were there already."""

    stored: int
    there: int


def import_messages(resources: Resources, messages: Iterable[ArchivedMessage]) -> Imported:
    """Store `messages` as they were, in one transaction, to be embedded by the workers.

    Raises `ArchiveFileError`, naming the message, for one that cannot be stored.
    """
    stored = wanted = 0
    by_tenant = sorted(messages, key=lambda message: (message.tenant_id, message.id))
    with resources.engine.begin() as connection:
        for tenant_id, group in groupby(by_tenant, key=lambda message: message.tenant_id):
            own = list(group)
            for message in own:
                check(resources, message)
            words = analyser_of(resources, connection, tenant_id)
            entries = [
                content_entry(words, tenant_id, message.content, message.metadata)
                for message in own
            ]
            parameters = import_parameters(tenant_id, own, entries)
            stored += len(connection.execute(IMPORT_MESSAGES, parameters).all())
            wanted += len(own)
    for tenant_id in {message.tenant_id for message in by_tenant}:
        resources.answers.changed(tenant_id)
    return Imported(stored, wanted - stored)


def check(resources: Resources, message: ArchivedMessage) -> None:
    """Raise `ArchiveFileError` for a message that the service would not take."""
    new = NewMessage(
        tenant_id=message.tenant_id,
        conversation_id=message.conversation_id,
        role=message.role,
        content=message.content,
        metadata=message.metadata,
        created_at=message.created_at,
    )
    try:
        if message.created_at.tzinfo is None:
            raise InvalidFieldError("created_at", "has no time zone")
        check_message(new, max(len(new.content), resources.settings.content_max_chars))
    except InvalidFieldError as error:
        raise ArchiveFileError(f"message {message.id}: {error}") from None
