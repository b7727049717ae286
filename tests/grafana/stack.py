"""The whole service as processes of its own commands, each to be stopped and started again."""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from sqlalchemy import Connection, Engine, create_engine, text

from cli.valkey import EmbeddedValkey
from memory.settings import Settings
from tasks.backing_up import back_up, record
from tasks.measuring import measure
from tasks.resources import Resources
from tests.api.issuing import OPERATOR, OPERATOR_KEY
from tests.backups.storing import Watched
from tests.conftest import UNLIMITED, message
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import FakeApi
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.replicas import Replica
from tests.workers import environment

PARTS = ("api", "worker", "beat")
TENANTS = ("acme", "umbrella")
LOCK = text("lock table messages in access exclusive mode")


class Stack:
    """A running service, what it depends on, and who asks it."""

    def __init__(
        self,
        settings: Settings,
        valkey: EmbeddedValkey,
        replica: Replica,
        fake: FakeApi,
        folder: Path,
    ):
        self.settings = settings
        self.valkey = valkey
        self.replica = replica
        self.provider = fake
        self.archive = Path(settings.archive_dir)
        self.parts = {name: self._part(name, folder) for name in PARTS}
        url = f"http://127.0.0.1:{settings.api_port}"
        self.client = httpx.Client(base_url=url, headers=OPERATOR, timeout=30)
        self._engine: Engine = create_engine(
            settings.database_url.replace("postgresql://", "postgresql+psycopg://"),
            isolation_level="AUTOCOMMIT",
        )
        self._resources = Resources(settings)

    def _part(self, name: str, folder: Path) -> ProcessContainer:
        command = [sys.executable, "-m", "cli.main", name]
        return ProcessContainer(name, command, environment(self.settings), folder / f"{name}.log")

    @property
    def targets(self) -> dict[str, int]:
        """The ports of the metrics by the job that reads them."""
        return {
            "memory-api": self.settings.api_port,
            "memory-worker": self.settings.worker_metrics_port,
            "memory-beat": self.settings.beat_metrics_port,
        }

    @property
    def owner(self) -> Connection:
        """A connection of the owner, who sees all; each statement is committed."""
        return self._engine.connect()

    def sql(self, statement: str, **parameters: Any) -> Any:
        """What a statement of the owner gives."""
        with self.owner as connection:
            return connection.execute(text(statement), parameters)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A part is ended in order, and started again when the block ends."""
        self.parts[name].kill("SIGTERM")
        try:
            yield
        finally:
            self.parts[name].start()

    @contextmanager
    def without_redis(self) -> Iterator[None]:
        """Redis is stopped, and started again with what it had."""
        self.valkey.stop()
        try:
            yield
        finally:
            self.valkey.launch()
            self.valkey.wait_ready()

    @contextmanager
    def without_replica(self) -> Iterator[None]:
        """The replica is killed, and started again when the block ends."""
        self.replica.kill()
        try:
            yield
        finally:
            self.replica.start()

    def answers(self) -> bool:
        """Whether the API may get traffic."""
        try:
            return self.client.get("/v1/admin/readiness").status_code == 200
        except httpx.TransportError:
            return False

    def say(self, content: str, tenant_id: str = "acme") -> httpx.Response:
        """The response to a POST of a message."""
        return self.client.post("/v1/messages", json=message(tenant_id=tenant_id, content=content))

    def ask(self, query: str, tenant_id: str = "acme", **asked: Any) -> httpx.Response:
        """The response to a search."""
        parameters = {"tenant_id": tenant_id, "query": query, **asked}
        return self.client.get("/v1/memory/search", params=parameters)

    def measure(self) -> None:
        """Take the store's figures now and not on the minute."""
        measure(self._resources)

    def pending(self) -> int:
        """How many messages wait for their vectors."""
        with self.owner as connection:
            found = text("select count(*) from messages where embedding_status = 'pending'")
            return int(connection.execute(found).scalar_one())

    def some_traffic(self) -> None:
        """A little of all that applications and operators do."""
        self.client.get("/v1/messages", headers={"x-api-key": "wrong"})
        self.some_requests(24)
        wait_until(lambda: not self.pending(), "all is embedded")
        for path in ("retention", "importance"):
            body = {"wait": False} if path == "retention" else {}
            assert self.client.post(f"/v1/admin/{path}/run", json=body).is_success
        wait_until(lambda: not self.jobs("queued", "running"), "the jobs have ended")
        self.back_up()
        self.measure()

    def back_up(self) -> None:
        """Make a backup, as `aiml backup` does."""
        url, folder = self.settings.database_url, self.archive.parent / "backups"
        record(url, back_up(url, folder, Watched(), verify=False), "aiml")

    def run_retention(self) -> str:
        """Have retention run for all tenants; how its job stands when it was tried."""
        answer = self.client.post("/v1/admin/retention/run", json={"wait": False}).json()
        path = f"/v1/jobs/{answer.get('id') or answer['job_id']}"

        def tried() -> dict[str, Any] | None:
            job = self.client.get(path).json()
            return job if job["state"] == "completed" or job["error"] else None

        wait_until(tried, "retention was tried")
        return str((tried() or {})["state"])

    def some_requests(self, count: int) -> None:
        """Store so many messages and search as often, sometimes for the same."""
        for number in range(count):
            tenant_id = TENANTS[number % 2]
            assert self.say(f"text {number}", tenant_id).status_code == 202
            assert self.ask(f"text {number % 20}", tenant_id).status_code == 200

    def jobs(self, *states: str) -> list[Any]:
        """The jobs in one of these states."""
        query = "select kind, state, error, attempts from jobs where state = any(:states)"
        return list(self.sql(query, states=list(states)))

    @contextmanager
    def locked(self, seconds: float) -> Iterator[ThreadPoolExecutor]:
        """Nobody reads or writes messages for so long; callers who wait meanwhile."""
        held = threading.Event()

        def lock() -> None:
            with self.owner.execution_options(isolation_level="READ COMMITTED") as connection:
                connection.execute(LOCK)
                held.set()
                time.sleep(seconds)
                connection.rollback()

        locker = threading.Thread(target=lock)
        locker.start()
        held.wait(10)
        with ThreadPoolExecutor(12) as callers:
            yield callers
        locker.join()

    def close(self) -> None:
        """End all parts."""
        for part in self.parts.values():
            part.teardown()
        self.client.close()
        self._resources.engine.dispose()
        self._engine.dispose()


@contextmanager
def whole_service(database: str, replica: Replica, folder: Path) -> Iterator[Stack]:
    """A service on `database` and its replica, with a broker and a provider of its own."""
    with EmbeddedValkey(folder / "broker") as valkey, fake_api.serving() as fake:
        settings = Settings(
            database_url=database,
            database_replica_urls=replica.url(database),
            # So that a busy machine is no fault.
            replica_max_lag_seconds=30,
            redis_url=valkey.url,
            broker_url=valkey.url,
            data_dir=str(folder),
            archive_dir=str(folder / "archive"),
            environment="test",
            embedding_provider="openai",
            embedding_dimensions=fake_api.DIMENSIONS,
            openai_base_url=fake.url,
            openai_api_key="a-key",
            api_keys=OPERATOR_KEY,
            api_port=free_port(),
            worker_metrics_port=free_port(),
            beat_metrics_port=free_port(),
            metrics_tenants=True,
            database_pool_size=2,
            database_max_overflow=0,
            sweep_interval_seconds=1,
            **UNLIMITED,
        )
        settings = msgspec.structs.replace(settings, auth_failure_limit="20/5 minutes")
        (folder / "archive").mkdir()
        stack = Stack(settings, valkey, replica, fake, folder)
        try:
            wait_until(stack.answers, "the API is ready")
            yield stack
        finally:
            stack.close()
