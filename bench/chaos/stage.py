"""A whole service of our own, with proxies before its servers and a provider that can fail."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx
import redis

from bench.chaos.clocks import Clock
from bench.chaos.kept import Kept
from bench.chaos.provider import Provider, providing
from bench.chaos.proxy import Proxy
from bench.serving import free_port
from cli.leftovers import end, marked
from cli.part import INSTANCE, NAME_SUFFIX, Program
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.migrating import migrate

Outcome = TypeVar("Outcome")

APIS = ("api-1", "api-2")
WORKERS = ("embeddings-1", "embeddings-2")
MAINTENANCE = "maintenance"
BEAT = "beat"
READY_SECONDS = 120
SWEPT = 'celery_tasks_total{outcome="success",task="sweep_pending"}'
SWEEP_SECONDS = 2.0
LEASE_SECONDS = 8.0
REQUEST_SECONDS = 5.0
# Intervals and times that there are settings for, shorter than by default, so that what follows on
# a fault follows within a round; and limits that count each request and refuse none.
SETTINGS = {
    "SWEEP_INTERVAL_SECONDS": f"{SWEEP_SECONDS:g}",
    "EMBEDDING_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "REQUEST_TIMEOUT_SECONDS": f"{REQUEST_SECONDS:g}",
    "GLOBAL_RATE_LIMIT": "1000000/minute",
    "TENANT_RATE_LIMIT": "1000000/minute",
    "KEY_RATE_LIMIT": "1000000/minute",
    "AUTH_FAILURE_LIMIT": "",
    "EMBEDDING_PROVIDER": "openai",
    "EMBEDDING_MODEL_NAME": "text-embedding-3-small",
    "EMBEDDING_DIMENSIONS": "64",
    "OPENAI_API_KEY": "told-to-fail",
    "WORKER_METRICS_PORT": "0",
    "BEAT_METRICS_PORT": "0",
}
# Nothing of the caller's reaches the parts.
PLAIN = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
COMMANDS = {
    **dict.fromkeys(APIS, ("api",)),
    **dict.fromkeys(WORKERS, ("worker", "--queues", "embeddings")),
    MAINTENANCE: ("worker", "--queues", "maintenance"),
    BEAT: ("beat",),
}


class Stage:
    """Servers, proxies, provider and parts. To be used in a `with`; ready when that begins."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self.provider = provider
        self.operator_key = secrets.token_urlsafe(16)
        self.postgres = EmbeddedPostgres(folder / "pg")
        self.valkey = EmbeddedValkey(folder / "vk")
        self.proxies: dict[str, Proxy] = {}
        self.kept: dict[str, Kept] = {}
        self.clocks: dict[str, Clock] = {}
        self.urls: dict[str, str] = {}
        self.metrics = ""
        self.loop = asyncio.new_event_loop()
        self._instance = secrets.token_hex(16)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def database(self) -> str:
        """The URL of the database, past the proxy."""
        return self.postgres.url

    @property
    def through(self) -> dict[str, str]:
        """Settings that name the servers as the parts reach them."""
        urls = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.valkey.url}
        server = {"DATABASE_URL": "postgres", "REDIS_URL": "valkey"}
        return {
            name: through_port(url, self.proxies[server[name]].port) for name, url in urls.items()
        }

    def run(self, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """What `work` gives, done in the loop of proxies and callers."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def pids(self, *names: str) -> set[int]:
        """The processes of parts, with what these have started."""
        return {each.pid for name in names for each in self.kept[name].processes()}

    def start(self) -> None:
        """Start all of it, and wait until it is ready."""
        self._thread.start()
        servers = {"postgres": self.postgres, "valkey": self.valkey}
        for name, server in servers.items():
            self.kept[name] = Kept(server)
            self.kept[name].start()
        for name, server in servers.items():
            server.wait_ready()
            at = int(server.url.rpartition(":")[2].partition("/")[0])
            self.proxies[name] = Proxy(at, free_port(self.folder))
            self.run(self.proxies[name].start())
        migrate(self.database)
        for name, words in COMMANDS.items():
            program = self._program(name, words)
            self.kept[name] = Kept(program)
            self.kept[name].start()
        self.wait_ready()

    def stop(self) -> None:
        """End all of it."""
        for name in reversed(self.kept):
            with contextlib.suppress(OSError):
                self.kept[name].stop()
        end(marked(INSTANCE, self._instance), signal.SIGKILL, 5.0)
        for proxy in self.proxies.values():
            self.run(proxy.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def wait_ready(self) -> None:
        """Wait until every part is at work."""
        until = time.monotonic() + READY_SECONDS
        for name in COMMANDS:
            part = self.kept[name].part
            while not (isinstance(part, Program) and part.at_work):
                if time.monotonic() > until:
                    raise click.ClickException(f"{name} was not ready, see {self.folder}/logs")
                time.sleep(0.05)

    def _program(self, name: str, words: tuple[str, ...]) -> Program:
        self.clocks[name] = Clock(self.folder / f"{name}.clock")
        own = {
            **SETTINGS,
            **self.through,
            "API_KEYS": self.operator_key,
            "OPENAI_BASE_URL": self.provider.url,
            "DATA_DIR": str(self.folder / "data"),
        }
        if name in APIS:
            port = free_port(self.folder)
            self.urls[name] = f"http://127.0.0.1:{port}"
            own["API_PORT"] = str(port)
        if name == MAINTENANCE:
            port = free_port(self.folder)
            self.metrics = f"http://127.0.0.1:{port}/metrics"
            own["WORKER_METRICS_PORT"] = str(port)
        variables = {f"MEMORY_{key}": value for key, value in own.items()}
        suffix = "-2" if name == WORKERS[1] else ""
        return Program(
            name,
            [sys.executable, "-m", "bench.chaos.entry", str(self.clocks[name].path), *words],
            self.folder / "logs",
            {**PLAIN, **variables, INSTANCE: self._instance, NAME_SUFFIX: suffix},
            ready=self.folder / f"{name}.ready",
        )

    def waiting_tasks(self) -> int:
        """How many tasks of embedding wait for a worker."""
        with redis.Redis.from_url(self.valkey.url, socket_timeout=10) as client:
            return int(client.llen("embeddings"))

    def sweeps_done(self) -> float | None:
        """How many sweeps the worker of maintenance has done; None when it does not say."""
        try:
            page = httpx.get(self.metrics, timeout=1.0).text
        except httpx.HTTPError:
            return None
        done = [line for line in page.splitlines() if line.startswith(SWEPT)]
        return sum(float(line.rpartition(" ")[2]) for line in done)


def through_port(url: str, port: int) -> str:
    """`url` with another port."""
    before, _, after = url.rpartition("@")
    host, _, rest = after.partition(":")
    return f"{before}@{host}:{port}/{rest.partition('/')[2]}"


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A service that is ready, until the block ends."""
    with providing() as provider:
        stage = Stage(folder, provider)
        try:
            stage.start()
            yield stage
        finally:
            stage.stop()
