"""A real Celery worker, run as a process behind pytest-celery's node."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pytest_celery import CeleryTestWorker

from memory.settings import Settings, variable
from tests.processes import ProcessContainer


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a process these settings."""
    values = msgspec.structs.asdict(settings)
    return {variable(name): str(value) for name, value in values.items() if value is not None}


def celery_process(
    settings: Settings, folder: Path, name: str, *arguments: str, app: str = "tasks.celery"
) -> ProcessContainer:
    """A process of the `celery` command with the project's application."""
    command = [sys.executable, "-m", "celery", "-A", app, *arguments]
    return ProcessContainer(name, command, environment(settings), folder / f"{name}.log")


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[CeleryTestWorker]:
    """A worker on both queues, ready to work."""
    container = celery_process(
        settings, tmp_path, "worker", "worker", "-Q", "embeddings,maintenance"
    )
    node = CeleryTestWorker(container, app=None)
    try:
        node.wait_for_log("worker_ready")
        node.wait_for_log(" ready.")
        yield node
    finally:
        container.teardown()


@pytest.fixture
def beat(settings: Settings, tmp_path: Path) -> Iterator[ProcessContainer]:
    """A beat that keeps the schedule in Redis."""
    container = celery_process(settings, tmp_path, "beat", "beat")
    try:
        yield container
    finally:
        container.teardown()
