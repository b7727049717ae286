"""There and back: what was backed up is what is restored, of each tenant, row by row."""

from pathlib import Path

import psycopg
import pytest

from memory.errors import BackupError
from tasks.backing_up import back_up
from tasks.backup_files import read_manifest
from tasks.restoring import restore
from tests.backups.storing import TENANTS, Watched, databases, everything, fill


def test_all_rows_of_all_tenants_come_back(
    database: str, empty_database: str, tmp_path: Path
) -> None:
    fill(database)
    before = everything(database)
    watched = Watched()
    manifest = back_up(database, tmp_path / "b", watched, verify=True)
    assert manifest.rows["messages"] == TENANTS
    assert manifest.verified_at
    print(manifest, watched.stages)
    file = tmp_path / "b" / manifest.file
    assert read_manifest(file) == manifest
    restore(empty_database, file, Watched(), overwrite=False)
    assert everything(empty_database) == before
