"""Exports and imports as jobs: the file lies in the database, in parts of whole lines."""

from datetime import UTC, timedelta
from uuid import UUID

import msgspec
from celery import shared_task
from sqlalchemy import Connection

from db.queries.transfers import (
    DELETE_TRANSFERS,
    FINISH_TRANSFER,
    INSERT_PART,
    PART,
    PURGE_TRANSFERS,
    begin_transfer,
)
from memory.errors import StateConflictError
from tasks.base import Task
from tasks.exporting import extent_of, first_lines, next_lines
from tasks.file_format import ArchivedMessage, Header, Line, LineReader, Written
from tasks.file_packing import lines_of, packed
from tasks.imported_lines import import_rules
from tasks.importing import Imported, Importing, import_messages
from tasks.indexing import refresh
from tasks.jobs import Held, NewJob, Values, run_job
from tasks.resources import Resources

# So long a file is kept, and one whose upload was never finished.
KEPT_HOURS = 24
UNFINISHED_HOURS = 2
PURGE_AT_ONCE = 20


class ExportPlace(msgspec.Struct, kw_only=True):
    """Where an export stands: its header, how far it is written, in how many parts and bytes."""

    header: Header | None = None
    written: Written = msgspec.field(default_factory=Written)
    parts: int = 0
    bytes: int = 0
    ended: bool = False


class ImportPlace(msgspec.Struct, kw_only=True):
    """Where an import stands: the part that is next, and what became of those before."""

    part: int = 1
    outcome: Imported = msgspec.field(default_factory=Imported)


class ImportArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What an import is to do: with which file, of how many parts and messages."""

    transfer_id: UUID
    parts: int
    messages: int
    overwrite: bool = False


def new_export(tenant_id: str, started_by: str, *, vectors: bool) -> NewJob:
    """The job; while one for the tenant is at work there is no second."""
    return NewJob("export", tenant_id, {"vectors": vectors}, started_by, "export")


def new_import(tenant_id: str, started_by: str, arguments: ImportArguments) -> NewJob:
    """The job; while one for the tenant is at work there is no second."""
    return NewJob("import", tenant_id, msgspec.to_builtins(arguments), started_by, "import")


@shared_task(name="export_tenant", base=Task, bind=True)
def export_tenant(task: Task, tenant_id: str, job_id: str) -> str:
    """Write a tenant to a file in the database."""
    return run_job(task, "export", export_step, tenant_id, job_id)


@shared_task(name="import_tenant", base=Task, bind=True)
def import_tenant(task: Task, tenant_id: str, job_id: str) -> str:
    """Store what an uploaded file holds."""
    return run_job(task, "import", import_step, tenant_id, job_id)


def export_step(resources: Resources, held: Held) -> Values | None:
    """Write the next part; the result when that was the last."""
    place = msgspec.convert(held.position, ExportPlace)
    if place.ended:
        return export_result(held, place)
    before = place.written.messages
    total = None
    with resources.engine.begin() as connection:
        if place.header is None:
            begin_transfer(connection, held.tenant_id, held.id, "export")
            extent = extent_of(connection, held.tenant_id)
            total = extent.messages
            vectors = bool(held.arguments.get("vectors"))
            place.header, lines = first_lines(
                connection, held.tenant_id, extent.upto, vectors=vectors, written=place.written
            )
        else:
            lines = next_lines(connection, held.tenant_id, place.header, place.written)
        place.ended = not lines
        write_part(connection, held, place, lines or place.written.end())
        done = place.written.messages - before
        held.advance(connection, msgspec.to_builtins(place), done, total)
        if place.ended:
            finished = {"tenant_id": held.tenant_id, "id": held.id, "bytes": place.bytes}
            connection.execute(FINISH_TRANSFER, finished)
    return export_result(held, place) if place.ended else None


def write_part(connection: Connection, held: Held, place: ExportPlace, lines: bytes) -> None:
    """Store `lines` as the next part; raises `StateConflictError` when the file is gone."""
    content = packed(lines)
    part = {"number": place.parts, "begins": place.bytes, "content": content}
    named = {"tenant_id": held.tenant_id, "id": held.id}
    if connection.scalar(INSERT_PART, {**named, **part}) is None:
        raise StateConflictError(
            "What was written of this export is no longer kept: begin a new one."
        )
    place.parts += 1
    place.bytes += len(content)


def export_result(held: Held, place: ExportPlace) -> Values:
    """What is said of an export that is whole."""
    expires_at = held.started_at + timedelta(hours=KEPT_HOURS)
    return {
        "messages": place.written.messages,
        "bytes": place.bytes,
        "sha256": place.written.digest,
        "expires_at": expires_at.astimezone(UTC).isoformat(),
    }


def import_step(resources: Resources, held: Held) -> Values | None:
    """Store the messages of the next part; the result when that was the last."""
    asked = msgspec.convert(held.arguments, ImportArguments)
    place = msgspec.convert(held.position, ImportPlace)
    if place.part < asked.parts:
        with resources.engine.begin() as connection:
            header, lines = read_part(connection, held, asked, place.part)
            to = Importing(held.tenant_id, header, asked.overwrite)
            place.outcome.add(import_lines(resources, connection, to, lines))
            place.part += 1
            many = sum(isinstance(line, ArchivedMessage) for line in lines)
            held.advance(connection, msgspec.to_builtins(place), many, asked.messages)
        resources.answers.changed(held.tenant_id)
        return None
    with resources.engine.begin() as connection:
        held.advance(connection, held.position)
        connection.execute(DELETE_TRANSFERS, {"tenant_id": held.tenant_id, "kind": "import"})
    refresh(resources, held.tenant_id, anyway=True)
    result: Values = msgspec.to_builtins(place.outcome)
    return result


def import_lines(
    resources: Resources, connection: Connection, to: Importing, lines: list[Line]
) -> Imported:
    """Store what `lines` hold."""
    outcome = Imported()
    for line in lines:
        if not isinstance(line, ArchivedMessage):
            outcome.add(
                import_rules(
                    resources.settings, connection, to.tenant_id, line, overwrite=to.overwrite
                )
            )
    messages = [line for line in lines if isinstance(line, ArchivedMessage)]
    if messages:
        outcome.add(import_messages(resources, connection, to, messages))
    return outcome


def read_part(
    connection: Connection, held: Held, asked: ImportArguments, number: int
) -> tuple[Header, list[Line]]:
    """The header of an uploaded file, which is its part 0, and the lines of a part.

    All was checked when it was uploaded. Raises `StateConflictError` when the file is gone.
    """
    reader = LineReader("the file")
    lines: list[Line] = []
    named = {"tenant_id": held.tenant_id, "id": asked.transfer_id}
    for each in (0, number):
        content = connection.scalar(PART, {**named, "number": each})
        if content is None:
            raise StateConflictError("The file is no longer kept: send it again.")
        for line in lines_of(content):
            found = reader.read(line)
            if found is not None:
                lines.append(found)
    return reader.header, lines


def purge_transfers(resources: Resources) -> int:
    """Delete files that are over a day old, some at a time; how many there were."""
    scope = {"hours": KEPT_HOURS, "unfinished_hours": UNFINISHED_HOURS, "most": PURGE_AT_ONCE}
    with resources.engine.begin() as connection:
        return connection.execute(PURGE_TRANSFERS, scope).rowcount
