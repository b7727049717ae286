"""Reads the conversations that search quality is measured on."""

from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was said, by whom and when; the id is unique within its conversation."""

    id: str
    session: str
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query and the ids of the turns that hold its answer."""

    text: str
    evidence: tuple[str, ...]
    category: Literal[
        "single-hop", "multi-hop", "temporal", "follow-up", "name-or-code", "paraphrase"
    ]


class Conversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tenant's turns, oldest first, and what is asked about them."""

    name: str
    language: Literal["english", "german", "spanish"]
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def read_conversations(path: Path) -> list[Conversation]:
    """Every conversation in the file at `path`."""
    return msgspec.json.decode(path.read_bytes(), type=list[Conversation])
