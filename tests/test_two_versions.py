"""An upgrade: a version and the one before it on one store, until the older one is gone."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, text

from db.revisions import newest_revision
from memory.settings import Settings
from tests.conftest import message
from tests.older_version import ROOT, older_version
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.workers import environment

UNFINISHED = text("select count(*) from messages where embedding_status <> 'completed'")
WITH_VECTOR = text("select distinct message_id::text from message_embeddings")
# The older one may have it in another place.
NEWEST = """
try:
    from db.revisions import newest_revision
except ImportError:
    from db.migrating import newest_revision
print(newest_revision())
"""

# Starts a part of a version: its code, what it is, and its API's port.
Start = Callable[[Path, str, int], ProcessContainer]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts parts, each with the code of a version; all are ended after the test."""
    with ExitStack() as parts:

        def started(code: Path, part: str, port: int = 0) -> ProcessContainer:
            name = f"{part}-of-{code.name}"
            variables = environment(settings) | {
                "PYTHONPATH": str(code),
                "MEMORY_API_PORT": str(port),
            }
            command = [sys.executable, "-m", "cli.main", part]
            process = ProcessContainer(name, command, variables, tmp_path / f"{name}.log")
            parts.callback(process.teardown)
            return process

        yield started


@contextmanager
def client_of(port: int) -> Iterator[httpx.Client]:
    """A client of an API that is ready."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def ready() -> bool:
            try:
                return client.get("/v1/admin/readiness").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, f"the API on port {port} is ready")
        yield client


def post(client: httpx.Client, content: str) -> str:
    """The id of a message that was acknowledged."""
    answer = client.post("/v1/messages", json=message(content=content))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def found(client: httpx.Client, query: str) -> set[str]:
    """The messages that a search by words and by meaning finds."""
    asked = {"tenant_id": "acme", "query": query, "top_k": 10}
    answer = client.get("/v1/memory/search", params=asked)
    assert answer.status_code == 200, answer.text
    assert not answer.json()["degraded"], answer.text
    return {str(hit["message_id"]) for hit in answer.json()["items"]}


def post_on(client: httpx.Client, stopped: threading.Event, acknowledged: list[str]) -> None:
    """Post until told, or until nobody listens any more."""
    while not stopped.is_set():
        try:
            acknowledged.append(post(client, "The bees are well."))
        except httpx.TransportError:
            return


def test_both_serve_one_store_until_the_older_one_is_gone(
    settings: Settings, start: Start, owner: Connection, tmp_path: Path
) -> None:
    older_code = older_version(tmp_path / "older")
    assert newest(older_code) != newest_revision()
    older_port, newer_port = free_port(), free_port()
    older_api, older_worker = (start(older_code, part, older_port) for part in ("api", "worker"))
    start(ROOT, "api", newer_port)
    acknowledged: list[str] = []

    def all_embedded() -> bool:
        return owner.scalar(UNFINISHED) == 0

    with client_of(older_port) as older, client_of(newer_port) as newer:
        # The older worker alone embeds what either takes.
        for client, words in ((older, "I keep bees."), (newer, "My bees make honey.")):
            acknowledged.append(post(client, words))
        wait_until(all_embedded, "the older worker has embedded all")
        assert found(older, "bees") == found(newer, "bees") == set(acknowledged)

        # Then the newer one does.
        older_worker.kill("SIGTERM")
        start(ROOT, "worker", newer_port)
        for client, words in ((older, "The hive has bees."), (newer, "Some bees are wild.")):
            acknowledged.append(post(client, words))
        wait_until(all_embedded, "the newer worker has embedded all")
        assert found(older, "bees") == found(newer, "bees") == set(acknowledged)

        # The older API ends while applications post through both.
        enough = threading.Event()
        posting = [
            threading.Thread(target=post_on, args=(client, enough, acknowledged))
            for client in (older, newer)
        ]
        for thread in posting:
            thread.start()
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 20, "messages come in")
        older_api.kill("SIGTERM")
        enough.set()
        for thread in posting:
            thread.join(30)
        wait_until(all_embedded, "the newer worker has embedded all that was taken", 60)
    # What was stored while its connection was cut is more than was acknowledged.
    assert set(owner.scalars(WITH_VECTOR)) >= set(acknowledged)


def newest(code: Path) -> str:
    """The schema of the version whose code lies there."""
    command = [sys.executable, "-c", NEWEST]
    variables = {"PYTHONPATH": str(code)}
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()
