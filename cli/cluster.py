"""Where an embedded PostgreSQL keeps its files, and how they come to be."""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli import programs
from cli.accounts import Account, account_for
from cli.errors import StartError
from cli.records import recorded, write_private

CLUSTER = "postgres"
UNFINISHED = "postgres.new-"
LOCATION = "postgres.location"
OWNER = "data-folder"
SUPERUSER = "aiml"
INITDB_SECONDS = 120.0
INITDB_OPTIONS = (
    "--auth-host=scram-sha-256",
    "--auth-local=scram-sha-256",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--encoding=UTF8",
    f"--username={SUPERUSER}",
)


@dataclass(frozen=True)
class Cluster:
    """The files of a database: `files` may not exist yet. `account` is None for "as myself"."""

    files: Path
    account: Account | None

    @property
    def exists(self) -> bool:
        return self.files.exists()


def find_cluster(folder: Path) -> Cluster:
    """The cluster of the data folder `folder`: inside it, or in a system folder when root keeps
    it in a place that the database's account cannot reach.

    Raises `StartError` when neither can be used.
    """
    location = recorded(folder / LOCATION)
    if location is not None:
        return _relocated(folder, Path(location))
    files = folder / CLUSTER
    account = account_for(files, folder)
    if account is None:
        if files.exists() and not os.access(files, os.R_OK | os.W_OK | os.X_OK):
            raise StartError(f"The database in {files} belongs to another user: start as that one.")
        return Cluster(files, None)
    if account.reaches(folder):
        return Cluster(files, account)
    if files.exists():
        raise StartError(
            f"The database in {files} cannot be reached by its owner {account.name}: open the"
            f" folders above it (chmod o+x), or set MEMORY_DATA_DIR to another place."
        )
    return _relocate(folder, account)


def create_cluster(
    cluster: Cluster, program_folder: Path, password: str, pulse: Callable[[], None]
) -> None:
    """Make the files with initdb, whole or not at all.

    `pulse` is called all the while and may raise. Raises `StartError` when initdb fails.
    """
    parent = cluster.files.parent
    # A start that was killed half-way leaves its unfinished folder behind.
    for leftover in parent.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished = parent / f"{UNFINISHED}{secrets.token_hex(4)}"
    try:
        unfinished.mkdir(mode=0o700)
        secret_file = unfinished / "password"
        write_private(secret_file, password)
        if cluster.account:
            cluster.account.own(unfinished)
            cluster.account.own(secret_file)
        _initdb(cluster, program_folder, unfinished, pulse)
        (unfinished / "data").rename(cluster.files)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _initdb(
    cluster: Cluster, program_folder: Path, unfinished: Path, pulse: Callable[[], None]
) -> None:
    output = unfinished / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - a program of ours
            [
                str(program_folder / "initdb"),
                f"--pgdata={unfinished / 'data'}",
                f"--pwfile={unfinished / 'password'}",
                *INITDB_OPTIONS,
            ],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **(cluster.account.popen_arguments() if cluster.account else {}),
        )
    try:
        deadline = time.monotonic() + INITDB_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            pulse()
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        said = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StartError(f"initdb failed in {cluster.files.parent}: {' '.join(said[-2:])}")


def _relocate(folder: Path, account: Account) -> Cluster:
    home = programs.SYSTEM_FOLDER / "data" / secrets.token_hex(8)
    try:
        home.mkdir(parents=True)
        for path in (programs.SYSTEM_FOLDER, home.parent, home):
            path.chmod(0o755)
        write_private(home / OWNER, str(folder.resolve()))
        write_private(folder / LOCATION, str(home))
    except OSError as error:
        raise StartError(
            f"{folder} is closed to {account.name}, whom the database must run as, and {home}"
            f" cannot be made: {error.strerror}. Set MEMORY_DATA_DIR to a folder every user can"
            " reach, or MEMORY_DATABASE_URL to a server of yours."
        ) from None
    return Cluster(home / CLUSTER, account)


def _relocated(folder: Path, home: Path) -> Cluster:
    if not home.is_dir():
        raise StartError(
            f"The database of {folder} was kept in {home}, which is gone. Bring it back, or remove"
            f" {folder / LOCATION} to begin with an empty one."
        )
    owner = Path(recorded(home / OWNER) or folder.resolve())
    if owner != folder.resolve():
        if recorded(owner / LOCATION) == str(home):
            raise StartError(
                f"{folder} is a copy of {owner}, which owns the database in {home}. Remove"
                f" {folder / LOCATION} to begin with an empty one."
            )
        write_private(home / OWNER, str(folder.resolve()))
    files = home / CLUSTER
    return Cluster(files, account_for(files, folder))
