"""What a move to another embedding model costs a store that is searched and written to.

    python -m bench.moving --dataset PATH

Starts a service of its own on free ports, stores 5,000 messages, and moves it from the built-in
model to another, with its worker killed on the way, and then back from nothing; all the while
searches and posts come in. Ends with a line of what failed or is missing.
"""

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import psycopg
from rich.console import Console
from rich.table import Table

from bench.ageing import ended, service
from bench.conversations import Dataset
from bench.datasets.reading import read_dataset
from cli.postgres import stored_url

REST_SECONDS = 30
BATCH_MESSAGES = 500
POST_PAUSE_SECONDS = 0.1
SETTLE_SECONDS = 600
PENDING = "select count(*) from messages where embedding_status <> 'completed'"
OF_FILLING = """select count(*) from message_embeddings
  where model_id = (select id from embedding_models where filling)"""
# Embedded messages that a search by meaning could not find.
MISSING = """select count(*) from messages where embedding_status <> 'completed' or not exists (
  select from message_embeddings as embeddings
  where embeddings.message_id = messages.id and embeddings.tenant_id = messages.tenant_id
    and embeddings.model_id = (select id from embedding_models where active))"""
PATH = "/v1/admin/embeddings"
SMALL = {"provider": "mock", "dimensions": 256}
BUILT_IN = {"provider": "onnx"}


class Load:
    """A searcher and a poster; what was refused, degraded or lost is counted as failed."""

    def __init__(self, url: str, dataset: Dataset) -> None:
        self._url = url
        self._said = [turn.content for each in dataset.conversations for turn in each.turns]
        self._asked = [
            question.text for each in dataset.conversations for question in each.questions
        ]
        self._numbers = count()
        self.posted = 0
        self.failed = 0

    @contextmanager
    def under(self) -> Iterator[dict[str, Any]]:
        """Search and post while the block runs; fills the figures in at its end."""
        figures: dict[str, Any] = {}
        over = threading.Event()
        works = {"search": self._search, "post": self._post}
        threads = [
            threading.Thread(target=self._repeat, args=(name, work, over, figures))
            for name, work in works.items()
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield figures
        finally:
            figures["seconds"] = time.monotonic() - started
            over.set()
            for thread in threads:
                thread.join()

    def _repeat(
        self,
        name: str,
        work: Callable[[httpx.Client, int], bool],
        over: threading.Event,
        figures: dict[str, Any],
    ) -> None:
        taken: list[float] = []
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not over.is_set():
                started = time.perf_counter()
                try:
                    good = work(client, next(self._numbers))
                except httpx.HTTPError:
                    good = False
                taken.append((time.perf_counter() - started) * 1000)
                self.failed += not good
                if name == "post":
                    time.sleep(POST_PAUSE_SECONDS)
        figures[name] = len(taken)
        figures |= {f"{name}_{p}": np.percentile(taken, p) for p in (50, 95)}

    def _search(self, client: httpx.Client, number: int) -> bool:
        # Never the same twice, so that no answer is a kept one.
        query = f"{self._asked[number % len(self._asked)]} {number}"
        asked = {"tenant_id": f"tenant-{number % 10}", "query": query}
        answer = client.get("/v1/memory/search", params=asked)
        return answer.status_code == 200 and not answer.json()["degraded"]

    def _post(self, client: httpx.Client, number: int) -> bool:
        answer = client.post("/v1/messages", json=self.message(number))
        self.posted += answer.status_code == 202
        return answer.status_code == 202

    def message(self, number: int) -> dict[str, Any]:
        """The body of a post."""
        return {
            "tenant_id": f"tenant-{number % 10}",
            "conversation_id": f"c-{number // 200}",
            "role": "user",
            "content": self._said[number % len(self._said)],
        }


@click.command()
@click.option("--dataset", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--messages", default=5_000, show_default=True)
def main(dataset: Path, messages: int) -> None:
    """Move a store there and back, and print what that costs."""
    said = read_dataset(dataset)
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="memory-moving-") as folder:
        Path(folder).chmod(0o755)
        with (
            service(Path(folder)) as (client, parent),
            psycopg.connect(stored_url(Path(folder)), autocommit=True) as connection,
        ):
            load = Load(str(client.base_url), said)
            with console.status(f"Storing {messages:,} messages"):
                store(client, connection, load, messages)
            console.print(measured(client, connection, load, parent))
            wait(connection, PENDING, lambda left: left == 0)
            missing = number_of(connection, MISSING)
            stored = number_of(connection, "select count(*) from messages")
    console.print(
        f"{load.failed} failed; {messages + load.posted - stored} lost and {missing} not found"
        f" by meaning of {stored:,}"
    )


def measured(
    client: httpx.Client, connection: psycopg.Connection[Any], load: Load, parent: int
) -> Table:
    """The table of figures: at rest, and during each job."""
    table = Table("", "seconds", "searches", "p50 ms", "p95 ms", "posts", "p95 ms", "result")

    def row(name: str, figures: dict[str, Any], result: object = "") -> None:
        shown = [f"{figures['seconds']:.1f}", str(figures["search"])]
        shown += [f"{figures[each]:.1f}" for each in ("search_50", "search_95")]
        shown += [str(figures["post"]), f"{figures['post_95']:.1f}"]
        table.add_row(name, *shown, str(result))

    def run(name: str, path: str, body: dict[str, Any], *, killed: bool = False) -> None:
        with load.under() as figures:
            answer = client.post(f"{PATH}/{path}", json=body)
            if killed:
                half = number_of(connection, "select count(*) from messages") // 2
                wait(connection, OF_FILLING, lambda filled: filled > half)
                kill_worker(parent)
            result = ended(client, answer)
        row(
            name,
            figures,
            {name: result[name] for name in ("embedded", "vectors") if name in result},
        )

    with load.under() as figures:
        time.sleep(REST_SECONDS)
    row("at rest", figures)
    run("to mock, worker killed", "migrate", SMALL, killed=True)
    time.sleep(REST_SECONDS + 1)
    run("dropping onnx", "drop", {"name": "all-MiniLM-L6-v2"})
    run("back to onnx", "migrate", BUILT_IN)
    return table


def store(
    client: httpx.Client, connection: psycopg.Connection[Any], load: Load, messages: int
) -> None:
    """Post the first messages and wait for their vectors."""
    for start in range(0, messages, BATCH_MESSAGES):
        numbers = range(start, min(start + BATCH_MESSAGES, messages))
        body = {"messages": [load.message(number) for number in numbers]}
        client.post("/v1/messages/batch", json=body).raise_for_status()
    wait(connection, PENDING, lambda left: left == 0, seconds=messages / 20)


def kill_worker(parent: int) -> None:
    """SIGKILL the worker and its children; the supervisor starts another."""
    for process in psutil.Process(parent).children(recursive=True):
        # A child is gone by itself when its parent was.
        with suppress(psutil.Error):
            if "worker" in process.cmdline():
                process.send_signal(signal.SIGKILL)


def number_of(connection: psycopg.Connection[Any], statement: str) -> int:
    """The number that `statement` gives."""
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def wait(
    connection: psycopg.Connection[Any],
    statement: str,
    enough: Callable[[int], bool],
    seconds: float = SETTLE_SECONDS,
) -> None:
    """Wait until the number that `statement` gives is `enough`."""
    deadline = time.monotonic() + seconds
    while not enough(number_of(connection, statement)):
        if time.monotonic() > deadline:
            raise click.ClickException(f"not in time: {statement}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
