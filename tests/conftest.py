"""Real servers for every test: one PostgreSQL and one Valkey a run, a fresh database a test."""

import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import psycopg
import pytest
import redis
import structlog
from sqlalchemy import Connection, Engine, create_engine

from api.app import create_app
from api.server import Server
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.migrating import migrate
from memory.settings import Provider, Settings
from tests.processes import wait_until
from tests.workers import beat, worker

__all__ = ["beat", "worker"]  # fixtures

TEMPLATE = "memory_template"

# The same examples each time: what fails on one machine fails on all.
hypothesis.settings.register_profile("the-same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("the-same")
SILENT = {"hole", "black_hole", "silent", "in_real_time"}
# All tests come from one address, and ask for more in a minute than an application may.
UNLIMITED: dict[str, Any] = {
    "global_rate_limit": "",
    "tenant_rate_limit": "",
    "auth_failure_limit": "",
}


@pytest.fixture(scope="session", autouse=True)
def logs_go_through_logging() -> None:
    """Or the thread of a server prints to a stream that pytest takes away from under it."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@pytest.fixture(scope="session", autouse=True)
def signals_reach_children() -> None:
    """Or whoever runs the tests by `nohup`, or in the background, has services that are deaf."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, from the environment or from a `.env`."""
    for name in list(os.environ):
        if name.startswith(("MEMORY_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that gets no processor for 50 ms is none that is gone, unless a test is about that.

    Those are they that have a Redis which says nothing.
    """
    if not SILENT & set(request.fixturenames):
        monkeypatch.setattr("api.brief_redis.CALL_SECONDS", 20)


@pytest.fixture
def in_real_time() -> None:
    """For a test that needs a Redis to be asked no longer than it is otherwise."""


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that an unprivileged database user can reach, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="memory-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """The PostgreSQL of this run, with a migrated database to copy."""
    with EmbeddedPostgres(folder / "postgres") as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
            # No test takes the machine's power away; and a disk would be waited for at each commit.
            connection.execute("alter system set fsync = off")
            connection.execute("select pg_reload_conf()")
        migrate(sibling(server.url, TEMPLATE))
        yield server


@pytest.fixture(scope="session")
def valkey(folder: Path) -> Iterator[EmbeddedValkey]:
    """The Valkey of this run."""
    with EmbeddedValkey(folder / "valkey") as server:
        yield server


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with own_database(postgres.url, "template1") as url:
        yield url


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a migrated database that no other test has seen."""
    with own_database(postgres.url, TEMPLATE) as url:
        yield url


@contextmanager
def own_database(server: str, template: str) -> Iterator[str]:
    """A copy of `template`, dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
        yield sibling(server, name)
        connection.execute(f"drop database {name} with (force)")


def sibling(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return url.rpartition("/")[0] + "/" + database


@pytest.fixture
def provider() -> Provider:
    """The embedding provider: the quick one, unless a test asks for another."""
    return "mock"


@pytest.fixture
def settings(database: str, valkey: EmbeddedValkey, folder: Path, provider: Provider) -> Settings:
    """Settings of a whole service on this test's own database."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return Settings(
        database_url=database,
        redis_url=valkey.url,
        data_dir=str(folder),
        embedding_provider=provider,
        sweep_interval_seconds=1,
        environment="test",
        worker_metrics_port=0,
        beat_metrics_port=0,
        **UNLIMITED,
    )


@pytest.fixture
def owner(database: str) -> Iterator[Connection]:
    """A connection of the owner, who sees all; each statement is committed."""
    engine: Engine = create_engine(
        database.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    """A client of a real HTTP server that runs the API with `settings`."""
    server = Server(create_app(settings), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive(), "the API has started")
    assert server.started, "the API refused to start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the API did not stop"


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API in its default, asynchronous mode; no worker runs."""
    with serving(settings) as client:
        yield client


def message(**changes: Any) -> dict[str, Any]:
    """The body of a valid POST, with `changes`."""
    return {
        "tenant_id": "acme",
        "conversation_id": "c-1",
        "role": "user",
        "content": "I am allergic to peanuts.",
        **changes,
    }
