import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest

from cli import cluster, programs
from cli.accounts import account_for
from cli.errors import StartError
from cli.interrupts import Stopped
from cli.leftovers import running_in, wait_gone
from cli.postgres import EmbeddedPostgres
from cli.records import write_private
from tests.processes import wait_until

ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root only")


def answer(url: str, statement: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[call-overload]
        return row and row[0]


def gone(process: psutil.Process) -> bool:
    return wait_gone([process], 0) == []


def keep(url: str, value: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (value text)")
        connection.execute("insert into kept values (%s)", [value])


def test_a_new_database_has_pgvector_and_utf8(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        assert server.url.startswith("postgresql://aiml:")
        assert server.url.endswith("/memory")
        with psycopg.connect(server.url) as connection:
            connection.execute("create extension vector")
            rows = connection.execute("select '[1,2]'::vector <-> '[1,4]'").fetchone()
            assert rows == (2.0,)
        assert answer(server.url, "show server_encoding") == "UTF8"
        assert answer(server.url, "select lower('ÄÉ') = 'äé'") is True
        pid = server.pid
        assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not (place / "postgres" / "postmaster.pid").exists()


def test_data_password_and_port_survive_a_restart(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        keep(server.url, "it")
        url = server.url
    with EmbeddedPostgres(place) as server:
        assert server.url == url
        assert answer(url, "select value from kept") == "it"


def test_the_password_is_needed_and_private(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        password = (place / "postgres.password").read_text()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url.replace(password, "wrong"))
        assert (place / "postgres.password").stat().st_mode & 0o777 == 0o600
        assert password not in " ".join(psutil.Process(server.pid).cmdline())


def test_the_log_holds_nothing_that_was_said(place: Path) -> None:
    with EmbeddedPostgres(place) as server, psycopg.connect(server.url) as connection:
        connection.execute("create table said (content text check (content <> 'hush'))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("insert into said values ('hush')")
        connection.rollback()
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute("select %s::text::int", ["a secret"])
    log = (place / "logs" / "postgres.log").read_text()
    assert "violates check constraint" in log
    assert "hush" not in log
    assert "select" not in log.lower()


def test_an_orphan_is_stopped_and_its_work_kept(place: Path) -> None:
    killed = EmbeddedPostgres(place)
    killed.start()
    keep(killed.url, "by the first")
    orphan = psutil.Process(killed.pid)
    # A second owner of the folder, as after a kill -9 of the first one's process.
    with EmbeddedPostgres(place) as server:
        assert server.pid != orphan.pid
        assert server.url == killed.url
        assert answer(server.url, "select value from kept") == "by the first"
        assert gone(orphan)
    killed.stop()


def test_a_killed_server_recovers_although_its_backends_linger(place: Path) -> None:
    server = EmbeddedPostgres(place)
    server.start()
    keep(server.url, "before the kill")
    backends = psutil.Process(server.pid).children()
    # Stopped, they cannot notice that their server is gone, and keep its shared memory.
    backends[0].suspend()
    os.kill(server.pid or 0, signal.SIGKILL)
    wait_until(lambda: server.pid is None, "the server is gone")
    with EmbeddedPostgres(place) as again:
        assert answer(again.url, "select value from kept") == "before the kill"
        assert gone(backends[0])
    server.stop()


def test_a_stale_pid_file_with_the_number_of_another_process_is_no_obstacle(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        files = server.files
    owner = files.stat()
    bystander = subprocess.Popen(
        ["sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None, cwd="/"
    )
    try:
        trace = files / "postmaster.pid"
        trace.write_text(f"{bystander.pid}\n{files}\n1\n1\n\n127.0.0.1\n")
        os.chown(trace, owner.st_uid, owner.st_gid)
        with EmbeddedPostgres(place) as server:
            assert answer(server.url, "select 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_initdb_that_was_killed_leaves_no_trace(place: Path) -> None:
    (place / "postgres.new-dead" / "data" / "base").mkdir(parents=True)
    with EmbeddedPostgres(place):
        pass
    assert [path.name for path in place.glob("postgres.new-*")] == []


def test_giving_up_during_initdb_ends_it_and_the_next_start_works(place: Path) -> None:
    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        EmbeddedPostgres(place, pulse=stop).start()
    assert not (place / "postgres").exists()
    assert list(place.glob("postgres.new-*")) == []
    with EmbeddedPostgres(place) as server:
        assert answer(server.url, "select 1") == 1


def test_a_given_port_that_is_busy_is_named(place: Path, busy_port: int) -> None:
    with pytest.raises(StartError, match=f"Port {busy_port} is in use"):
        EmbeddedPostgres(place, port=busy_port).start()


def test_a_lost_password_is_named_and_not_replaced(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    (place / "postgres.password").unlink()
    with pytest.raises(StartError, match=r"postgres.password is missing"):
        EmbeddedPostgres(place).start()
    write_private(place / "postgres.password", "wrong")
    with (
        pytest.raises(StartError, match=r"does not take the password"),
        EmbeddedPostgres(place),
    ):
        pass
    assert running_in(place / "postgres", "postgres") == []


def test_another_locale_and_pg_variables_change_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "1", "PGSSLMODE": "require", "LC_ALL": "tr_TR.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(place) as server:
        monkeypatch.delenv("PGSSLMODE")
        assert answer(server.url, "show timezone") == "UTC"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, place: Path) -> Iterator[Path]:
    """A home folder that is closed to all but its owner; the system folder is the test's own."""
    monkeypatch.setattr(programs, "SYSTEM_FOLDER", place / "system")
    path = Path(tempfile.mkdtemp(prefix="memory-closed-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@as_root
def test_roots_database_runs_as_nobody(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        assert psutil.Process(server.pid).uids().effective == pwd.getpwnam("nobody").pw_uid
        assert server.files == place / "postgres"


@as_root
def test_the_owner_of_the_folder_runs_the_database(place: Path) -> None:
    owner = pwd.getpwnam("daemon")
    os.chown(place, owner.pw_uid, owner.pw_gid)
    with EmbeddedPostgres(place) as server:
        assert psutil.Process(server.pid).uids().effective == owner.pw_uid


@as_root
def test_an_owner_without_a_name_is_passed_over(place: Path) -> None:
    os.chown(place, 12345, 12345)
    assert account_for(place / "none", place) == account_for(place / "none")


@as_root
def test_from_a_closed_home_data_goes_to_the_system_folder(closed: Path, place: Path) -> None:
    data = closed / "data"
    with EmbeddedPostgres(data) as server:
        keep(server.url, "it")
        assert server.files.is_relative_to(place / "system" / "data")
    assert closed.stat().st_mode & 0o777 == 0o700
    with EmbeddedPostgres(data) as server:
        assert answer(server.url, "select value from kept") == "it"
    moved = data.rename(closed / "moved")
    with EmbeddedPostgres(moved) as server:
        assert answer(server.url, "select value from kept") == "it"
    shutil.copytree(moved, closed / "copied")
    with pytest.raises(StartError, match="is a copy of"):
        EmbeddedPostgres(closed / "copied").start()
    shutil.rmtree(place / "system")
    with pytest.raises(StartError, match="is gone"):
        EmbeddedPostgres(moved).start()


@as_root
def test_programs_in_a_closed_home_are_copied_once(
    closed: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec(programs.PACKAGE)
    assert spec
    assert spec.submodule_search_locations
    packages = Path(spec.submodule_search_locations[0]).parent
    for name in (programs.PACKAGE, f"{programs.PACKAGE}.libs"):
        unneeded = shutil.ignore_patterns("pginstall", "include", "*.a")
        shutil.copytree(packages / name, closed / name, ignore=unneeded)
    spec.submodule_search_locations = [str(closed / programs.PACKAGE)]
    monkeypatch.setattr("db.programs.find_spec", lambda _: spec)
    old = os.umask(0o077)
    try:
        with EmbeddedPostgres(place / "data") as server:
            program = Path(psutil.Process(server.pid).exe())
            assert program.is_relative_to(place / "system" / "programs")
        copied = program.stat().st_ino
        with EmbeddedPostgres(place / "data") as server:
            assert Path(psutil.Process(server.pid).exe()).stat().st_ino == copied
    finally:
        os.umask(old)


def test_a_program_without_its_x_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = place / programs.PACKAGE / programs.RELEASE / "bin"
    release.mkdir(parents=True)
    (release / "initdb").touch(mode=0o644)
    spec = find_spec(programs.PACKAGE)
    assert spec
    spec.submodule_search_locations = [str(place / programs.PACKAGE)]
    monkeypatch.setattr("db.programs.find_spec", lambda _: spec)
    with pytest.raises(StartError, match=r"initdb may not be executed.*chmod"):
        programs.postgres_programs(None)
    monkeypatch.setattr("db.programs.find_spec", lambda _: None)
    with pytest.raises(StartError, match="MEMORY_DATABASE_URL"):
        programs.postgres_programs(None)


def test_a_failing_initdb_is_quoted(place: Path) -> None:
    (place / "bin").mkdir()
    fake = place / "bin" / "initdb"
    fake.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    fake.chmod(0o755)
    broken = cluster.find_cluster(place)
    with pytest.raises(StartError, match="the disk is full"):
        cluster.create_cluster(broken, place / "bin", "x", lambda: None)
    assert not broken.exists


@as_root
def test_an_ordinary_user_has_everything_in_the_data_folder(place: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    place.chmod(0o700)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    script = (
        "import pathlib, sys; from cli.postgres import EmbeddedPostgres;"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1]) / 'data');"
        "server.start(); print(server.files); server.stop()"
    )
    for python in (sys.executable, f"/usr/bin/python{version}"):
        path = os.pathsep.join([str(ROOT), *sys.path])
        with contextlib.suppress(PermissionError, FileNotFoundError):
            done = subprocess.run(
                [python, "-W", "error", "-c", script, place],
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                cwd="/",
                env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.stdout.strip(), done.stderr) == (str(place / "data" / "postgres"), "")
            assert (place / "data").stat().st_mode & 0o777 == 0o700
            return
    pytest.skip("no Python here that another user could run")
