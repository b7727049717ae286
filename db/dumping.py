"""pg_dump and pg_restore as children, through pipes: what is killed here ends them, too."""

import os
import re
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import psycopg
from psycopg.conninfo import make_conninfo

from db.programs import fitting_program
from memory.errors import BackupError

APPLICATION = "memory_backup"
CHUNK_BYTES = 1 << 20
# So often, at least, whoever waits is asked whether they still do.
PULSE_SECONDS = 0.25
CONNECT_SECONDS = 5
LOCK_WAIT = "60s"
# Plain indexes are made of what the tables hold, and the vectors' takes longer than all else.
PLAIN_INDEX = re.compile(r"^\d+; \d+ \d+ INDEX ")
# Only who has made an extension may say what it is.
OF_EXTENSION = re.compile(r"^\d+; \d+ \d+ COMMENT - EXTENSION ")

Pulse = Callable[[], None]


class Place(NamedTuple):
    """A database as a program finds it; the password is in the environment alone."""

    connection: str
    environment: dict[str, str]
    server: int
    """The major version."""


def place_of(url: str) -> Place:
    """Where `url` leads, as libpq understands it. Raises `BackupError` when nobody answers."""
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            info = connection.info
            parameters = dict(info.get_parameters())
            password, server = info.password, info.server_version
    except psycopg.OperationalError as error:
        raise BackupError(f"The database does not answer: {' '.join(str(error).split())}") from None
    if "sslpassword" in parameters:
        raise BackupError("A key with a password (sslpassword) cannot be handed to pg_dump unseen.")
    parameters["application_name"] = APPLICATION
    environment = {
        "PATH": os.defpath,
        "HOME": str(Path.home()),
        "LC_ALL": "C",
        # A dump's times are the same wherever it is made.
        "PGTZ": "UTC",
        "PGPASSWORD": password,
    }
    return Place(make_conninfo(**parameters), environment, server // 10_000)


def dump(place: Place, snapshot: str, take: Callable[[bytes], None], pulse: Pulse) -> int:
    """Hand all of the database as it is in `snapshot` to `take`; pg_dump's major version.

    `pulse` is called all the while and may raise to give up. Raises `BackupError`.
    """
    program, version = fitting_program("pg_dump", place.server, place.server)
    arguments = [
        "--format=custom",
        "--no-password",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={LOCK_WAIT}",
        f"--dbname={place.connection}",
    ]
    with running([program, *arguments], place, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                pulse()
                if selector.select(PULSE_SECONDS):
                    chunk = os.read(process.stdout.fileno(), CHUNK_BYTES)
                    if not chunk:
                        break
                    take(chunk)
    return version


def load(
    place: Place,
    file: Path,
    chunks: Iterable[bytes],
    made_with: int,
    pulse: Pulse,
    *,
    indexes: bool = True,
) -> None:
    """Restore the dump `file`, whose bytes are `chunks`, into an empty database, whole or not.

    All becomes the login's own. Without `indexes` plain ones are left out; keys and references
    stay. `pulse` and errors are as in `dump`.
    """
    program, _ = fitting_program("pg_restore", made_with, place.server)
    with tempfile.NamedTemporaryFile("w") as wanted:
        wanted.write("\n".join(contents(program, file, indexes=indexes)) + "\n")
        wanted.flush()
        arguments = [
            "--no-owner",
            "--no-password",
            "--single-transaction",
            f"--use-list={wanted.name}",
            f"--dbname={place.connection}",
        ]
        with running([program, *arguments], place, stdin=subprocess.PIPE) as process:
            feed(process, chunks, pulse)
            while process.poll() is None:
                pulse()
                try:
                    process.wait(PULSE_SECONDS)
                except subprocess.TimeoutExpired:
                    continue


def contents(program: Path, file: Path, *, indexes: bool) -> list[str]:
    """What is in a dump and to be restored, a line each."""
    listed = subprocess.run(  # noqa: S603 - a program of PostgreSQL's
        [program, "--list", file], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        raise BackupError(f"{file} cannot be read: {first_error(listed.stderr)}")
    left_out = [OF_EXTENSION, *([] if indexes else [PLAIN_INDEX])]
    lines = listed.stdout.splitlines()
    return [line for line in lines if not any(each.match(line) for each in left_out)]


def feed(process: subprocess.Popen[bytes], chunks: Iterable[bytes], pulse: Pulse) -> None:
    """Write `chunks` to what `process` reads; it may end before it has read all."""
    assert process.stdin is not None  # noqa: S101 - asked for by the caller
    descriptor = process.stdin.fileno()
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_WRITE)
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    pulse()
                    if selector.select(PULSE_SECONDS):
                        rest = rest[os.write(descriptor, rest) :]
        except BrokenPipeError:
            pass
    process.stdin.close()


@contextmanager
def running(
    command: list[str | Path], place: Place, **pipes: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is killed when the block raises; raises `BackupError` when it fails."""
    with tempfile.TemporaryFile() as said:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - PostgreSQL's own
            command,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **pipes},
            stderr=said,
            env=place.environment,
            start_new_session=True,
        )
        try:
            yield process
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                close(pipe)
        if process.returncode:
            said.seek(0)
            raise BackupError(first_error(said.read().decode(errors="replace")))


def close(pipe: IO[bytes] | None) -> None:
    """Close a pipe, whoever has gone from its other end."""
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass


def first_error(said: str) -> str:
    """The first error of what a program said: what follows it may quote rows."""
    for line in said.splitlines():
        name, _, error = line.partition(": error: ")
        if error:
            return f"{name}: {error}"
    lines = said.strip().splitlines()
    return lines[0] if lines else "ended without a word"
