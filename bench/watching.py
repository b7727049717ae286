"""What it costs a request to be watched: its metrics, its line in the log, its spans.

    python -m bench.watching

Starts PostgreSQL and Valkey of its own, an API without a worker for each variant, and a collector
that throws spans away. The cost is the processor time of the API process for a request, sending of
spans included, which other work on the machine changes less than the time of an answer.
"""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, product
from typing import NamedTuple

import click
import httpx
import msgspec

from bench.pages import pages
from bench.serving import (
    COMMAND,
    MESSAGE,
    NOTHING,
    TENANT,
    UNLIMITED,
    Asked,
    Request,
    Servers,
    api,
    ask,
    free_port,
    part,
    servers,
)
from bench.turns import Key, Turn, compared, drawn, markdown, turn_of

REQUESTS = 48
# So often in a round, for the machine's speed changes within one. Together they make 512 spans, so
# that a round without any sending is rare.
TURNS = 4
# Two processes of the same code may differ by more than a log line costs.
STARTS = 2
CLIENTS = (1, 16)
# So that the connections of all variants have room in PostgreSQL.
POOL = {"DATABASE_POOL_SIZE": "10", "DATABASE_MAX_OVERFLOW": "0"}
# Not those who post: an answer is kept only as long as its tenant's messages stay the same.
READERS = "readers"
# Spans are sent when 512 of them wait, as under steady load, and then in the turn that made them:
# after five seconds, as by default, it might be in that of another variant.
DELAY = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TENTH = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
# The port of `discard`, where nobody listens.
DEAD = "http://127.0.0.1:9"
WAIT_SECONDS = 10
Turns = dict[Key, dict[str, list[Turn]]]
COLUMNS = ("request ", "clients", "variant ", "API us", "more us", "share", "p50 ms", "p95 ms")
PAGE_COLUMNS = ("page ", "series", "bytes", "p50 ms", "processor ms")


class Variant(NamedTuple):
    """How an API is watched, and the name of the variant whose cost it is compared with."""

    name: str
    beside: str
    settings: Mapping[str, str]
    standard: Mapping[str, str] = NOTHING
    command: Sequence[str] = COMMAND


def variants(collector: str) -> list[Variant]:
    """From nothing to all; `collector` is where the spans are sent."""
    quiet = {"METRICS_ENABLED": "false", "LOG_LEVEL": "ERROR"}
    nothing = "nothing counted or logged (no setting)"
    least = "metrics off, logs at ERROR: it counts all the same"
    page = "metrics on, which nobody reads: as before"
    logs = "and logs at INFO to a pipe: the default"
    return [
        Variant(nothing, "", quiet, command=("bench.unwatched",)),
        Variant(least, nothing, quiet),
        Variant(page, least, {"LOG_LEVEL": "ERROR"}),
        Variant(logs, page, {}),
        Variant("and traces", logs, {}, {**DELAY, ENDPOINT: f"{collector}/all"}),
        Variant("and 1 trace in 10", logs, {}, {**DELAY, **TENTH, ENDPOINT: f"{collector}/tenth"}),
        Variant("and traces, collector dead", logs, {}, {**DELAY, ENDPOINT: DEAD}),
    ]


@contextmanager
def collecting(running: Servers) -> Iterator[str]:
    """The URL of a collector that throws away what it receives."""
    port = free_port(running.folder)
    words = ["uvicorn", "bench.receiving:receive", f"--port={port}", "--no-access-log"]
    with part(running.folder, words):
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url


def requests_of(url: str) -> dict[str, Request]:
    """A post, a look-up of a message, and a search whose answer is kept."""
    with httpx.Client(base_url=url) as client:
        message_id = client.post("/v1/messages", json=MESSAGE).json()["id"]
        for number in range(20):
            content = f"{MESSAGE['content']} It is gate {number}."
            client.post("/v1/messages", json={**MESSAGE, "tenant_id": READERS, "content": content})
    search = f"/v1/memory/search?tenant_id={READERS}&query=when+does+the+flight+leave"
    return {
        "POST": Request("POST", "/v1/messages", msgspec.json.encode(MESSAGE)),
        "GET by id": Request("GET", f"/v1/messages/{message_id}?tenant_id={TENANT}"),
        "search, kept": Request("GET", search),
    }


def measure(running: Servers, watched: Sequence[Variant], seconds: float, turns: Turns) -> None:
    """Start the variants, and add to `turns` what they cost, in as many rounds as there is time."""
    common = {**running.settings, **UNLIMITED, **POOL}
    with ExitStack() as stack:
        services = [
            stack.enter_context(
                api(running.folder, {**common, **each.settings}, each.standard, each.command)
            )
            for each in watched
        ]
        requests = requests_of(services[0][0])
        ending = time.monotonic() + seconds
        for number in count():
            for (name, request), clients in product(requests.items(), CLIENTS):
                lot = f"{number} {name} {clients}"
                found = one_round(services, request, clients, lot)
                for variant, turn in zip(watched, found, strict=True):
                    turns[name, clients].setdefault(variant.name, []).append(turn)
            if time.monotonic() > ending:
                break


def one_round(
    services: Sequence[tuple[str, int]], request: Request, clients: int, lot: str
) -> list[Turn]:
    """What each of `services`, of a URL and a process, cost by turns."""
    asked = [Asked([], []) for _ in services]
    for number in range(TURNS):
        for place in drawn(len(services), f"{lot} {number}"):
            url, pid = services[place]
            more = asyncio.run(ask(url, request, clients, REQUESTS, [pid]))
            asked[place].taken.extend(more.taken)
            asked[place].busy.extend(more.busy)
    return [turn_of(each.taken, sum(each.busy)) for each in asked]


def instruments(collector: str) -> Iterator[list[str]]:
    """A row for each of the parts that a request is watched with."""
    command = [sys.executable, "-m", "bench.instruments", collector]
    found = subprocess.run(command, capture_output=True, check=True)
    for name, microseconds in msgspec.json.decode(found.stdout, type=dict[str, float]).items():
        yield [name, f"{microseconds:,.1f}"]


@click.command()
@click.option("--minutes", default=3.5, show_default=True, help="For the turns, all together.")
def main(minutes: float) -> None:
    """Measure what it costs to be watched, and print it."""
    with servers() as running, collecting(running) as collector:
        click.echo(markdown(("in one process ", "us"), instruments(collector)))
        read = (page.row() for page in pages(running))
        click.echo(f"\n{markdown(PAGE_COLUMNS, read)}\n")
        watched = variants(collector)
        turns: Turns = defaultdict(dict)
        for _ in range(STARTS):
            measure(running, watched, 60 * minutes / STARTS, turns)
        beside = {variant.name: variant.beside for variant in watched if variant.beside}
        click.echo(markdown(COLUMNS, compared(turns, beside)))
        rounds = len(turns["POST", 1][watched[0].name])
        asked = rounds * TURNS * len(turns) * REQUESTS
        received = httpx.get(collector).json()
    click.echo(f"\n{rounds} rounds of {TURNS} turns of {REQUESTS} requests each, {STARTS} starts.")
    click.echo("`more` is the median over the rounds, with the quartiles.")
    for name in ("all", "tenth"):
        size = received.get(f"/{name}/v1/traces", 0) / asked
        click.echo(f"Bytes of spans a request, of traces {name}: {size:,.0f}")


if __name__ == "__main__":
    main()
