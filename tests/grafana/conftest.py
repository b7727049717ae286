"""The running service, and who watches it: once for all tests that look at them.

`test_queries.py` runs before `test_running.py`, and leaves the service as it is.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.postgres import EmbeddedPostgres
from tests.conftest import TEMPLATE, own_database
from tests.grafana.stack import Stack, whole_service
from tests.grafana.watching import Prometheus, alertmanager, prometheus
from tests.ports import free_port
from tests.processes import wait_until
from tests.replicas import copied


@pytest.fixture(scope="package")
def stack(postgres: EmbeddedPostgres) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="memory-watched-"))
    folder.chmod(0o755)
    with (
        own_database(postgres.url, TEMPLATE) as url,
        copied(postgres, folder / "replica") as replica,
        whole_service(url, replica, folder) as running,
    ):
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client | None]:
    """Alertmanager; None where Debian's, not installed, may not have a view of its own."""
    with contextlib.ExitStack() as ends:
        try:
            running = ends.enter_context(alertmanager(tmp_path_factory.mktemp("alertmanager")))
        except AssertionError:
            running = None
        yield running


@pytest.fixture(scope="package")
def watch(
    stack: Stack, manager: httpx.Client | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    port = manager.base_url.port if manager else None
    with prometheus(folder, stack.targets, port or free_port()) as asked:
        ups = "sum(up)"
        wait_until(lambda: asked.value(ups) == 3, "all three are read")
        stack.some_traffic()
        wait_until(lambda: asked.value("max(memory_store_messages)"), "what it did is read")
        yield asked
