"""Making a backup: the store as it is at one moment, in a file that was tried."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy.exc import DBAPIError
from uuid_utils.compat import uuid7

from db.dumping import dump, load, place_of
from db.queries.backups import RECORD_BACKUP
from db.roles import prepare
from db.schema import check_schema, owner_connection
from db.scratch import scratch_database
from db.snapshots import Snapshot, alone, copied, counted, counted_at, store_snapshot
from memory.backups import FORMAT, VERSION, Manifest, Rows, difference, file_name, outdated, total
from memory.errors import (
    BackupError,
    SchemaOutdatedError,
    UnverifiedBackupError,
    VersionOutdatedError,
)
from memory.version import VERSION as SERVICE
from tasks.backup_files import (
    NewDump,
    backups_in,
    check_dump,
    chunks_of,
    new_dump,
    remove_backup,
    write_manifest,
)

LOOK_SECONDS = 0.5


class Watcher(Protocol):
    """Who is told how far it is. Each call may raise, and ends the work."""

    def stage(self, what: str, total: int) -> None:
        """A part of the work begins, of so many rows or bytes."""
        ...

    def reached(self, done: int) -> None:
        """The part is so far."""
        ...

    def pulse(self) -> None:
        """It goes on, for all that is known."""
        ...


def back_up(url: str, folder: Path, watcher: Watcher, *, verify: bool) -> Manifest:
    """Make a backup of the store at `url` in `folder`, and restore it for a try.

    Raises `BackupError`, `UnverifiedBackupError` when there is a backup all the same.
    """
    watcher.stage("waiting for another backup or restore", 0)
    with named_faults(), alone(url, watcher.pulse):
        manifest = make_backup(url, folder, watcher)
        if not verify:
            return manifest
        try:
            return verified(url, folder, manifest, watcher)
        except BackupError as error:
            raise UnverifiedBackupError(
                f"{folder / manifest.file} was made, but not verified: {error}"
            ) from None


def make_backup(url: str, folder: Path, watcher: Watcher) -> Manifest:
    """The manifest of a new backup, which stands in `folder`."""
    began = time.monotonic()
    with store_snapshot(url) as snapshot, new_dump(folder) as file:
        watcher.stage("counting", 0)
        rows = counted(snapshot.connection)
        program = write_dump(url, snapshot, file, total(rows), watcher)
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            file=file_name(snapshot.taken_at),
            taken_at=snapshot.taken_at.astimezone(UTC),
            seconds=round(time.monotonic() - began, 1),
            service=SERVICE,
            database=snapshot.database,
            revision=snapshot.revision,
            server=snapshot.server,
            vector=snapshot.vector,
            program=program,
            database_bytes=snapshot.database_bytes,
            bytes=file.bytes,
            sha256=file.sha256,
            rows=rows,
        )
        file.finish(manifest)
    return manifest


def write_dump(url: str, snapshot: Snapshot, file: NewDump, rows: int, watcher: Watcher) -> int:
    """Dump the store into `file`; pg_dump's major version."""
    watcher.stage("dumping", rows)
    seen: dict[int, int] = {}
    with owner_connection(url) as looker:
        next_look = 0.0

        def look() -> None:
            nonlocal next_look
            watcher.pulse()
            if time.monotonic() >= next_look:
                seen.update(copied(looker, snapshot.database))
                looker.rollback()
                watcher.reached(min(rows, sum(seen.values())))
                next_look = time.monotonic() + LOOK_SECONDS

        version = dump(place_of(url), snapshot.name, file.write, look)
    watcher.reached(rows)
    return version


def verified(url: str, folder: Path, manifest: Manifest, watcher: Watcher) -> Manifest:
    """The manifest, which says so from now on, after the backup was restored and counted.

    Into a database beside the store's, which is dropped again. The plain indexes, which are made
    of what the tables hold, are not built; keys and references are.
    """
    file = folder / manifest.file
    watcher.stage("checking the file", manifest.bytes)
    check_dump(file, manifest, watcher.reached)
    with scratch_database(url) as scratch:
        restore_into(scratch, file, manifest, watcher, indexes=False)
    found = msgspec.structs.replace(manifest, verified_at=datetime.now(UTC))
    try:
        write_manifest(folder, found)
    except OSError as error:
        raise BackupError(f"{folder} cannot be written: {error.strerror}") from None
    return found


def restore_into(
    url: str, file: Path, manifest: Manifest, watcher: Watcher, *, indexes: bool = True
) -> None:
    """Restore a dump into the empty database at `url`, and compare what is there then.

    Raises `BackupError` when it is not what the manifest says.
    """
    prepare(url, manifest.vector)
    watcher.stage("restoring", manifest.bytes)

    def chunks() -> Iterator[bytes]:
        yield from chunks_of(file, watcher.reached)
        # The tables come before what is made of them.
        watcher.stage("building keys and indexes", 0)

    load(place_of(url), file, chunks(), manifest.program, watcher.pulse, indexes=indexes)
    watcher.stage("counting", 0)
    if wrong := difference(manifest.rows, counted_at(url)):
        raise BackupError(f"what was restored is not what was backed up: {wrong}")


def remove_outdated(folder: Path, database: str, keep: int) -> list[str]:
    """Remove the backups of a database beyond the newest `keep`; their names."""
    old = outdated(backups_in(folder), database, keep)
    for manifest in old:
        remove_backup(folder, manifest)
    return [manifest.file for manifest in old]


def result_of(manifest: Manifest) -> dict[str, Any]:
    """What is said of a backup where its job is shown."""
    rows: Rows = manifest.rows
    return {
        "file": manifest.file,
        "taken_at": manifest.taken_at,
        "bytes": manifest.bytes,
        "seconds": manifest.seconds,
        "messages": total(rows, "messages"),
        "tenants": len(manifest.tenants),
        "verified": manifest.verified_at is not None,
    }


def record(url: str, manifest: Manifest, by: str) -> None:
    """Note in the store that a backup was made, as the schedule's are, where its schema is ours."""
    with named_faults(), owner_connection(url) as connection:
        try:
            check_schema(connection)
        except (SchemaOutdatedError, VersionOutdatedError):
            return
        result = msgspec.json.encode(result_of(manifest)).decode()
        connection.execute(RECORD_BACKUP, {"id": uuid7(), "result": result, "started_by": by})
        connection.commit()


@contextmanager
def named_faults() -> Iterator[None]:
    """What the database refuses is a `BackupError` with its words."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise BackupError(f"The database says: {said[0]}") from None
