"""Long work as the caller sees it: durable, in slices, to be watched, cancelled and retried."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from memory.errors import (
    EmbeddingSetupError,
    FileContentError,
    StateConflictError,
    UnverifiedBackupError,
)

JobKind = Literal[
    "retention",
    "rescore",
    "embeddings_retry",
    "embeddings_migrate",
    "embeddings_drop",
    "export",
    "import",
    "backup",
]
JobState = Literal["queued", "running", "completed", "failed", "cancelled"]

# Stands in the place of a tenant where a job is about all of them; no tenant can be called so.
ALL_TENANTS = "*"
# What a job fails with at once: another try would end in the same way.
HOPELESS = (EmbeddingSetupError, FileContentError, StateConflictError, UnverifiedBackupError)
ENDED: frozenset[JobState] = frozenset({"completed", "failed", "cancelled"})


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A long operation. `done` and `total` count what it works through; null is not known yet.

    `tenant_id` is null where it is about all tenants. `result` is there when it is completed,
    `error` what went wrong last.
    """

    id: UUID
    kind: JobKind
    tenant_id: str | None
    state: JobState
    arguments: dict[str, Any]
    done: int
    total: int | None
    result: dict[str, Any] | None
    error: str | None
    started_by: str
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ENDED
