"""How long a search takes over REST, by one client and by many at once."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

from rich.progress import Progress, TaskID

from bench.asking import SEARCH, Configuration, search_parameters
from bench.concurrency import together
from bench.connection import Connection
from bench.conversations import Conversation
from bench.rest import RefusedError, Service, ServiceError, refusal, target

CLIENTS = (1, 16)


@dataclass(frozen=True)
class Latency:
    """Times of `requests` searches in milliseconds, from the first byte sent to the last read.

    `client_busy` is the share of its time for which this process was on a CPU: near 1, the
    figures are of the client and not of the service.
    """

    clients: int
    requests: int
    p50_ms: float
    p95_ms: float
    requests_per_second: float
    client_busy: float


def distinct_queries(
    conversations: Mapping[str, Conversation], used: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Tenant and query without end, no two alike; what is given is added to `used`.

    The service may answer a query that it has seen within the last minute from a cache. So a
    question that was asked before gets a running number, which changes what is looked up and
    hardly what it costs.
    """
    asked = [(tenant, each.text) for tenant, one in conversations.items() for each in one.questions]
    for number in count(1):
        for tenant, text in asked:
            query = text if (tenant, text) not in used else f"{text} ({number})"
            if (tenant, query) not in used:
                used.add((tenant, query))
                yield tenant, query


async def measure_latency(
    service: Service, queries: Iterator[tuple[str, str]], requests: int, progress: Progress
) -> list[Latency]:
    """The latency of the default configuration with each number of clients.

    Raises `ServiceError` when a request fails: with answers missing, the times mean nothing.
    """
    measured = []
    for clients in CLIENTS:
        bar = progress.add_task(f"latency, clients: {clients}", total=requests)
        default = Configuration("default")
        targets = [
            target(SEARCH, search_parameters(tenant, query, default))
            for tenant, query in islice(queries, requests + clients)
        ]
        measured.append(await _measure(service, targets, clients, progress, bar))
    return measured


async def _measure(
    service: Service, targets: Sequence[str], clients: int, progress: Progress, bar: TaskID
) -> Latency:
    connections = [Connection(service.url, service.headers) for _ in range(clients)]
    # The first request of each client opens its connection and is not counted.
    for connection, first in zip(connections, targets, strict=False):
        await _timed(connection, first)
    left = iter(targets[clients:])
    seconds: list[float] = []

    async def client(connection: Connection) -> None:
        for each in left:
            seconds.append(await _timed(connection, each))
            progress.advance(bar)

    started, cpu = time.perf_counter(), time.process_time()
    try:
        await together(client(each) for each in connections)
    finally:
        for connection in connections:
            connection.close()
    wall = time.perf_counter() - started
    return Latency(
        clients=clients,
        requests=len(seconds),
        p50_ms=1000 * percentile(seconds, 0.50),
        p95_ms=1000 * percentile(seconds, 0.95),
        requests_per_second=len(seconds) / wall,
        client_busy=(time.process_time() - cpu) / wall,
    )


async def _timed(connection: Connection, search: str) -> float:
    started = time.perf_counter()
    try:
        answer = await connection.request("GET", search)
    except OSError as error:
        raise ServiceError(f"a search was lost: {error or type(error).__name__}") from None
    took = time.perf_counter() - started
    if answer.status != 200:
        raise RefusedError(answer.status, refusal(answer))
    return took


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of `values` do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
