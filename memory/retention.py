"""Retention: what is put away when it is old and matters little, and what is deleted in the end."""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from memory.messages import Role
from memory.settings import Settings
from memory.values import MessageLimit, Share, WholeDays, split_list

AgeFrom = Literal["ingested", "created"]
Action = Literal["archive", "delete"]
ACTIONS: tuple[Action, ...] = ("archive", "delete")


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tenant has set for its retention; null is the deployment's."""

    max_age_days: WholeDays | None = None
    importance_threshold: Share | None = None
    delete_after_days: WholeDays | None = None
    max_messages: MessageLimit | None = None
    exempt_roles: Annotated[list[Role], Meta(max_length=4)] | None = None
    age_from: AgeFrom | None = None
    legal_hold: bool | None = None


class EffectivePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a tenant.

    A live message is archived when it is older than `max_age_days` and its importance is below
    `importance_threshold`; then, while there are more than `max_messages` (null: no limit), the
    least important ones. What was archived `delete_after_days` ago is deleted. Never touched are
    pinned messages, those of `exempt_roles`, and anything under `legal_hold`. The age counts
    from when the service got the message, or with `age_from` created from when it was said, and
    anew from when it was restored.
    """

    max_age_days: int
    importance_threshold: float
    delete_after_days: int
    max_messages: int | None
    exempt_roles: list[Role]
    age_from: AgeFrom
    legal_hold: bool

    def archive_before(self, as_of: datetime) -> datetime:
        """What is older may be archived."""
        return as_of - timedelta(days=self.max_age_days)

    def delete_before(self, as_of: datetime) -> datetime:
        """What was archived before may be deleted."""
        return as_of - timedelta(days=self.delete_after_days)


def effective_policy(settings: Settings, own: RetentionPolicy) -> EffectivePolicy:
    """The policy of a tenant that has set `own`."""
    deployment = deployment_policy(settings)
    changed = {
        name: value
        for name in EffectivePolicy.__struct_fields__
        if (value := getattr(own, name)) is not None
    }
    return msgspec.structs.replace(deployment, **changed)


def deployment_policy(settings: Settings) -> EffectivePolicy:
    """The policy of a tenant that has set nothing."""
    return EffectivePolicy(
        max_age_days=settings.retention_max_age_days,
        importance_threshold=settings.retention_importance_threshold,
        delete_after_days=settings.retention_delete_after_days,
        max_messages=settings.retention_max_messages,
        exempt_roles=msgspec.convert(split_list(settings.retention_exempt_roles), list[Role]),
        age_from=settings.retention_age_from,
        legal_hold=settings.retention_legal_hold,
    )


Reason = Literal["aged", "over_max_messages", "archived_long"]
# In the order in which a run comes to them.
REASONS: dict[Reason, Action] = {
    "aged": "archive",
    "over_max_messages": "archive",
    "archived_long": "delete",
}


class DueMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a run would archive or delete, and why. `age` is what its age counts from."""

    message_id: UUID
    action: Action
    reason: Reason
    role: Role
    importance: float
    age: datetime


class Due(msgspec.Struct, kw_only=True):
    """How many messages a run would touch, added up window by window.

    `live` are all that are not archived, `free` those of them that a run may touch, `aged` those
    of these that are old and matter little.
    """

    live: int = 0
    free: int = 0
    aged: int = 0
    deletable: int = 0

    def __add__(self, other: "Due") -> "Due":
        return Due(
            live=self.live + other.live,
            free=self.free + other.free,
            aged=self.aged + other.aged,
            deletable=self.deletable + other.deletable,
        )

    def archived(self, policy: EffectivePolicy) -> int:
        """How many a run would archive."""
        return self.aged + self.overflow(policy)

    def overflow(self, policy: EffectivePolicy) -> int:
        """How many it would archive because there are more than `max_messages`."""
        if policy.max_messages is None:
            return 0
        return min(self.free - self.aged, max(0, self.live - self.aged - policy.max_messages))


def chained(digest: str, ids: Iterable[UUID]) -> str:
    """`digest` (hexadecimal SHA-256, empty at first) with `ids` after what it is of.

    The digest of a run does not depend on how the run was cut into slices: it is of one id after
    the other.
    """
    for each in ids:
        digest = hashlib.sha256(bytes.fromhex(digest) + each.bytes).hexdigest()
    return digest
