"""What it costs to be read by Prometheus: the pages of the API, a worker and beat."""

import re
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import click
import httpx

from bench.serving import MESSAGE, UNLIMITED, Servers, api, busy_seconds, free_port, part

SCRAPES = 30
MESSAGES = 64
POOL = 2
WAIT_SECONDS = 60
EMBEDDED = re.compile(rb"^messages_embedded_total ([\d.]+)", re.MULTILINE)


class Page(NamedTuple):
    """One page: its series and bytes, how long it took, and the processor time of its process."""

    name: str
    series: int
    size: int
    p50_ms: float
    busy_ms: float

    def row(self) -> list[str]:
        """As cells of a table."""
        figures = [f"{self.series:,}", f"{self.size:,}"]
        return [self.name, *figures, f"{self.p50_ms:.1f}", f"{self.busy_ms:.1f}"]


def pages(running: Servers) -> list[Page]:
    """The pages of a service whose routes have all been asked, and whose worker has worked."""
    ports = {f"{name}_METRICS_PORT": str(free_port(running.folder)) for name in ("WORKER", "BEAT")}
    settings = {**running.settings, **UNLIMITED, **ports, "WORKER_CONCURRENCY": str(POOL)}
    with ExitStack() as stack:
        url, pid = stack.enter_context(api(running.folder, settings))
        asked = ask_all_routes(url)
        processes = [(f"API, {asked} routes asked", f"{url}/metrics", pid)]
        for name, port in zip(("worker", "beat"), ports.values(), strict=True):
            pid = stack.enter_context(part(running.folder, ["cli.main", name], settings))
            what = f"worker, {POOL} processes" if name == "worker" else name
            processes.append((what, f"http://127.0.0.1:{port}/metrics", pid))
        wait_embedded(processes[1][1])
        return [scraped(*each) for each in processes]


def ask_all_routes(url: str) -> int:
    """Ask each route that only reads, well or not, and post some messages; how many routes."""
    with httpx.Client(base_url=url) as client:
        for _ in range(MESSAGES):
            client.post("/v1/messages", json=MESSAGE)
        paths = list(readable(client.get("/docs/openapi.json").json()))
        for path in paths:
            client.get(path, params={"tenant_id": MESSAGE["tenant_id"], "query": "flight"})
    return len(paths)


def readable(document: dict[str, dict[str, dict[str, object]]]) -> Iterator[str]:
    """The paths of an OpenAPI document that answer GET, a number in each one's place of an id."""
    for path, operations in document["paths"].items():
        if "get" in operations:
            yield re.sub(r"\{\w+\}", "0", path)


def wait_embedded(page: str) -> None:
    """Wait until the worker's page tells of messages; raises `click.ClickException` in the end."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            found = EMBEDDED.search(httpx.get(page).content)
        except httpx.TransportError:
            found = None
        if found and float(found[1]) >= MESSAGES:
            return
        time.sleep(0.2)
    raise click.ClickException("the worker does not embed")


def scraped(name: str, url: str, pid: int) -> Page:
    """The figures of one page, read again and again."""
    taken = []
    with httpx.Client() as client:
        content = client.get(url).raise_for_status().content
        before = busy_seconds(pid)
        for _ in range(SCRAPES):
            started = time.perf_counter()
            client.get(url)
            taken.append(time.perf_counter() - started)
        busy = busy_seconds(pid) - before
    series = sum(not line.startswith(b"#") for line in content.splitlines())
    p50_ms = 1000 * statistics.median(taken)
    return Page(name, series, len(content), p50_ms, 1000 * busy / SCRAPES)
