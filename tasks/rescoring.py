"""Rescoring: importance as it is by now, tenant by tenant and slice by slice."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from celery import shared_task
from sqlalchemy import Connection

from db.queries.importance import (
    CONTENTS,
    LAST_WALK,
    NEXT_GROUNDS,
    RAREST_TERMS_COUNTED,
    RAREST_TERMS_OF_FEW,
    STATISTICS,
    WRITE_IMPORTANCE,
    Rescored,
    importance_parameters,
)
from db.queries.retention import NEXT_TENANT
from db.queries.tenants import settings_from_row, settings_of
from memory.importance import Grounds, importance, rarity, uses_now
from memory.jobs import ALL_TENANTS
from memory.markers import markers
from memory.settings import Settings
from memory.tenants import Effective, TenantSettings, effective
from tasks.base import Task
from tasks.jobs import Held, NewJob, Values, run_job, start_job
from tasks.resources import Resources
from tasks.retention import SCHEDULE

# So much is looked at in one transaction, by messages and by the size of their contents.
SLICE_MESSAGES = 1_000
SLICE_BYTES = 2_000_000
# The words of a tenant without statistics are counted in each of its slices, up to so many.
MOST_WORDS = 500_000
# A score that moved by less is left as it is: a new message's sinks so far within a day.
HAIR = 0.005
FIRST = UUID(int=0)


class Place(msgspec.Struct, kw_only=True):
    """How far a run is: the position of its job. `after` is None between two tenants."""

    tenant: str = ""
    after: UUID | None = None
    counted_since: datetime | None = None
    tenants: int = 0
    changed: int = 0


class Slice(NamedTuple):
    """What was done in a slice; `last` is where the next one begins, None at the tenant's end."""

    last: UUID | None
    looked_at: int
    changed: int


@shared_task(name="rescore_importance", base=Task, bind=True)
def rescore_importance(task: Task, tenant_id: str = ALL_TENANTS, job_id: str | None = None) -> str:
    """Work on a rescoring; without a job, begin the one that the schedule wants."""
    if job_id is None:
        with task.resources.engine.begin() as connection:
            new = scheduled_rescoring(task.resources.settings, datetime.now(UTC))
            job_id = str(start_job(connection, new))
    return run_job(task, "rescore", rescore_step, tenant_id, job_id)


def scheduled_rescoring(_: Settings, __: datetime) -> NewJob:
    """The job of the schedule; while one is at work there is no second."""
    return NewJob("rescore", ALL_TENANTS, {}, SCHEDULE, "rescore")


def rescore_step(resources: Resources, held: Held) -> Values | None:
    """Do the next slice of a run; its result when there is none."""
    place = msgspec.convert(held.position, Place)
    with resources.engine.begin() as connection:
        if place.after is None and not choose(connection, held, place):
            return {"messages": held.done, "changed": place.changed, "tenants": place.tenants}
        done = rescore_slice(
            connection,
            resources.settings,
            place.tenant,
            place.after or FIRST,
            datetime.now(UTC),
            counted_since=place.counted_since,
        )
        place.after = done.last
        place.changed += done.changed
        held.advance(connection, msgspec.to_builtins(place), done.looked_at)
    if done.changed:
        resources.answers.changed(place.tenant)
    return None


def choose(connection: Connection, held: Held, place: Place) -> bool:
    """Go on to the next tenant; False when there is none."""
    following: str | None = held.tenant_id if not place.tenant else None
    if held.about_all:
        following = connection.scalar(NEXT_TENANT, {"after": place.tenant})
        place.counted_since = connection.scalar(LAST_WALK, {"tenant_id": ALL_TENANTS})
    if following is None:
        return False
    place.tenant = following
    place.tenants += 1
    return True


def rescore_slice(
    connection: Connection,
    settings: Settings,
    tenant_id: str,
    after: UUID,
    as_of: datetime,
    *,
    counted_since: datetime | None = None,
) -> Slice:
    """Bring the importance of the next live messages after `after` to what it is at `as_of`.

    How rare a message's words are is found out where it is not known, and anew where the
    statistics of the tenant are younger than `counted_since`, or where it is None. Written are
    the rows alone whose score has moved by more than a hair, or which lacked something.
    """
    scope = {"tenant_id": tenant_id}
    page = {"after": after, "most": SLICE_MESSAGES}
    following = connection.execute(NEXT_GROUNDS, scope | page).all()
    rows = fitting(following)
    own = connection.execute(settings_of([tenant_id])).one_or_none()
    weights = effective(settings, settings_from_row(own) if own else TenantSettings())
    marked = found_markers(connection, tenant_id, rows)
    rare = found_rarities(connection, tenant_id, rows, counted_since)
    changed = [
        now
        for row in rows
        if differs(
            row, now := rescored(row, marked.get(row.id, 0), rare.get(row.id), weights, as_of)
        )
    ]
    if changed:
        connection.execute(WRITE_IMPORTANCE, scope | importance_parameters(changed))
    ends = len(rows) == len(following) < SLICE_MESSAGES
    return Slice(None if ends else rows[-1].id, len(rows), len(changed))


def fitting(rows: Sequence[Any]) -> Sequence[Any]:
    """As many of `rows` as a slice may hold by their size, one at least."""
    sizes = accumulate(row.size for row in rows)
    fit = sum(size <= SLICE_BYTES for size in sizes)
    return rows[: max(1, fit)]


def found_markers(connection: Connection, tenant_id: str, rows: Sequence[Any]) -> dict[UUID, float]:
    """The markers of the messages of which they are not known, from their contents."""
    ids = [row.id for row in rows if row.markers is None]
    if not ids:
        return {}
    contents = connection.execute(CONTENTS, {"tenant_id": tenant_id, "ids": ids})
    return {row.id: markers(row.content) for row in contents}


def found_rarities(
    connection: Connection, tenant_id: str, rows: Sequence[Any], counted_since: datetime | None
) -> dict[UUID, float]:
    """How rare the words of messages are, of those of which it is to be found out."""
    counted = connection.execute(STATISTICS, {"tenant_id": tenant_id}).one_or_none()
    anew = counted_since is None or counted is None or counted.refreshed_at > counted_since
    ids = [row.id for row in rows if anew or row.rarity is None]
    named = {"tenant_id": tenant_id, "ids": ids}
    if not ids:
        return {}
    if counted is None:
        few = connection.execute(RAREST_TERMS_OF_FEW, named | {"most_words": MOST_WORDS})
        return {row.message_id: rarity(row.frequencies, row.of) for row in few}
    many = connection.execute(RAREST_TERMS_COUNTED, named)
    return {row.message_id: rarity(row.frequencies, counted.messages) for row in many}


def rescored(
    row: Any, marked: float, rare: float | None, weights: Effective, as_of: datetime
) -> Rescored:
    """The importance of a message at `as_of`, with what was found out now or known before."""
    grounds = Grounds(
        row.role,
        row.created_at,
        marked if row.markers is None else row.markers,
        row.rarity if rare is None else rare,
        uses_now(row.uses, row.counted_at, as_of, weights) if row.uses else 0.0,
        row.override,
    )
    score = importance(grounds, weights, as_of)
    return Rescored(row.id, score, grounds.markers, grounds.rarity)


def differs(row: Any, now: Rescored) -> bool:
    """Whether a message is to be written: an override counts to the digit."""
    filled = row.markers is None or (row.rarity is None and now.rarity is not None)
    moved = abs(row.score - now.score) > (HAIR if row.override is None else 0)
    return filled or moved
