"""A whole service under load with a Prometheus that reads it, for pictures of the panels."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from bench.ageing import wait_ready
from cli.records import loopback_port

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / ".programs" / "bin" / "prometheus"
SCRAPE_SECONDS = 5
CLIENTS = 4
TENANTS = ("acme", "umbrella", "initech", "hooli")
WHO = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Margaret")
WHAT = ("prefers", "has lost", "is looking for", "was given", "will never again buy")
WHICH = ("a blue umbrella", "the train to Lisbon", "an old synthesizer", "peanuts", "a second cat")
ROLES = ("user", "assistant")


@contextmanager
def loaded_service(folder: Path, seconds: float) -> Iterator[str]:
    """The URL of a Prometheus that has read a service under load for so long."""
    if not PROGRAM.exists():
        raise click.ClickException("Prometheus is missing: run `make prometheus`")
    ports = {name: loopback_port(folder / f"{name}.port") for name in ("api", "worker", "beat")}
    with service(folder, ports), prometheus(folder, ports) as url:
        load(f"http://127.0.0.1:{ports['api']}", seconds)
        # What was counted last is still to be read.
        time.sleep(2 * SCRAPE_SECONDS)
        yield url


@contextmanager
def service(folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """`aiml up` with servers of its own, its metrics at these ports."""
    settings = {
        "DATA_DIR": folder,
        "API_PORT": ports["api"],
        "WORKER_METRICS_PORT": ports["worker"],
        "BEAT_METRICS_PORT": ports["beat"],
        "FLOWER_PORT": loopback_port(folder / "flower.port"),
        "METRICS_TENANTS": "true",
        "ARCHIVE_DIR": folder / "archive",
        **dict.fromkeys(("DATABASE_URL", "REDIS_URL", "CACHE_URL", "API_KEYS"), ""),
        **dict.fromkeys(("GLOBAL_RATE_LIMIT", "TENANT_RATE_LIMIT"), ""),
    }
    (folder / "archive").mkdir()
    assigned = [f"MEMORY_{name}={value}" for name, value in settings.items()]
    command = ["env", *assigned, sys.executable, "-m", "cli.main", "up"]
    with ended(command, folder / "up.log"):
        with httpx.Client(base_url=f"http://127.0.0.1:{ports['api']}", timeout=60) as client:
            wait_ready(client)
        yield


@contextmanager
def prometheus(folder: Path, ports: dict[str, int]) -> Iterator[str]:
    """A Prometheus that reads all three at a quicker pace than the one of grafana/."""
    # JSON is YAML.
    jobs = [
        {"job_name": f"memory-{name}", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for name, port in ports.items()
    ]
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        f"global: {{scrape_interval: {SCRAPE_SECONDS}s, scrape_timeout: {SCRAPE_SECONDS}s}}\n"
        f"scrape_configs: {jobs}\n"
    )
    url = f"http://127.0.0.1:{loopback_port(folder / 'prometheus.port')}"
    command = [
        str(PROGRAM),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with ended(command, folder / "prometheus.log"):
        yield url


@contextmanager
def ended(command: list[str], log: Path) -> Iterator[None]:
    """A process that runs while the block does."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def load(url: str, seconds: float) -> None:
    """Some clients who store and search, and an operator who starts jobs."""
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as clients:
        working = [clients.submit(client, url, seed, deadline) for seed in range(CLIENTS)]
        with httpx.Client(base_url=url, timeout=60) as operator:
            while time.monotonic() < deadline:
                operator.post("/v1/admin/importance/run", json={})
                operator.post("/v1/admin/retention/run", json={"wait": False})
                operator.get("/v1/memory/search", params={"tenant_id": "acme", "query": ""})
                time.sleep(min(20, max(0, deadline - time.monotonic())))
        for each in working:
            each.result()


def client(url: str, seed: int, deadline: float) -> None:
    """Says things and asks for them until the deadline, with pauses."""
    chance = random.Random(seed)
    with httpx.Client(base_url=url, timeout=60) as asked:
        while time.monotonic() < deadline:
            tenant_id = chance.choice(TENANTS)
            body = {"messages": [said(chance, tenant_id) for _ in range(chance.choice((1, 1, 8)))]}
            if len(body["messages"]) == 1:
                asked.post("/v1/messages", json=body["messages"][0])
            else:
                asked.post("/v1/messages/batch", json=body)
            for _ in range(2):
                query = f"What about {chance.choice(WHICH)} and {chance.choice(WHO)}?"
                asked.get("/v1/memory/search", params={"tenant_id": tenant_id, "query": query})
            time.sleep(chance.uniform(0, 0.3))


def said(chance: random.Random, tenant_id: str) -> dict[str, Any]:
    """The body of a message."""
    words = (chance.choice(WHO), chance.choice(WHAT), chance.choice(WHICH))
    return {
        "tenant_id": tenant_id,
        "conversation_id": f"c-{chance.randrange(50)}",
        "role": chance.choice(ROLES),
        "content": f"{' '.join(words)}, for the {chance.randrange(1_000)}th time.",
    }
