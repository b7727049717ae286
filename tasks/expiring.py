"""The slices of a retention run, each a short transaction that notes how far the run is."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from db.queries.audit import INSERT_RECORD, record_parameters
from db.queries.policies import LOCK_RETENTION
from db.queries.retention import (
    LOCK_DELETABLE,
    due_parameters,
    lock_aged,
    lock_overflow,
)
from memory.retention import Due, chained
from memory.retention_runs import FIRST, Counts, Place, Run
from tasks.archive_files import file_name, write_file
from tasks.archiving import archive, delete
from tasks.due import count_window, policy_for, window_end
from tasks.file_format import ArchivedMessage
from tasks.indexing import analyser_of
from tasks.jobs import Held
from tasks.resources import Resources

# So many messages are touched in one transaction.
SLICE_MESSAGES = 500


class Slice:
    """One step of a run in its transaction, for the tenant that the run is at."""

    def __init__(
        self, connection: Connection, resources: Resources, held: Held, run: Run, place: Place
    ) -> None:
        self.connection = connection
        self.resources = resources
        self.held = held
        self.run = run
        self.place = place
        connection.execute(LOCK_RETENTION, {"tenant_id": place.tenant})
        self.policy = policy_for(connection, resources, place.tenant)
        self.due = due_parameters(place.tenant, self.policy, run.as_of)

    def do(self) -> None:
        """What the run is at. Under a hold that is nothing, whatever came before."""
        if self.policy.legal_hold and self.place.phase != "close":
            self.place.phase = "close"
        match self.place.phase:
            case "count":
                self.count()
            case "aged":
                self.archive_aged()
            case "overflow":
                self.archive_overflow()
            case "delete":
                self.delete_archived()
            case _:
                self.close()

    def count(self) -> None:
        """Count a window of a dry run."""
        place = self.place
        due, upto = count_window(self.connection, place.tenant, self.policy, self.run, place.after)
        place.due = place.due + due
        place.after = upto or FIRST
        if upto is None:
            place.here.archived, place.here.deleted = self.run.counts(place.due, self.policy)
            place.phase = "close"
        self.advance(0)

    def archive_aged(self) -> None:
        """Put away what is old and matters little, of one window."""
        upto = window_end(self.connection, self.place.tenant, self.place.after)
        window = {"after": self.place.after, "upto": upto, "most": SLICE_MESSAGES}
        locked = self.connection.execute(lock_aged(self.policy.age_from), {**self.due, **window})
        ids = list(locked.scalars())
        if len(ids) == SLICE_MESSAGES:
            self.place.after = ids[-1]
        elif upto is not None:
            self.place.after = upto
        else:
            self.place.phase = "overflow"
        self.put_away(ids)

    def archive_overflow(self) -> None:
        """Put away the least important messages beyond the limit."""
        ids: list[UUID] = []
        if self.policy.max_messages is not None:
            locked = self.connection.execute(
                lock_overflow(self.policy.age_from), {**self.due, "most": SLICE_MESSAGES}
            )
            ids = list(locked.scalars())
        if not ids:
            self.place.phase = "delete" if "delete" in self.run.actions else "close"
        self.put_away(ids)

    def put_away(self, ids: Sequence[UUID]) -> None:
        """Archive `ids` and note it."""
        here = self.place.here
        here.archived += len(ids)
        here.archived_digest = chained(here.archived_digest, ids)
        self.advance(len(ids))
        if ids:
            words = analyser_of(self.resources, self.connection, self.place.tenant)
            archive(self.connection, words, self.place.tenant, ids)

    def delete_archived(self) -> None:
        """Delete what has been in the archive for long enough, a file of it written first."""
        rows = self.connection.execute(LOCK_DELETABLE, {**self.due, "most": SLICE_MESSAGES}).all()
        if not rows:
            self.place.phase = "close"
        ids = [row.id for row in rows]
        here = self.place.here
        here.deleted += len(ids)
        here.deleted_digest = chained(here.deleted_digest, ids)
        folder, number = self.resources.settings.archive_dir, self.place.files
        if rows and folder:
            self.place.files += 1
        # Before the file: a runner that has lost the job must not write over its successor's.
        self.advance(len(ids))
        tenant_id = self.place.tenant
        if rows and folder:
            path = file_name(folder, tenant_id, self.run.as_of, self.held.id, number)
            deleted = (ArchivedMessage(tenant_id=tenant_id, **row._mapping) for row in rows)
            write_file(path, deleted, tenant_id)
        if rows:
            words = analyser_of(self.resources, self.connection, tenant_id)
            delete(self.connection, words, tenant_id, ids)

    def close(self) -> None:
        """Leave the record of what was done for the tenant, and go on to the next."""
        here = self.place.here
        if here.archived or here.deleted:
            self.connection.execute(
                INSERT_RECORD, record_parameters(self.place.tenant, *self.record())
            )
        self.place.archived += here.archived
        self.place.deleted += here.deleted
        self.place.tenants += bool(here.archived or here.deleted)
        self.place.phase = "choose"
        self.place.here, self.place.due = Counts(), Due()
        self.advance(0)

    def record(self) -> tuple[str, str, dict[str, Any]]:
        """Actor, action and details of the audit record."""
        details = {
            "job": self.held.id,
            "dry_run": self.run.dry_run,
            "actions": self.run.actions,
            "as_of": self.run.as_of,
            "policy": self.policy,
            "counts": self.place.here,
            "seconds": seconds_since(self.place.begun),
        }
        return self.held.started_by, "retention", details

    def advance(self, done: int) -> None:
        """Note where the run is."""
        self.held.advance(self.connection, msgspec.to_builtins(self.place), done)


def seconds_since(begun: datetime | None) -> float:
    """The seconds since `begun`, to the millisecond."""
    return round((datetime.now(UTC) - (begun or datetime.now(UTC))).total_seconds(), 3)
