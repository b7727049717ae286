"""What the way in costs a request: the key check, limits, and row-level security.

    python -m bench.entrance

Starts PostgreSQL and Valkey of its own, and for each way in an API without a worker. The cost is
the processor time of the API process for a request, which other work on the machine hardly changes;
the time of an answer is beside it.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product
from typing import NamedTuple

import click
import httpx
import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from bench.serving import MESSAGE, TENANT, UNLIMITED, Request, Servers, api, ask, servers

ROUNDS = 5
REQUESTS = 800
CLIENTS = (1, 16)
OPERATOR = "an-operators-key-for-the-bench"
LIMIT = "100000000/hour"
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


def measured(url: str, way: Way, clients: int, request: Request, pids: tuple[int, int]) -> Cost:
    """What one request costs, on average over `REQUESTS`."""
    headers = {"x-api-key": way.key} if way.key else {}
    asked = asyncio.run(ask(url, request._replace(headers=headers), clients, REQUESTS, pids))
    api_us, valkey_us = (seconds * 1_000_000 / len(asked.taken) for seconds in asked.busy)
    return Cost(api_us, valkey_us, statistics.median(asked.taken) * 1000)


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
    with servers() as running:
        measure_all(running)


def measure_all(running: Servers) -> None:
    """Measure each way in with each number of clients, and print the tables."""
    folder, common = running.folder, running.settings
    with api(folder, {**common, **UNLIMITED}) as (url, _), httpx.Client(base_url=url) as client:
        message_id = client.post("/v1/messages", json=MESSAGE).json()["id"]
        made = client.post("/v1/admin/keys", json={"tenants": [TENANT]}).json()["key"]
    requests = {
        "GET": Request("GET", f"/v1/messages/{message_id}?tenant_id={TENANT}"),
        "POST": Request("POST", "/v1/messages", msgspec.json.encode(MESSAGE)),
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
                    pids = (pid, running.valkey_pid)
                    cost = measured(url, way, clients, requests[name], pids)
                    costs[name, clients, way.name].append(cost)
    table = Table("request", "clients", "way in", "API us", "Valkey us", "p50 ms")
    for (name, clients, way_in), found in costs.items():
        figures = [f"{figure:,.2f}" for figure in median(found)]
        table.add_row(name, str(clients), way_in, *figures)
    Console(width=120).print(table)
    for what, microseconds in row_level_security(running.database, message_id).items():
        click.echo(f"{what}: {microseconds:.0f} us")


if __name__ == "__main__":
    main()
