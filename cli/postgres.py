"""A PostgreSQL server of our own, from the programs of an installed package."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from cli.child import Child
from cli.cluster import SUPERUSER, Cluster, create_cluster, find_cluster
from cli.embedded import EmbeddedServer, stored_access
from cli.errors import StartError
from cli.leftovers import end, running_in
from cli.lock import prepare_folder
from cli.programs import postgres_programs
from cli.records import LOOPBACK, recorded, secret

PROGRAM = "postgres"
DATABASE = "memory"
PASSWORD = "postgres.password"  # noqa: S105 - the name of a file
PORT = "postgres.port"
STOP_SECONDS = 20.0
IMMEDIATE_SECONDS = 5.0

MEMORY_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    # A new store is planned for as it is, and not as it was when it was empty, for a minute more.
    "autovacuum_naptime": "10s",
    # An eighth of the machine's memory, taken as it is used: a vector index that does not fit is
    # read again and again, at several times the price.
    "shared_buffers": f"{min(1024, max(128, MEMORY_BYTES // 2**23))}MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "512MB",
    # Files, not /dev/shm: containers often give that 64 MB, too little to build an index.
    "dynamic_shared_memory_type": "mmap",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    # What people said must not be in the log: no statements, parameters or failing rows.
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL. `.url` is that of the database `memory` and its superuser."""

    name = "postgres"
    title = "PostgreSQL"
    # After a kill -9 the server first replays its log, which may take minutes on a slow disk.
    start_seconds = 300.0

    def __init__(
        self, folder: Path, port: int | None = None, pulse: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(folder, port, pulse)
        self._cluster: Cluster | None = None

    @property
    def url(self) -> str:
        """Raises `StartError` when the server has never been started."""
        return stored_url(self.folder, self._port)

    @property
    def files(self) -> Path:
        """Where the database is: in `folder`, or in a system folder when root's is closed."""
        return self._located().files

    def launch(self) -> None:
        """Start the server's process without waiting for it."""
        prepare_folder(self.folder)
        cluster = self._located()
        programs = postgres_programs(cluster.account)
        password = self._password(cluster)
        if not cluster.exists:
            create_cluster(cluster, programs, password, self._pulse)
        stop_leftovers(cluster.files)
        port = self._take_port(self.folder / PORT)
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        self.child = Child(
            [programs / "postgres", "-D", cluster.files, f"--port={port}", *options],
            self.log,
            {**_environment(), "LC_ALL": "C"},
            cluster.account,
        )

    def stop(
        self, seconds: float = STOP_SECONDS, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        """Close connections and stop, within `seconds` and until `hurried`; then at once."""
        if self.child is None:
            return
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
        self.child.signal(signal.SIGINT)
        orderly = self.child.wait(seconds, hurried)
        if not orderly:
            self.child.signal(signal.SIGQUIT)
            self.child.wait(IMMEDIATE_SECONDS)
        died = self.child.exit_code != 0
        self.child.clear()
        self.child = None
        if died:
            end(running_in(self.files, PROGRAM), signal.SIGQUIT, IMMEDIATE_SECONDS)

    def _located(self) -> Cluster:
        if self._cluster is None:
            self._cluster = find_cluster(self.folder)
        return self._cluster

    def _password(self, cluster: Cluster) -> str:
        if cluster.exists and not recorded(self.folder / PASSWORD):
            raise StartError(
                f"{self.folder / PASSWORD} is missing: without it the database in {cluster.files}"
                " cannot be used."
            )
        return secret(self.folder / PASSWORD)

    def _answers(self) -> bool:
        server = self.url.removesuffix(DATABASE) + "postgres?connect_timeout=5"
        try:
            with psycopg.connect(server, autocommit=True, sslmode="disable") as connection:
                found = connection.execute("select from pg_database where datname = %s", [DATABASE])
                if not found.rowcount:
                    create = sql.SQL("create database {}").format(sql.Identifier(DATABASE))
                    connection.execute(create)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StartError(
                    f"PostgreSQL in {self.files} does not take the password in"
                    f" {self.folder / PASSWORD}."
                ) from None
            return False
        return True


def stored_url(folder: Path, port: int | None = None) -> str:
    """The URL of the database under `folder`, from what its last start wrote there.

    Raises `StartError` when there was none.
    """
    password, kept = stored_access(EmbeddedPostgres, folder, port)
    return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{kept}/{DATABASE}"


def stop_leftovers(files: Path) -> None:
    """Stop the server that still runs on `files`, and remove the trace of one that was killed.

    Raises `StartError` when it belongs to another user.
    """
    trace = files / "postmaster.pid"
    # A server that was stopped in order leaves no such file, and nothing need be looked for.
    if not trace.exists():
        return
    pid = (recorded(trace) or "").partition("\n")[0]
    # The server ends its own workers; those that are left have lost theirs.
    servers = [process for process in running_in(files, PROGRAM) if str(process.pid) == pid]
    end(servers, signal.SIGINT, STOP_SECONDS)
    end(running_in(files, PROGRAM), signal.SIGQUIT, IMMEDIATE_SECONDS)
    # PostgreSQL would take any process that has got this number since for its predecessor.
    with contextlib.suppress(FileNotFoundError):
        trace.unlink()


def _environment() -> dict[str, str]:
    # The caller's PG* variables would change what the server does.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
