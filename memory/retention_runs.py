"""A retention run: what it is to do, and how far it is."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from memory.retention import ACTIONS, Action, Due

FIRST = UUID(int=0)

Phase = Literal["choose", "count", "aged", "overflow", "delete", "close"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is to do: the arguments of its job. `tenants` are those of a run for some."""

    as_of: datetime
    actions: tuple[Action, ...] = ACTIONS
    dry_run: bool = False
    tenants: list[str] | None = None


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
