"""What a worker's processes count together, as Prometheus is shown it."""

import os
import signal
import socket
import tempfile
from pathlib import Path

import msgspec
import psutil
import pytest
import redis
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.counting import is_late
from tasks.exposing import FOLDER_VARIABLE, SHARED, share_values
from tasks.sending import queue_depths, send_again, send_embedding
from tests.db.rows import add_message
from tests.metrics_pages import own_page, own_port, series
from tests.processes import wait_until
from tests.workers import celery_process

LOCK = text("lock table messages in access exclusive mode")


def page(node: CeleryTestWorker) -> dict[str, float]:
    """The series of a worker's page, by name and labels."""
    return series(own_page(node))


@pytest.fixture
def app(settings: Settings):
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        yield app


def ended(node: CeleryTestWorker, task: str, outcome: str) -> float:
    labels = f'{{outcome="{outcome}",task="{task}"}}'
    return page(node).get(f"celery_tasks_total{labels}", 0)


def test_tasks_and_messages_are_counted(
    worker: CeleryTestWorker, app: Celery, owner: Connection
) -> None:
    id_ = add_message(owner, age=30)
    send_embedding(app, {"acme": [id_]})
    wait_until(lambda: ended(worker, "embed_messages", "success") == 1, "the task is counted")
    found = page(worker)
    assert found["messages_embedded_total"] == 1
    assert found["embedding_generation_duration_seconds_count"] == 1
    assert 30 <= found["message_embedding_lag_seconds_sum"] < 60
    seconds = 'celery_task_duration_seconds_count{outcome="success",task="embed_messages"}'
    assert found[seconds] == 1
    assert found['messages_embedding_failed_total{outcome="given_up"}'] == 0
    assert found['memory_model_info{dimensions="384",model="mock",provider="mock"}'] == 1
    assert found["worker_pool_memory_bytes"] > 10_000_000
    assert found["process_resident_memory_bytes"] > 10_000_000
    assert found['disk_free_bytes{folder="data"}'] > 0


def test_a_task_whose_process_dies_is_counted_and_so_is_what_it_had_counted(
    worker: CeleryTestWorker, app: Celery, owner: Connection
) -> None:
    send_again(app, "measure_store")
    wait_until(lambda: ended(worker, "measure_store", "success") == 1, "the first task")
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        another.execute(LOCK)
        send_again(app, "measure_store")
        wait_until(lambda: "measure_store" in waiting(owner), "the second is at work")
        worker.container.kill_children()  # type: ignore[attr-defined]
        wait_until(lambda: ended(worker, "measure_store", "lost") == 1, "the loss is counted")
    wait_until(lambda: ended(worker, "measure_store", "success") == 2, "it has run again")


def waiting(owner: Connection) -> str:
    asked = text("select query from pg_stat_activity where wait_event_type = 'Lock'")
    return " ".join(owner.scalars(asked))


def test_what_waits_is_counted_over_all_priorities(settings: Settings, app: Celery) -> None:
    for priority in (0, 3, 9):
        app.send_task("nothing", queue="embeddings", priority=priority)
    assert queue_depths(app) == {"embeddings": 3, "maintenance": 0}
    with redis.Redis.from_url(settings.redis_url) as client:
        assert len(client.keys("embeddings*")) == 3


def test_a_second_worker_goes_on_without_the_port(
    worker: CeleryTestWorker, settings: Settings, tmp_path: Path
) -> None:
    taken = msgspec.structs.replace(settings, worker_metrics_port=own_port(worker))
    second = celery_process(taken, tmp_path, "second", "worker", "-n", "second@%h")
    try:
        wait_until(lambda: " ready." in second.logs(), "the second is ready")
        assert "metrics_not_served" in second.logs()
    finally:
        second.teardown()


def test_the_port_and_the_files_are_free_when_a_worker_was_killed(
    worker: CeleryTestWorker, settings: Settings, tmp_path: Path
) -> None:
    port, pid = own_port(worker), int(worker.container.id)
    left = files_of(pid)
    assert left
    (child,) = psutil.Process(pid).children()
    # The parent alone: its child, which was forked with the port open, still lives.
    os.kill(pid, signal.SIGKILL)
    worker.container.process.wait(10)  # type: ignore[attr-defined]
    with socket.create_server(("127.0.0.1", port)):
        pass
    psutil.wait_procs([child], 30)
    second = celery_process(settings, tmp_path, "second", "worker", "-n", "second@%h")
    try:
        wait_until(lambda: " ready." in second.logs(), "the second is ready")
        assert not any(path.exists() for path in left)
    finally:
        second.kill("SIGTERM")
    assert not files_of(int(second.id))


def files_of(pid: int) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"aiml-worker-metrics-{pid}-*"))


def test_without_metrics_there_is_neither_port_nor_file(settings: Settings, tmp_path: Path) -> None:
    without = msgspec.structs.replace(settings, metrics_enabled=False)
    silent = celery_process(without, tmp_path, "silent", "worker")
    try:
        wait_until(lambda: " ready." in silent.logs(), "it is ready")
        assert "metrics_served" not in silent.logs()
        assert not files_of(int(silent.id))
        listening = psutil.Process(int(silent.id)).net_connections("tcp")
        assert not [each for each in listening if each.status == psutil.CONN_LISTEN]
    finally:
        silent.teardown()


def test_a_tasks_time_is_up_whatever_was_made_of_that() -> None:
    def wrapped() -> None:
        try:
            raise SoftTimeLimitExceeded
        except SoftTimeLimitExceeded as error:
            raise ValueError("connection is closed") from error

    with pytest.raises(ValueError, match="closed") as raised:
        wrapped()
    assert is_late(raised.value)
    assert is_late(SoftTimeLimitExceeded())
    assert not is_late(ValueError("no"))


def test_what_a_worker_of_the_same_number_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    (left := tmp_path / f"{SHARED}{os.getpid()}-left").mkdir()
    (other := tmp_path / f"{SHARED}{os.getppid()}-runs").mkdir()
    made = Path(share_values())
    assert (left.exists(), other.exists(), made.parent) == (False, True, tmp_path)
