"""What a retention run would touch, counted and listed without touching it."""

import time
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from db.queries.policies import policy_from_row, policy_of
from db.queries.retention import NEXT_TENANT, WINDOW_END, count_due, due_parameters, list_due
from db.sessions import see_as_api
from memory.errors import InvalidFieldError
from memory.jobs import ALL_TENANTS
from memory.retention import (
    REASONS,
    Due,
    DueMessage,
    EffectivePolicy,
    Reason,
    effective_policy,
)
from memory.retention_runs import FIRST, Run
from tasks.resources import Resources

# So many messages are looked at in one statement.
WINDOW_MESSAGES = 20_000


class DuePage(NamedTuple):
    """Messages that a run would touch; `next` asks for those after them."""

    items: list[DueMessage]
    next: str | None


def policy_for(connection: Connection, resources: Resources, tenant_id: str) -> EffectivePolicy:
    """The policy that holds for a tenant at this moment."""
    own = policy_from_row(connection.execute(policy_of(tenant_id)).one_or_none())
    return effective_policy(resources.settings, own)


def window_end(connection: Connection, tenant_id: str, after: UUID) -> UUID | None:
    """The last id of the window after `after`, None for the last window."""
    window = {"tenant_id": tenant_id, "after": after, "most": WINDOW_MESSAGES}
    end: UUID | None = connection.scalar(WINDOW_END, window)
    return end


def count_window(
    connection: Connection, tenant_id: str, policy: EffectivePolicy, run: Run, after: UUID
) -> tuple[Due, UUID | None]:
    """What is due of the window after `after`, and where it ends, None for the last window."""
    upto = window_end(connection, tenant_id, after)
    window = {**due_parameters(tenant_id, policy, run.as_of), "after": after, "upto": upto}
    row = connection.execute(count_due(policy.age_from), window).one()
    return Due(**row._mapping), upto


def count_tenant(
    connection: Connection, tenant_id: str, policy: EffectivePolicy, run: Run
) -> Iterator[Due]:
    """What is due in a tenant, window by window."""
    after: UUID | None = FIRST
    while after is not None:
        due, after = count_window(connection, tenant_id, policy, run, after)
        yield due


def count_up_to(
    resources: Resources, run: Run, tenant_id: str, most: int, seconds: float
) -> int | None:
    """How many messages a run would touch; None when they are over `most` or hard to count."""
    enough = time.monotonic() + seconds
    touched = 0
    with resources.engine.connect() as connection:
        if tenant_id != ALL_TENANTS:
            see_as_api(connection, tenant_id)
        for each in tenants_of(connection, run, tenant_id):
            policy = policy_for(connection, resources, each)
            due = Due()
            for window in () if policy.legal_hold else count_tenant(connection, each, policy, run):
                due = due + window
                if time.monotonic() > enough:
                    return None
            touched += sum(run.counts(due, policy))
            if touched > most or time.monotonic() > enough:
                return None
    return touched


def tenants_of(connection: Connection, run: Run, tenant_id: str) -> Iterator[str]:
    """The tenants that a run is about, in their order."""
    if tenant_id != ALL_TENANTS:
        yield tenant_id
    elif run.tenants is not None:
        yield from run.tenants
    else:
        after = ""
        while found := connection.scalar(NEXT_TENANT, {"after": after}):
            yield found
            after = found


def due_page(
    resources: Resources, run: Run, tenant_id: str, after: str | None, most: int
) -> DuePage:
    """At most `most` of the messages of a tenant that a run would touch, by reason and id.

    `after` is the `next` of the page before. Raises `InvalidFieldError` when it is not.
    """
    reason, last = read_cursor(after)
    items: list[DueMessage] = []
    with resources.engine.connect() as connection:
        see_as_api(connection, tenant_id)
        policy = policy_for(connection, resources, tenant_id)
        if policy.legal_hold:
            return DuePage([], None)
        named = due_parameters(tenant_id, policy, run.as_of)
        statements = list_due(policy.age_from)
        for each in run.reasons()[run.reasons().index(reason) if after else 0 :]:
            if each == "over_max_messages":
                due = sum(count_tenant(connection, tenant_id, policy, run), Due())
                named["overflow"] = due.overflow(policy)
            window = {**named, "after": last, "upto": None, "most": most - len(items)}
            rows = connection.execute(statements[each], window).all()
            items += [DueMessage(**row._mapping, action=REASONS[each], reason=each) for row in rows]
            if len(items) == most:
                return DuePage(items, f"{each}:{items[-1].message_id}")
            last = FIRST
    return DuePage(items, None)


def read_cursor(after: str | None) -> tuple[Reason, UUID]:
    """The reason and id that a `next` names; raises `InvalidFieldError` when it is none."""
    if after is None:
        return "aged", FIRST
    reason, _, last = after.partition(":")
    try:
        return msgspec.convert(reason, Reason), UUID(last)
    except (msgspec.ValidationError, ValueError):
        raise InvalidFieldError("after", "is not the `next` of a page") from None
