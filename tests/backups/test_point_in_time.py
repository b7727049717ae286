"""The way back to any moment, by the commands of `docs/backup.md`."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from cli.accounts import Account
from cli.postgres import EmbeddedPostgres
from cli.programs import postgres_programs
from db.dumping import place_of
from tests.processes import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
COPY = "2026-11-22"


@pytest.fixture
def place(folder: Path) -> Iterator[Path]:
    """A folder for a server of its own, its log and its copies."""
    place = folder / "point-in-time"
    place.mkdir()
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def block(language: str, beginning: str, place: Path) -> str:
    """A block of the page, with its folders below `place`."""
    (found,) = re.findall(rf"```{language}\n({beginning}.*?)```", PAGE, re.DOTALL)
    return str(found).replace("/srv", str(place))


def test_what_was_committed_before_is_there_and_nothing_of_later(place: Path) -> None:
    server = EmbeddedPostgres(place / "server")
    with server:
        cluster = server._located()
        make_folders(place, cluster.account)
        with psycopg.connect(server.url, autocommit=True) as connection:
            for statement in block("sql", "alter system", place).strip().split(";\n"):
                connection.execute(statement)
    with server:
        copy_files(server, place, cluster.account)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("create table said (words text)")
            connection.execute("insert into said values ('before')")
            moment = connection.execute("select clock_timestamp()").fetchone()
            assert moment
            connection.execute("insert into said values ('after')")
            connection.execute("select pg_switch_wal()")
            wait_until(lambda: archived(connection) >= 2, "the log is in the archive")
    files = server.files
    files.rename(place / "away")
    (place / "base" / COPY).rename(files)
    go_back(files, place, moment[0], cluster.account)
    with server, psycopg.connect(server.url, autocommit=True) as connection:
        wait_until(lambda: not recovering(connection), "it is an ordinary server again")
        assert connection.execute("select words from said").fetchall() == [("before",)]
        connection.execute("insert into said values ('anew')")


def make_folders(place: Path, account: Account | None) -> None:
    for name in ("wal", "base"):
        (place / name).mkdir()
        if account:
            account.own(place / name)


def copy_files(server: EmbeddedPostgres, place: Path, account: Account | None) -> None:
    """As the page says it, but for the programs' folder, the port and the user."""
    url = place_of(server.url)
    port = server.url.rpartition(":")[2].partition("/")[0]
    command = block("sh", "pg_basebackup", place).replace("=postgres ", "=aiml ")
    subprocess.run(
        f"{postgres_programs(account)}/{command.strip()} --port={port}",
        shell=True,
        cwd="/",
        env=url.environment,
        check=True,
        timeout=60,
        **(account.popen_arguments() if account else {}),
    )


def go_back(files: Path, place: Path, moment: datetime, account: Account | None) -> None:
    """As the page says it."""
    commands = block("sh", "cat >> DATA", place).replace("DATA", str(files))
    told = re.sub(r"(recovery_target_time = ').*?'", rf"\g<1>{moment.isoformat()}'", commands)
    assert moment.isoformat() in told
    subprocess.run(["sh", "-c", told], check=True)
    if account:
        account.own(files / "recovery.signal")


def archived(connection: psycopg.Connection) -> int:
    row = connection.execute("select archived_count from pg_stat_archiver").fetchone()
    return int(row[0]) if row else 0


def recovering(connection: psycopg.Connection) -> bool:
    row = connection.execute("select pg_is_in_recovery()").fetchone()
    return bool(row and row[0])
