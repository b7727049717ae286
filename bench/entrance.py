"""What the way in costs a request: the key check, limits, and row-level security.

    python -m bench.entrance

Starts PostgreSQL and Valkey of its own, and for each way in an API without a worker. The cost is
the processor time of the API process for a request, which other work on the machine hardly changes;
the time of an answer is beside it.
"""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

import click
import httpx
import msgspec
import psutil  # type: ignore[import-untyped]
import psycopg
from rich.console import Console
from rich.table import Table

from bench.ageing import wait_ready
from bench.concurrency import together
from bench.connection import Connection
from cli.postgres import EmbeddedPostgres
from cli.records import loopback_port
from cli.valkey import EmbeddedValkey
from db.migrating import migrate

ROUNDS = 5
REQUESTS = 800
CLIENTS = (1, 16)
TENANT = "acme"
OPERATOR = "an-operators-key-for-the-bench"
LIMIT = "100000000/hour"
UNLIMITED = dict.fromkeys(
    ("GLOBAL_RATE_LIMIT", "TENANT_RATE_LIMIT", "KEY_RATE_LIMIT", "AUTH_FAILURE_LIMIT"), ""
)
MESSAGE = {
    "tenant_id": TENANT,
    "conversation_id": "c",
    "role": "user",
    "content": "The flight to Lisbon leaves on Friday at nine.",
}
JSON = {"content-type": "application/json"}
SELECT = "select id, content from messages where tenant_id = %s and id = %s"
NAMED = "select set_config('memory.tenants', 'acme', true)"
STATEMENTS = 5_000


class Way(NamedTuple):
    """A way in: the settings of the API, and which key is sent, if any."""

    name: str
    settings: Mapping[str, str]
    key: str = ""


class Cost(NamedTuple):
    """Of one request: processor time of the API and of Valkey, and the median of the answers."""

    api_us: float
    valkey_us: float
    p50_ms: float


def ways(store_key: str) -> list[Way]:
    """From an open door to one with everything."""
    limited = dict.fromkeys(("GLOBAL_RATE_LIMIT", "TENANT_RATE_LIMIT"), LIMIT)
    return [
        Way("a key of the settings, no limits", {"API_KEYS": OPERATOR, **UNLIMITED}, OPERATOR),
        Way("a key of the store, bound to its tenant", UNLIMITED, store_key),
        Way("and limits of address and tenant", {**UNLIMITED, **limited}, store_key),
        Way(
            "and of key and messages, and wrong keys",
            {
                **limited,
                "KEY_RATE_LIMIT": LIMIT,
                "TENANT_MESSAGE_LIMIT": LIMIT,
                "AUTH_FAILURE_LIMIT": "20/5 minutes",
            },
            store_key,
        ),
    ]


@contextmanager
def api(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """An API with `settings`: its URL and its process."""
    port = loopback_port(folder / f"{token_hex(4)}.port")
    variables = [f"MEMORY_{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "cli.main", "api"]
    with (folder / "api.log").open("ab") as log:
        process = subprocess.Popen(
            ["env", f"MEMORY_API_PORT={port}", *variables, *command], stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url) as client:
            wait_ready(client)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def asked(url: str, key: str, clients: int, request: tuple[str, str, bytes]) -> list[float]:
    """The seconds that each of the answers took."""
    method, target, body = request
    headers = {"x-api-key": key} if key else {}

    async def ask() -> list[float]:
        connection = Connection(url, headers)
        taken = []
        for _ in range(REQUESTS // clients):
            started = time.perf_counter()
            answer = await connection.request(method, target, body, JSON if body else {})
            taken.append(time.perf_counter() - started)
            if answer.status >= 300:
                raise click.ClickException(f"{answer.status}: {answer.body[:200]!r}")
        connection.close()
        return taken

    return [each for some in await together(ask() for _ in range(clients)) for each in some]


def busy_seconds(pid: int) -> float:
    """The processor time that a process has had."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def measured(
    url: str, way: Way, clients: int, request: tuple[str, str, bytes], pids: tuple[int, int]
) -> Cost:
    """What one request costs, on average over `REQUESTS`."""
    before = [busy_seconds(pid) for pid in pids]
    taken = asyncio.run(asked(url, way.key, clients, request))
    api_seconds, valkey_seconds = (
        busy_seconds(pid) - at for pid, at in zip(pids, before, strict=True)
    )
    million = 1_000_000 / len(taken)
    return Cost(api_seconds * million, valkey_seconds * million, statistics.median(taken) * 1000)


def median(costs: list[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def row_level_security(url: str, message_id: str) -> dict[str, float]:
    """The microseconds of one look-up by id: as the owner, as the API, and with the naming."""
    figures = {}
    with psycopg.connect(url, autocommit=True) as connection:
        for name, before, naming in (
            ("look-up as the owner, no row-level security", "reset role", False),
            ("look-up as the API, under row-level security", "set role memory_api", False),
            ("the same, with the tenant named in a transaction of its own", "", True),
        ):
            if before:
                connection.execute(before.encode())
                connection.execute("select set_config('memory.tenants', 'acme', false)")
            taken = []
            for _ in range(STATEMENTS):
                started = time.perf_counter()
                if naming:
                    with connection.transaction():
                        connection.execute(NAMED, prepare=True)
                        connection.execute(SELECT, [TENANT, message_id], prepare=True)
                else:
                    connection.execute(SELECT, [TENANT, message_id], prepare=True)
                taken.append(time.perf_counter() - started)
            figures[name] = statistics.median(taken) * 1_000_000
    return figures


@click.command()
def main() -> None:
    """Measure what each way in costs, and print it."""
    with tempfile.TemporaryDirectory(prefix="memory-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "pg") as postgres, EmbeddedValkey(folder / "vk") as valkey:
            migrate(postgres.url)
            valkey_pid = valkey.child.pid if valkey.child else os.getpid()
            common = {
                "DATABASE_URL": postgres.url,
                "REDIS_URL": valkey.url,
                "EMBEDDING_PROVIDER": "mock",
                "DATA_DIR": str(folder / "data"),
            }
            measure_all(folder, common, postgres.url, valkey_pid)


def measure_all(folder: Path, common: Mapping[str, str], database: str, valkey_pid: int) -> None:
    """Measure each way in with each number of clients, and print the tables."""
    with api(folder, {**common, **UNLIMITED}) as (url, _), httpx.Client(base_url=url) as client:
        message_id = client.post("/v1/messages", json=MESSAGE).json()["id"]
        made = client.post("/v1/admin/keys", json={"tenants": [TENANT]}).json()["key"]
    requests = {
        "GET": ("GET", f"/v1/messages/{message_id}?tenant_id={TENANT}", b""),
        "POST": ("POST", "/v1/messages", msgspec.json.encode(MESSAGE)),
    }
    costs: dict[tuple[str, int, str], list[Cost]] = defaultdict(list)
    with ExitStack() as stack:
        services = [
            (way, *stack.enter_context(api(folder, {**common, **way.settings})))
            for way in ways(made)
        ]
        # By turns, for a machine is not as fast in one minute as in the next.
        for _ in range(ROUNDS):
            for name, clients in product(requests, CLIENTS):
                for way, url, pid in services:
                    cost = measured(url, way, clients, requests[name], (pid, valkey_pid))
                    costs[name, clients, way.name].append(cost)
    table = Table("request", "clients", "way in", "API us", "Valkey us", "p50 ms")
    for (name, clients, way_in), found in costs.items():
        figures = [f"{figure:,.2f}" for figure in median(found)]
        table.add_row(name, str(clients), way_in, *figures)
    Console(width=120).print(table)
    for what, microseconds in row_level_security(database, message_id).items():
        click.echo(f"{what}: {microseconds:.0f} us")


if __name__ == "__main__":
    main()
