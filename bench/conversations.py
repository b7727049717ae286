"""What is posted and what is asked, whatever file it came from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

TENANT_MAX_CHARS = 64


class DatasetError(Exception):
    """A data set that cannot be read; the text is one line that names what is wrong."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, as the message that is posted for it."""

    id: str
    conversation_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime


@dataclass(frozen=True)
class Question:
    """A question with the ids of the turns that hold its answer."""

    text: str
    category: str
    gold: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """A memory of its own (a tenant) and what is asked about it."""

    name: str
    turns: Sequence[Turn]
    questions: Sequence[Question]


@dataclass(frozen=True)
class Dataset:
    """Conversations with questions; `notes` say what was left out."""

    name: str
    format: str
    conversations: Sequence[Conversation]
    notes: list[str] = field(default_factory=list)


def tenants(conversations: Sequence[Conversation], prefix: str) -> dict[str, Conversation]:
    """Each conversation by its tenant: the prefix and the name, made of what a tenant may have.

    Raises `DatasetError` when two would share a tenant: each would find the other's messages.
    """
    named: dict[str, Conversation] = {}
    for each in conversations:
        tenant = re.sub(r"[^A-Za-z0-9_-]", "-", prefix + each.name)[:TENANT_MAX_CHARS]
        if tenant in named:
            raise DatasetError(
                f"conversations {named[tenant].name!r} and {each.name!r}"
                f" would share the tenant {tenant!r}"
            )
        named[tenant] = each
    return named
