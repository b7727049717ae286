"""Folders that the database's unprivileged user can reach, which pytest's own are not."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.settings import Settings
from tasks.measuring import measure
from tasks.resources import Resources


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="memory-cli-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A loopback port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def measured(settings: Settings) -> None:
    """A store whose figures were taken just now, as a worker does: no API of a test does it."""
    resources = Resources(settings)
    measure(resources)
    resources.close()
