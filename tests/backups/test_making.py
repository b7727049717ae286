"""Making a backup: all of it or nothing, whatever happens meanwhile."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from db.dumping import place_of
from db.programs import fitting_program
from db.snapshots import alone
from memory.backups import Manifest
from memory.errors import BackupError, UnverifiedBackupError
from tasks import backing_up
from tasks.backing_up import back_up, make_backup, remove_outdated
from tasks.backup_files import backups_in, read_manifest, write_manifest
from tests.backups.storing import TENANTS, Watched, as_login, databases, wait_until_next_second
from tests.conftest import sibling
from tests.processes import wait_until

MAKE = """
import sys
from pathlib import Path
from tasks.backing_up import make_backup
from tests.backups.storing import Watched
class Slow(Watched):
    def pulse(self):
        if self.stages[-1] == "dumping":
            print("dumping", flush=True)
            input()
make_backup(sys.argv[1], Path(sys.argv[2]), Slow())
"""


def test_a_backup_is_for_its_owner_alone_and_says_what_it_holds(filled: str, backups: Path) -> None:
    manifest = back_up(filled, backups, Watched(), verify=True)
    dump = backups / manifest.file
    assert read_manifest(dump) == manifest
    assert manifest.rows["messages"] == manifest.rows["message_embeddings"] == TENANTS
    assert manifest.rows["api_keys"] == {"*": 1}
    assert manifest.tenants == sorted(TENANTS)
    assert manifest.verified_at is not None
    assert manifest.bytes == dump.stat().st_size
    assert {path.stat().st_mode & 0o777 for path in backups.iterdir()} == {0o600}
    assert backups.stat().st_mode & 0o777 == 0o700
    assert not [name for name in databases(filled) if name.startswith("aiml_scratch")]


def test_what_is_stored_meanwhile_is_in_neither_dump_nor_counts(filled: str, backups: Path) -> None:
    class Storing(Watched):
        def stage(self, what: str, total: int) -> None:
            super().stage(what, total)
            # Between the count and pg_dump, say.
            if what == "dumping":
                with psycopg.connect(filled) as connection:
                    connection.execute("delete from messages where tenant_id = 'initech'")

    manifest = back_up(filled, backups, Storing(), verify=True)
    assert manifest.verified_at
    assert manifest.rows["messages"] == TENANTS


def test_who_sees_not_all_rows_makes_no_backup(filled: str, backups: Path) -> None:
    """The tables may be another's: then pg_dump fails, and leaves nothing out in silence."""
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("alter table messages force row level security")
        connection.execute("create role stranger login password 'stranger' in role memory_worker")
        connection.execute("grant select on all tables in schema public to stranger")
        connection.execute("grant select on all sequences in schema public to stranger")
    try:
        with pytest.raises(BackupError, match="affected by row-level security"):
            back_up(as_login(filled, "stranger"), backups, Watched(), verify=False)
        assert list(backups.iterdir()) == []
    finally:
        with psycopg.connect(filled, autocommit=True) as connection:
            connection.execute("drop owned by stranger; drop role stranger")


def test_killed_in_the_middle_it_leaves_what_the_next_one_removes(
    filled: str, backups: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, filled, str(backups)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == b"dumping\n"
        (unfinished,) = backups.iterdir()
        assert backups_in(backups) == []
        # One that is still written to is nobody else's to remove.
        manifest = make_backup(filled, backups, Watched())
        assert unfinished.exists()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    wait_until(lambda: dumping_at(filled) == 0, "its pg_dump has ended, too")
    remove_outdated(backups, manifest.database, 1)
    assert unfinished.exists()
    wait_until_next_second(manifest)
    make_backup(filled, backups, Watched())
    assert not unfinished.exists()
    assert len(backups_in(backups)) == 2


def test_given_up_in_the_middle_it_leaves_nothing(filled: str, backups: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        back_up(filled, backups, Watched("dumping", KeyboardInterrupt()), verify=True)
    assert list(backups.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        back_up(filled, backups, Watched("restoring", KeyboardInterrupt()), verify=True)
    assert len(backups_in(backups)) == 1
    assert not [name for name in databases(filled) if name.startswith("aiml_scratch")]


def test_a_scratch_database_that_was_left_is_dropped_by_the_next(
    filled: str, backups: Path
) -> None:
    with psycopg.connect(filled, autocommit=True) as connection:
        (own,) = connection.execute(
            "select oid from pg_database where datname = current_database()"
        ).fetchone() or [0]
        (other,) = connection.execute(
            "select oid from pg_database where datname = 'postgres'"
        ).fetchone() or [0]
        left, gone, foreign = (f"aiml_scratch_{number}_x" for number in (own, 1_999_999_999, other))
        for name in (left, gone, foreign):
            connection.execute(f"create database {name}")
        back_up(filled, backups, Watched(), verify=True)
        there = databases(filled)
        connection.execute(f"drop database {foreign}")
    assert foreign in there
    assert not {left, gone} & there


def test_a_backup_that_holds_not_all_is_not_verified(
    filled: str, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = backing_up.counted

    def one_more(connection: object) -> dict[str, dict[str, int]]:
        rows = counted(connection)  # type: ignore[arg-type]
        return rows | {"messages": rows["messages"] | {"globex": 21}}

    monkeypatch.setattr(backing_up, "counted", one_more)
    with pytest.raises(UnverifiedBackupError, match="messages of tenant globex: 20 rows, not 21"):
        back_up(filled, backups, Watched(), verify=True)
    (manifest,) = backups_in(backups)
    assert manifest.verified_at is None


def test_without_the_right_to_try_it_there_is_a_backup_all_the_same(
    filled: str, backups: Path
) -> None:
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("create role keeper login password 'keeper' bypassrls")
        connection.execute("grant pg_read_all_data to keeper")
    try:
        with pytest.raises(UnverifiedBackupError, match="CREATEDB"):
            back_up(as_login(filled, "keeper"), backups, Watched(), verify=True)
    finally:
        with psycopg.connect(filled, autocommit=True) as connection:
            connection.execute("drop owned by keeper; drop role keeper")
    assert len(backups_in(backups)) == 1


def test_a_full_disk_is_said_and_costs_no_other_backup(
    filled: str, backup: Path, backups: Path
) -> None:
    small = backups / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(BackupError, match="No space left on device"):
            back_up(filled, small, Watched(), verify=False)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert backup.exists()


def test_a_folder_that_cannot_be_made_is_said(filled: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="cannot be written"):
        back_up(filled, tmp_path / "file" / "backups", Watched(), verify=False)


def test_a_database_without_a_store_has_nothing_to_back_up(
    empty_database: str, backups: Path
) -> None:
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(empty_database, backups, Watched(), verify=False)


def test_a_database_that_is_away_is_said(filled: str, backups: Path) -> None:
    with pytest.raises(BackupError, match="does not exist"):
        back_up(sibling(filled, "nowhere"), backups, Watched(), verify=False)


def test_of_two_at_once_one_waits(filled: str, backups: Path) -> None:
    watched = Watched()
    with alone(filled, lambda: None):
        thread = threading.Thread(
            target=back_up, args=(filled, backups, watched), kwargs={"verify": False}
        )
        thread.start()
        thread.join(1.0)
        assert watched.stages == ["waiting for another backup or restore"]
    thread.join(30)
    assert len(backups_in(backups)) == 1


def test_the_password_is_in_no_argument(filled: str) -> None:
    place = place_of(filled)
    password = place.environment["PGPASSWORD"]
    assert password
    assert password in filled
    assert password not in place.connection
    assert not [name for name in place.environment if name.startswith("MEMORY")]


def test_a_program_of_an_older_version_is_named(filled: str) -> None:
    with pytest.raises(BackupError, match=r"pg_dump of PostgreSQL 99 or newer .* here is .*18"):
        fitting_program("pg_dump", 99, 99)


def test_the_newest_are_kept_and_the_newest_good_one(backup: Path, backups: Path) -> None:
    first = read_manifest(backup)

    def another(days: int, **changes: object) -> Manifest:
        at = first.taken_at + timedelta(days=days)
        name = f"memory-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.dump"
        manifest = msgspec.structs.replace(first, taken_at=at, file=name, **changes)
        (backups / name).touch()
        write_manifest(backups, manifest)
        return manifest

    good = another(1, verified_at=datetime.now(UTC))
    newer = [another(days) for days in (2, 3, 4)]
    foreign = another(-5, database="another")
    stray = backups / "memory-20200101T000000Z.dump"
    own_name = backups / "holidays.dump"
    stray.touch()
    own_name.touch()
    removed = remove_outdated(backups, first.database, 2)
    assert sorted(removed) == sorted([first.file, newer[0].file])
    left = {path.name for path in backups.glob("*.dump")}
    kept = {each.file for each in (good, *newer[1:], foreign)}
    assert left == kept | {stray.name, own_name.name}
    assert {path.stem for path in backups.glob("*.json")} == {name[:-5] for name in kept}


def dumping_at(url: str) -> int:
    """How many sessions pg_dump has."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'memory_backup'"
            " and datname = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0
