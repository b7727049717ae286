"""A retention run: what it is to do, and how far it is."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from memory.retention import ACTIONS, REASONS, Action, Due, EffectivePolicy, Reason

FIRST = UUID(int=0)

Phase = Literal["choose", "count", "aged", "overflow", "delete", "close"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is to do: the arguments of its job. `tenants` are those of a run for some."""

    as_of: datetime
    actions: tuple[Action, ...] = ACTIONS
    dry_run: bool = False
    tenants: list[str] | None = None

    def counts(self, due: Due, policy: EffectivePolicy) -> tuple[int, int]:
        """How many of what is due it would archive, and how many delete."""
        archived = due.archived(policy) if "archive" in self.actions else 0
        return archived, due.deletable if "delete" in self.actions else 0

    def reasons(self) -> list[Reason]:
        """Why it would touch a message, in the order in which it comes to them."""
        return [reason for reason, action in REASONS.items() if action in self.actions]


class Counts(msgspec.Struct, kw_only=True):
    """What was done, with a digest of the ids, each after the other in the order of the run."""

    archived: int = 0
    deleted: int = 0
    archived_digest: str = ""
    deleted_digest: str = ""


class Place(msgspec.Struct, kw_only=True):
    """How far a run is: the position of its job."""

    phase: Phase = "choose"
    tenant: str = ""
    after: UUID = FIRST
    begun: datetime | None = None
    here: Counts = msgspec.field(default_factory=Counts)
    due: Due = msgspec.field(default_factory=Due)
    archived: int = 0
    deleted: int = 0
    tenants: int = 0
    files: int = 0
