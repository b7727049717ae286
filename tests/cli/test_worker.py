"""`aiml worker`: which queues it serves, and under which name."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
import redis
from celery import Celery
from click.testing import CliRunner
from sqlalchemy import Connection, text

from cli.main import main
from memory.queues import EMBEDDINGS
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tests.conftest import message
from tests.processes import ProcessContainer, wait_until
from tests.workers import environment

Start = Callable[..., ProcessContainer]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts an `aiml worker` with arguments and settings of its own, and waits for it."""
    begun: list[ProcessContainer] = []

    def begin(*arguments: str, **changed: Any) -> ProcessContainer:
        variables = environment(msgspec.structs.replace(settings, **changed))
        command = [sys.executable, "-m", "cli.main", "worker", *arguments]
        worker = ProcessContainer("worker", command, variables, tmp_path / f"{len(begun)}.log")
        begun.append(worker)
        wait_until(lambda: " ready." in worker.logs(), "the worker is ready")
        return worker

    yield begin
    for worker in begun:
        worker.teardown()


@pytest.fixture
def app(settings: Settings) -> Iterator[Celery]:
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        yield app


def served(app: Celery) -> dict[str, set[str]]:
    """The queues of each worker, by the first part of its name."""
    answers = app.control.inspect(timeout=5, limit=len(WORKERS)).active_queues() or {}
    return {
        name.split("@")[0]: {queue["name"] for queue in queues} for name, queues in answers.items()
    }


WORKERS = ("maintenance", "embeddings")


def test_a_worker_serves_the_queues_that_it_is_told(
    start: Start, app: Celery, api: httpx.Client, settings: Settings, owner: Connection
) -> None:
    start("--queues", "maintenance")
    api.post("/v1/messages", json=message())
    app.send_task("measure_store")
    measured = text("select value from store_gauges where name = 'pending_messages'")
    wait_until(lambda: owner.scalar(measured), "the store is measured")
    with redis.Redis.from_url(settings.redis_url) as broker:
        assert broker.llen(EMBEDDINGS) == 1
    start(worker_queues="embeddings")
    embedded = text("select embedding_status = 'completed' from messages")
    wait_until(lambda: owner.scalar(embedded), "the message is embedded")
    assert served(app) == {name: {name} for name in WORKERS}


@pytest.mark.parametrize("provider", ["onnx"])
def test_without_embeddings_to_make_no_model_is_loaded(
    start: Start, settings: Settings, owner: Connection
) -> None:
    both = start()
    wait_until(lambda: "worker_ready" in both.logs(), "the child of the first is ready")
    assert loaded(both)
    upkeep = start("--queues", "maintenance")
    wait_until(lambda: "worker_ready" in upkeep.logs(), "the child of the second is ready")
    assert not loaded(upkeep)


def loaded(worker: ProcessContainer) -> bool:
    """Whether one of the worker's children has the weights of the model in its memory."""
    children = psutil.Process(worker.process.pid).children()
    maps = [entry.path for child in children for entry in child.memory_maps()]
    assert maps
    return any(path.endswith("model.safetensors") for path in maps)


def test_a_queue_that_is_none_is_one_line() -> None:
    servers = {"MEMORY_DATABASE_URL": "postgresql://me@h/x", "MEMORY_REDIS_URL": "redis://h/0"}
    result = CliRunner().invoke(main, ["worker", "--queues", "embedings"], env=servers)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: --queues='embedings': expected embeddings or maintenance, or both\n"
    )
