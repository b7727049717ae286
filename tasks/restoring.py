"""Bringing a store back from a backup, in the place of what is there, or not at all."""

from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from db.migrating import migrate
from db.queries.backups import ANALYZE, END_BACKUP_JOBS, RIGHTS
from db.revisions import known_revisions
from db.scratch import at_once, database_of, scratch_database, swap
from db.snapshots import alone, counted, counted_at, others_here
from memory.backups import NO_TENANT, Manifest, Rows, total
from memory.errors import BackupError, StateConflictError
from tasks.backing_up import Watcher, named_faults, restore_into
from tasks.backup_files import check_dump, read_manifest


class Restored(NamedTuple):
    """What a store was brought back from, and what it holds now."""

    manifest: Manifest
    rows: Rows


def restore(url: str, file: Path, watcher: Watcher, *, overwrite: bool) -> Restored:
    """Restore the backup `file` to the database at `url`, and bring its schema to this version's.

    Where there is a store already it is left alone, unless it is to be overwritten; then it is in
    use as it was until the new one beside it is whole. Raises `StateConflictError` for what is in
    the way, `BackupError` for what fails.
    """
    manifest = read_manifest(file)
    check_version(manifest)
    watcher.stage("checking the file", manifest.bytes)
    check_dump(file, manifest, watcher.reached)
    watcher.stage("waiting for another backup or restore", 0)
    with named_faults():
        with alone(url, watcher.pulse) as connection:
            there = counted(connection)
            if there and not overwrite:
                raise StateConflictError(
                    f"The database {database_of(url)!r} holds {described(there)}."
                    " --overwrite replaces all of it by the backup."
                )
            if there:
                replace(url, file, manifest, watcher, connection)
            else:
                restore_into(url, file, manifest, watcher)
        # The lock that keeps migrations away is another database's now, or let go.
        if not there:
            complete(url, watcher)
        return Restored(manifest, counted_at(url))


def check_version(manifest: Manifest) -> None:
    """Raise `BackupError` when the backup's schema is of a later version than this."""
    if manifest.revision not in known_revisions():
        raise BackupError(
            f"The backup is of schema {manifest.revision} (version {manifest.service}), this"
            f" version knows up to {known_revisions()[0]}: restore it with that version."
        )


def replace(
    url: str, file: Path, manifest: Manifest, watcher: Watcher, connection: Connection
) -> None:
    """Restore to a database beside the one at `url`, and give it that one's name in the end."""
    rights = connection.execute(RIGHTS).one()
    if not (rights.creates and rights.owns):
        raise BackupError(
            "The login may not replace this database: it needs the right to make databases"
            " (CREATEDB) and must own this one. Or restore to an empty database, with --to."
        )
    check_nobody_is_here(connection)
    with scratch_database(url) as new:
        restore_into(new, file, manifest, watcher)
        complete(new, watcher)
        check_nobody_is_here(connection)
        # Nor may we be, when the name changes.
        connection.close()
        watcher.stage("taking its place", 0)
        swap(url, new)


def check_nobody_is_here(connection: Connection) -> None:
    """Raise `StateConflictError` while the service, or somebody else, uses the database."""
    if others := others_here(connection):
        raise StateConflictError(f"The database is in use, by {others}: stop the service first.")


def complete(url: str, watcher: Watcher) -> None:
    """Bring a restored store to this version, and to what it needs to be searched quickly."""
    watcher.stage("bringing the schema to this version", 0)
    migrate(url)
    with at_once(url) as connection:
        connection.execute(END_BACKUP_JOBS)
        watcher.stage("taking statistics", 0)
        connection.execute(ANALYZE)


def described(rows: Rows) -> str:
    """What a store holds, for people."""
    tenants = {tenant for whose in rows.values() for tenant in whose} - {NO_TENANT}
    messages, keys = total(rows, "messages"), total(rows, "api_keys")
    return f"{messages:,} messages, {len(tenants):,} tenants, {keys:,} keys"
