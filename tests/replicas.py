"""A streaming replica of the PostgreSQL of a run."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg

from cli.accounts import account_for
from cli.postgres import SETTINGS, EmbeddedPostgres
from cli.programs import postgres_programs
from tests.ports import free_port
from tests.processes import wait_until

# A replica that may cancel a search as soon as it stands in the way of replaying.
IMPATIENT = {"max_standby_streaming_delay": "0", "wal_receiver_status_interval": "1"}


class Replica:
    """A process that replays the log of `primary`, on files that `pg_basebackup` has copied."""

    def __init__(self, primary: EmbeddedPostgres, files: Path) -> None:
        self._account = account_for(primary.files)
        self._programs = postgres_programs(self._account)
        self._files = files
        self._log = files.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        self._server = urlsplit(primary.url)
        self.port = free_port()
        self._copy(primary.url)

    def url(self, primary: str) -> str:
        """Where the replica of the database at `primary` is."""
        there = urlsplit(primary)
        login = f"{there.username}:{there.password}"
        return f"postgresql://{login}@127.0.0.1:{self.port}{there.path}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [f"--{name}={value}" for name, value in (SETTINGS | IMPATIENT).items()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._files, f"--port={self.port}", *options],
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,
                **(self._account.popen_arguments() if self._account else {}),
            )
        wait_until(self._answers, "the replica answers")

    def ask(self, statement: str) -> object:
        """What the first row of a statement of the superuser has first; None without one."""
        with psycopg.connect(self.url(self._server.geturl()), autocommit=True) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It answers and replays nothing."""
        self.ask("select pg_wal_replay_pause()")
        wait_until(lambda: self.ask("select pg_get_wal_replay_pause_state()") == "paused", "paused")
        try:
            yield
        finally:
            self.ask("select pg_wal_replay_resume()")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Its processes take connections and never say a word."""
        assert self._process
        server = psutil.Process(self._process.pid)
        server.suspend()
        # Each of them leads a group of its own.
        stopped = [server, *server.children()]
        for process in stopped[1:]:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                process.resume()

    def kill(self) -> None:
        """End it at once."""
        if self._process:
            left = psutil.Process(self._process.pid).children()
            self._process.kill()
            self._process.wait(30)
            self._process = None
            # They end by themselves when they see that they are alone.
            psutil.wait_procs(left, timeout=30)
            (self._files / "postmaster.pid").unlink(missing_ok=True)

    def _copy(self, source: str) -> None:
        self._files.mkdir(mode=0o700)
        if self._account:
            self._account.own(self._files)
        command = [
            self._programs / "pg_basebackup",
            f"--dbname={source}",
            f"--pgdata={self._files}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--wal-method=stream",
            "--no-sync",
        ]
        subprocess.run(
            command,
            check=True,
            cwd="/",
            env={"LC_ALL": "C", "PATH": os.defpath},
            timeout=120,
            **(self._account.popen_arguments() if self._account else {}),
        )

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            self.ask("select 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def copied(primary: EmbeddedPostgres, files: Path) -> Iterator[Replica]:
    """A replica that runs, for as long as it is wanted."""
    replica = Replica(primary, files)
    replica.start()
    try:
        yield replica
    finally:
        replica.kill()
