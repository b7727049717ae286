"""The whole service under `aiml up`, each of its processes killed while messages come in."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from memory.settings import variable
from tests.conftest import UNLIMITED, message
from tests.ports import free_port
from tests.processes import wait_until

PARTS = {
    "api": "cli.main api",
    "worker": "cli.main worker",
    "beat": "cli.main beat",
    "flower": "cli.main flower",
    "valkey": "valkey-server",
    "postgres": "bin/postgres",
}


@dataclass
class Service:
    """A running `aiml up`."""

    process: subprocess.Popen[bytes]
    url: str

    def part(self, name: str) -> psutil.Process | None:
        """The process of a part, None while there is none."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it may end at this moment
                if PARTS[name] in " ".join(child.cmdline()):
                    return child
        return None

    def ready(self) -> bool:
        """Whether it may get traffic and nothing is degraded."""
        try:
            found = httpx.get(f"{self.url}/v1/admin/readiness", timeout=5).json()
        except httpx.HTTPError:
            return False
        return bool(found["status"] == "ready")


@pytest.fixture
def service() -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="memory-journey-"))
    folder.chmod(0o755)
    port = str(free_port())
    environment = {
        **os.environ,
        "MEMORY_DATA_DIR": str(folder),
        "MEMORY_API_PORT": port,
        "MEMORY_FLOWER_PORT": str(free_port()),
        "MEMORY_SWEEP_INTERVAL_SECONDS": "1",
        "MEMORY_EMBEDDING_LEASE_SECONDS": "3",
        **{variable(name): limit for name, limit in UNLIMITED.items()},
    }
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"], env=environment, stdout=log, stderr=log
        )
        running = Service(process, f"http://127.0.0.1:{port}")
        try:
            output = folder / "up.log"
            wait_until(lambda: "Ready after" in output.read_text(), "the service is ready")
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


class Poster(threading.Thread):
    """An application that posts one message after the other and asks again until it is told."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.enough = threading.Event()
        self.acknowledged: dict[str, str] = {}

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while not self.enough.wait(0.005):
                key = f"note-{len(self.acknowledged)}"
                self.post(client, key)

    def post(self, client: httpx.Client, key: str) -> None:
        body = message(content=f"This is {key} about subject {key}.")
        while key not in self.acknowledged and not self.enough.is_set():
            try:
                answer = client.post("/v1/messages", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                continue
            if answer.status_code == 202:
                self.acknowledged[key] = answer.json()["id"]
            else:
                assert answer.status_code == 503, answer.text


def kill(service: Service, name: str, poster: Poster) -> None:
    """SIGKILL a part while messages come in; the supervisor brings it back."""
    before = len(poster.acknowledged)
    wait_until(lambda: service.part(name), f"{name} runs")
    wait_until(lambda: len(poster.acknowledged) > before + 20, "messages come in")
    victim = service.part(name)
    assert victim is not None
    victim.kill()

    def back() -> bool:
        part = service.part(name)
        return part is not None and part.pid != victim.pid

    wait_until(back, f"{name} runs again")
    wait_until(service.ready, f"all is well after {name} was killed")


def embedded(client: httpx.Client, message_id: str) -> bool:
    """Whether a message has its vector; it must be there in any case."""
    found = client.get(f"/v1/messages/{message_id}", params={"tenant_id": "acme"})
    assert found.status_code == 200, "acknowledged and lost"
    return bool(found.json()["embedding_status"] == "completed")


def test_nothing_acknowledged_is_lost_when_any_process_is_killed(service: Service) -> None:
    poster = Poster(service.url)
    poster.start()
    for name in PARTS:
        kill(service, name, poster)
    poster.enough.set()
    poster.join(20)
    ids = set(poster.acknowledged.values())
    assert len(ids) == len(poster.acknowledged) > 100

    with httpx.Client(base_url=service.url, timeout=20) as client:
        wait_until(lambda: all(embedded(client, id_) for id_ in ids), "all is embedded", 90)
        query: dict[str, str | int] = {"tenant_id": "acme", "query": "note", "top_k": 100}
        found = client.get("/v1/memory/search", params=query).json()["items"]
    assert len({hit["content"] for hit in found}) == len(found) == 100
    assert {hit["message_id"] for hit in found} <= ids
