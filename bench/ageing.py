"""What rescoring and retention cost a store that is being searched.

    python -m bench.ageing --dataset PATH

Starts a service of its own on free ports, fills it with messages of all ages in many tenants, and
measures searches at rest and during each run, the memory of the processes, and whether a real run
does what the dry run said.
"""

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import psycopg
from rich.console import Console
from rich.table import Table

from bench.aged_store import fill
from bench.conversations import Dataset
from bench.datasets.reading import read_dataset
from cli.postgres import stored_url
from cli.records import loopback_port

READY_SECONDS = 120
RUN_SECONDS = 1_800
REST_SECONDS = 30
# A run of nothing would show nothing: what was archived is made older, so that it is deleted.
AGE_THE_ARCHIVE = "update messages set archived_at = archived_at - interval '91 days'"


@contextmanager
def service(folder: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A whole service on free ports, with a client and the id of its first process."""
    port, flower = (loopback_port(folder / name) for name in ("api.port", "flower.port"))
    settings = [
        f"MEMORY_DATA_DIR={folder}",
        f"MEMORY_API_PORT={port}",
        f"MEMORY_FLOWER_PORT={flower}",
        # Empty is not set: whatever the caller's are, these servers are to be the bench's own.
        *(f"MEMORY_{name}=" for name in ("DATABASE_URL", "REDIS_URL", "CACHE_URL", "API_KEYS")),
        *(f"MEMORY_{name}_RATE_LIMIT=" for name in ("GLOBAL", "TENANT")),
    ]
    command = ["env", *settings, sys.executable, "-m", "cli.main", "up"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_ready(client)
            yield client, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_ready(client: httpx.Client) -> None:
    """Wait until the service may get traffic; raises `click.ClickException` in the end."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.get("/v1/admin/readiness").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise click.ClickException("the service does not become ready")


class Load:
    """Searches one after the other by a client of its own, and the memory of the workers."""

    def __init__(self, url: str, dataset: Dataset, tenants: int, parent: int) -> None:
        self._url = url
        self._questions = [
            question.text for each in dataset.conversations for question in each.questions
        ]
        self._tenants = tenants
        self._parent = parent
        self._ended = threading.Event()
        self._asked = 0

    @contextmanager
    def under(self) -> Iterator[dict[str, Any]]:
        """Search while the block runs; fills the figures in at its end."""
        figures: dict[str, Any] = {}
        self._ended.clear()
        threads = [
            threading.Thread(target=work, args=(figures,)) for work in (self._search, self._watch)
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            yield figures
        finally:
            figures["seconds"] = time.monotonic() - started
            self._ended.set()
            for thread in threads:
                thread.join()

    def _search(self, figures: dict[str, Any]) -> None:
        taken: list[float] = []
        failed = 0
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._ended.is_set():
                self._asked += 1
                question = self._questions[self._asked % len(self._questions)]
                asked = {
                    "tenant_id": f"tenant-{self._asked * 7 % self._tenants:03}",
                    # Never the same twice, so that no answer is a kept one.
                    "query": f"{question} {self._asked}",
                }
                started = time.perf_counter()
                answer = client.get("/v1/memory/search", params=asked)
                taken.append((time.perf_counter() - started) * 1000)
                failed += answer.status_code != 200
        figures |= {"searches": len(taken), "failed": failed}
        figures |= {"p50": np.percentile(taken, 50), "p95": np.percentile(taken, 95)}

    def _watch(self, figures: dict[str, Any]) -> None:
        peak = 0.0
        while not self._ended.wait(0.5):
            peak = max(peak, *worker_sizes(self._parent))
        figures["worker_mb"] = peak


def worker_sizes(parent: int) -> list[float]:
    """The resident memory of each process of the workers, in MB."""
    sizes = [0.0]
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "worker" in process.cmdline():
                sizes.append(process.memory_info().rss / 2**20)
        except psutil.Error:
            continue
    return sizes


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The result of the job that `answer` names, or of the run that it has done."""
    body: dict[str, Any] = answer.raise_for_status().json()
    if answer.status_code == 200:
        return body
    deadline = time.monotonic() + RUN_SECONDS
    while body["state"] not in ("completed", "failed", "cancelled"):
        if time.monotonic() > deadline:
            raise click.ClickException("the run does not end")
        time.sleep(0.25)
        body = client.get(f"/v1/jobs/{body['id']}").json()
    if body["state"] != "completed":
        raise click.ClickException(f"the run is {body['state']}: {body['error']}")
    result: dict[str, Any] = body["result"]
    return result


@click.command()
@click.option("--dataset", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--messages", default=200_000, show_default=True)
@click.option("--tenants", default=50, show_default=True)
def main(dataset: Path, messages: int, tenants: int) -> None:
    """Fill a store, let it age, and print what that costs."""
    said = read_dataset(dataset)
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="memory-ageing-") as folder:
        Path(folder).chmod(0o755)
        with service(Path(folder)) as (client, parent):
            url = stored_url(Path(folder))
            with console.status(f"Storing {messages:,} messages in {tenants} tenants"):
                fill(url, said, messages, tenants)
            load = Load(str(client.base_url), said, tenants, parent)
            console.print(measured(client, load, url))


def measured(client: httpx.Client, load: Load, url: str) -> Table:
    """The table of figures: at rest, and during each run."""
    table = Table("", "seconds", "searches", "p50 ms", "p95 ms", "worker MB", "result")

    def row(name: str, figures: dict[str, Any], result: object) -> None:
        shown = [f"{figures['seconds']:.1f}", f"{figures['searches']} ({figures['failed']} failed)"]
        shown += [f"{figures[each]:.1f}" for each in ("p50", "p95")]
        table.add_row(name, *shown, f"{figures['worker_mb']:.0f}", str(result))

    def run(name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with load.under() as figures:
            result = ended(client, client.post(path, json=body))
        row(name, figures, result)
        return result

    with load.under() as figures:
        time.sleep(REST_SECONDS)
    row("at rest", figures, "")
    run("rescoring", "/v1/admin/importance/run", {})
    run("rescoring again", "/v1/admin/importance/run", {})
    retention = "/v1/admin/retention/run"
    for name in ("retention", "retention, the archive aged"):
        dry = run(f"{name}, dry", retention, {"wait": False, "dry_run": True})
        real = run(name, retention, {"wait": False})
        same = all(dry[each] == real[each] for each in ("archived", "deleted"))
        table.add_row("", "", "", "", "", "", "dry run equals real run" if same else "DIFFERENT")
        with psycopg.connect(url) as connection:
            connection.execute(AGE_THE_ARCHIVE)
    return table


if __name__ == "__main__":
    main()
