"""Messages as they come in, as they are stored and as they are answered."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import uuid_utils.compat
from msgspec import Meta

from memory.importance import Grounds, importance
from memory.tenants import Effective

Role = Literal["user", "assistant", "system", "tool"]
# An archived message has no vector until it is restored.
EmbeddingStatus = Literal["pending", "completed", "failed", "archived"]
# Whether a list has archived messages, has only these, or has them too.
Archived = Literal["exclude", "only", "include"]

# `$` alone would let a final newline through.
TENANT_PATTERN = r"^[A-Za-z0-9_.-]+$(?!\n)"
# A tenant, or `*` for what is about all of them.
TENANT_OR_ALL_PATTERN = rf"^\*$(?!\n)|{TENANT_PATTERN}"
PRINTABLE_PATTERN = r"^[^\x00-\x1f\x7f]+$(?!\n)"

TenantId = Annotated[
    str,
    Meta(min_length=1, max_length=64, pattern=TENANT_PATTERN, description="Whose memory this is."),
]
ConversationId = Annotated[str, Meta(min_length=1, max_length=128, pattern=PRINTABLE_PATTERN)]
Share = Annotated[float, Meta(ge=0, le=1)]
# What PostgreSQL cannot store; `memory.checks` refuses it with a reason.
WITHOUT_NUL = {"pattern": r"^[^\x00]*$"}
Metadata = Annotated[
    dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Metadata"})
]

BATCH_MAX_MESSAGES = 1000


class NewMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message as an application posts it."""

    tenant_id: TenantId
    conversation_id: ConversationId
    role: Role
    content: Annotated[
        str,
        Meta(
            min_length=1,
            description="What was said, kept word for word.",
            extra_json_schema=WITHOUT_NUL,
        ),
    ]
    metadata: Metadata = {}
    importance_override: Share | None = None
    created_at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When it was said, if not now; in the years 1000 to 8999.",
                extra_json_schema={"pattern": r"^[1-8]\d{3}-"},
            ),
        ]
        | None
    ) = None


class MessageBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages to store together: all of them or none, unless `partial` is set."""

    messages: Annotated[list[NewMessage], Meta(min_length=1, max_length=BATCH_MAX_MESSAGES)]
    partial: Annotated[
        bool, Meta(description="Store the valid messages and report the others by index.")
    ] = False


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message."""

    id: UUID
    tenant_id: str
    conversation_id: str
    role: Role
    content: str
    metadata: dict[str, Any]
    importance_score: float
    embedding_status: EmbeddingStatus
    created_at: datetime
    updated_at: datetime
    embedding_error: str | None = None
    pinned: bool = False
    archived_at: datetime | None = None


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """Why one message of a batch was not stored."""

    index: int
    field: str
    message: str


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch: what was stored, in the order of the request, and what was not."""

    stored: int
    items: list[Message]
    errors: list[RowError]


def accept(
    new: NewMessage, status: EmbeddingStatus, now: datetime, markers: float, settings: Effective
) -> Message:
    """`new` as the message that will be stored, with an id, an importance and its times.

    `markers` are those of its content, `settings` its tenant's.
    """
    created_at = (new.created_at or now).astimezone(UTC)
    grounds = Grounds(new.role, created_at, markers, override=new.importance_override)
    return Message(
        id=uuid_utils.compat.uuid7(),
        tenant_id=new.tenant_id,
        conversation_id=new.conversation_id,
        role=new.role,
        content=new.content,
        metadata=new.metadata,
        importance_score=importance(grounds, settings, now),
        embedding_status=status,
        created_at=created_at,
        updated_at=now,
    )


def request_digest(messages: list[NewMessage]) -> bytes:
    """A digest of what was asked: equal for equal requests, however their JSON was written."""
    return hashlib.sha256(msgspec.json.encode(messages, order="deterministic")).digest()
