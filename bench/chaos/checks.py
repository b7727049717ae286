"""What the database must hold of all that was acknowledged."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from bench.chaos.ledger import AGEING, POISON, Ledger, Said, StartedJob

NAMED = 3
ROWS = "select id::text, tenant_id, content from messages"
# In nobody's hands for longer than it takes the sweep to find it and a worker to take it up.
STUCK = """
select id::text, embedding_attempts, claimed_until::text from messages
where embedding_status = 'pending' and greatest(pending_since, claimed_until,
  now() - make_interval(secs => %(calm)s)) < now() - make_interval(secs => %(limit)s)
"""
PENDING = "select count(*) from messages where embedding_status = 'pending'"
STATES = "select embedding_status, count(*) from messages group by 1 order by 1"
FAILED = """
select id::text, embedding_attempts, embedding_error, content from messages
where embedding_status = 'failed'
"""
# Live, embedded, and without a vector of the model that searches go by.
BARE = """
select id::text from messages
where embedding_status = 'completed' and archived_at is null and not exists (
  select from message_embeddings join embedding_models on embedding_models.id = model_id
  where message_embeddings.tenant_id = messages.tenant_id and message_id = messages.id
    and active and kind = 'content')
"""
WORDLESS = """
select id::text from messages where archived_at is null and not exists (
  select from message_terms where message_terms.tenant_id = messages.tenant_id
    and message_id = messages.id and kind = 'content')
"""
JOBS = "select id::text, kind, state, error, attempts from jobs"
ACTIVE = "select count(*) from jobs where state in ('queued', 'running')"
ARCHIVED = "select count(*) from messages where tenant_id = %s and archived_at is not null"
ARCHIVED_BY_JOBS = """
select coalesce(sum((result ->> 'archived')::int), 0) from jobs
where kind = 'retention' and tenant_id = %s and state = 'completed'
"""


class Findings(NamedTuple):
    """What is wrong, each in words."""

    lost: list[str]
    doubled: list[str]
    stuck: list[str]
    other: list[str]

    @property
    def any(self) -> bool:
        """Whether anything is."""
        return bool(self.lost or self.doubled or self.stuck or self.other)


def whole(connection: Connection[Any], said: Sequence[Said]) -> Findings:
    """Whether all that was `said` is there once, under its id and its tenant."""
    rows = connection.execute(ROWS).fetchall()
    at = {str(id_): (str(tenant), str(content)) for id_, tenant, content in rows}
    times: dict[str, int] = {}
    for _, _, content in rows:
        times[content] = times.get(content, 0) + 1
    lost = [each.id for each in said if at.get(each.id) != (each.tenant_id, each.content)]
    doubled = [content for content, count in times.items() if count > 1]
    return Findings(lost, doubled, [], [])


def stuck(connection: Connection[Any], calm: float, limit: float) -> Findings:
    """What has waited for over `limit` seconds of the last `calm` ones, held by nobody."""
    found = connection.execute(STUCK, {"calm": calm, "limit": limit}).fetchall()
    return Findings([], [], [f"{id_} (attempt {n}, {until})" for id_, n, until in found], [])


def embedded(connection: Connection[Any]) -> Findings:
    """In the end: all is embedded and has its vectors and words, and poison has failed visibly."""
    other = [f"no vector: {id_}" for (id_,) in connection.execute(BARE)]
    other += [f"no words: {id_}" for (id_,) in connection.execute(WORDLESS)]
    for id_, attempts, error, content in connection.execute(FAILED):
        if POISON not in content:
            other.append(f"failed after {attempts} attempts: {id_}: {error}")
        elif not error:
            other.append(f"failed without a reason: {id_}")
    return Findings([], [], [], other)


def worked_on(connection: Connection[Any], started: Sequence[StartedJob]) -> Findings:
    """In the end: every job is there and has ended well, and retention did what it says."""
    rows = connection.execute(JOBS).fetchall()
    states = {
        str(id_): (kind, state, error, attempts) for id_, kind, state, error, attempts in rows
    }
    lost = [f"job {each.id} ({each.kind})" for each in started if each.id not in states]
    cancelled = {each.id for each in started if each.cancelled}
    other = []
    for id_, (kind, state, error, attempts) in states.items():
        if state == "completed" or (state == "cancelled" and id_ in cancelled):
            continue
        other.append(f"job {id_} ({kind}) is {state} after {attempts} attempts: {error}")
    archived, by_jobs = (
        connection.execute(count, [AGEING]).fetchone() or (0,)
        for count in (ARCHIVED, ARCHIVED_BY_JOBS)
    )
    if archived != by_jobs and not other:
        other.append(f"{archived[0]} messages are archived, and retention says {by_jobs[0]}")
    return Findings(lost, [], [], other)


def note(ledger: Ledger, findings: Findings, when: str) -> None:
    """Have the ledger know what was found."""
    for name, found in findings._asdict().items():
        if found:
            shown = "; ".join(found[:NAMED])
            ledger.note_wrong(f"{when}: {len(found)} {name}: {shown}")


def scalar(url: str, statement: str) -> int:
    """What a counting statement gives."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
