"""What benches of single requests share: servers of their own, an API before them, and its time."""

import ctypes
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import IO, NamedTuple, cast

import click
import httpx
import psutil  # type: ignore[import-untyped]

from bench.ageing import wait_ready
from bench.concurrency import together
from bench.connection import Connection
from cli.postgres import EmbeddedPostgres
from cli.records import loopback_port
from cli.rotation import follow
from cli.valkey import EmbeddedValkey
from db.migrating import migrate

TENANT = "acme"
MESSAGE = {
    "tenant_id": TENANT,
    "conversation_id": "c",
    "role": "user",
    "content": "The flight to Lisbon leaves on Friday at nine.",
}
UNLIMITED = dict.fromkeys(
    ("GLOBAL_RATE_LIMIT", "TENANT_RATE_LIMIT", "KEY_RATE_LIMIT", "AUTH_FAILURE_LIMIT"), ""
)
JSON = {"content-type": "application/json"}
STOP_SECONDS = 30
WARMING = 8
NOTHING: Mapping[str, str] = MappingProxyType({})
COMMAND = ("cli.main",)


class Servers(NamedTuple):
    """What the parts of a service need: settings that name the servers, and a folder for logs."""

    folder: Path
    settings: Mapping[str, str]
    database: str
    valkey_pid: int


class Request(NamedTuple):
    """What is asked again and again."""

    method: str
    target: str
    body: bytes = b""
    headers: Mapping[str, str] = NOTHING


class Asked(NamedTuple):
    """The seconds that each answer took, and the processor seconds of each process meanwhile."""

    taken: list[float]
    busy: list[float]


def end_in_order() -> None:
    """Have SIGTERM end this process as `sys.exit` does, and so its servers with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def servers() -> Iterator[Servers]:
    """A PostgreSQL and a Valkey, empty but for the schema."""
    with tempfile.TemporaryDirectory(prefix="memory-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "pg") as postgres, EmbeddedValkey(folder / "vk") as valkey:
            migrate(postgres.url)
            settings = {
                "DATABASE_URL": postgres.url,
                "REDIS_URL": valkey.url,
                "EMBEDDING_PROVIDER": "mock",
                "DATA_DIR": str(folder / "data"),
            }
            pid = valkey.child.pid if valkey.child else psutil.Process().pid
            yield Servers(folder, settings, postgres.url, pid)


@contextmanager
def part(
    folder: Path,
    words: Sequence[str],
    settings: Mapping[str, str] = NOTHING,
    standard: Mapping[str, str] = NOTHING,
) -> Iterator[int]:
    """The process of `python -m WORDS`, its lines on a pipe as `aiml up` has them.

    `settings` are ours, without their prefix; `standard` are variables with names of others.
    """
    # Empty is not set: whatever the caller's is, what is measured is what is asked for.
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", **standard}
    variables |= {f"MEMORY_{name}": value for name, value in settings.items()}
    given = [f"{name}={value}" for name, value in variables.items()]
    process = subprocess.Popen(
        ["env", *given, sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log = folder / f"{words[0]}-{token_hex(4)}.log"
    copying = follow(cast("IO[bytes]", process.stdout), log)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        copying.join(STOP_SECONDS)


@contextmanager
def api(
    folder: Path,
    settings: Mapping[str, str],
    standard: Mapping[str, str] = NOTHING,
    command: Sequence[str] = COMMAND,
) -> Iterator[tuple[str, int]]:
    """An API with such settings: its URL and its process. It is ready."""
    port = free_port(folder)
    with part(folder, [*command, "api"], {**settings, "API_PORT": str(port)}, standard) as pid:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url) as client:
            wait_ready(client)
        yield url, pid


def free_port(folder: Path) -> int:
    """A port of this machine that is free, and in no other use of this bench."""
    return loopback_port(folder / f"{token_hex(4)}.port")


async def ask(
    url: str, request: Request, clients: int, requests: int, pids: Sequence[int]
) -> Asked:
    """Ask `requests` times in all, by so many clients at once, and some times before that.

    Raises `click.ClickException` for an answer that is none.
    """
    connections = [Connection(url, request.headers) for _ in range(clients)]
    try:
        # Connections are open then, and the processor's caches as they are at work.
        before_all = max(1, WARMING // clients)
        await together(times(connection, request, before_all) for connection in connections)
        before = [busy_seconds(pid) for pid in pids]
        each = requests // clients
        taken = await together(times(connection, request, each) for connection in connections)
        busy = [busy_seconds(pid) - at for pid, at in zip(pids, before, strict=True)]
    finally:
        for connection in connections:
            connection.close()
    return Asked([one for some in taken for one in some], busy)


async def times(connection: Connection, request: Request, requests: int) -> list[float]:
    """The seconds that each of `requests` took, one after the other."""
    taken = []
    content_type = JSON if request.body else {}
    for _ in range(requests):
        started = time.perf_counter()
        answer = await connection.request(
            request.method, request.target, request.body, content_type
        )
        taken.append(time.perf_counter() - started)
        if answer.status >= 300:
            raise click.ClickException(f"{answer.status}: {answer.body[:200]!r}")
    return taken


def busy_seconds(pid: int) -> float:
    """The processor time that a process has had."""
    of_process = getattr(ctypes.CDLL(None), "clock_getcpuclockid", None)
    clock = ctypes.c_int()
    if of_process and of_process(pid, ctypes.byref(clock)) == 0:
        return time.clock_gettime(clock.value)
    # Not everywhere is there a clock for each process; what there is counts in hundredths.
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)
