"""A worker's metrics: its processes count together, and their parent serves the sums."""

import shutil
import threading
import time
from typing import Any, ClassVar

import celery
from billiard.exceptions import WorkerLostError
from celery import states
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_shutdown,
)
from celery.worker.request import Request
from prometheus_client import CollectorRegistry, Counter, Histogram

from tasks.ending import is_late
from tasks.exposing import Pool, describe_process, serve_metrics, share_values
from tasks.metrics import WorkMetrics
from tasks.resources import Resources

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
TRY_AGAIN_SECONDS = 1.0
OUTCOMES = {
    states.SUCCESS: "success",
    states.FAILURE: "failure",
    states.RETRY: "retry",
    states.REJECTED: "rejected",
}


class TaskMetrics:
    """How tasks ended, and how long they ran."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ended = Counter(
            "celery_tasks_total", "Tasks that ended.", ["task", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "celery_task_duration_seconds",
            "How long tasks ran that came to an end by themselves.",
            ["task", "outcome"],
            buckets=SECONDS,
            registry=registry,
        )


class Counting:
    """The parts of the metrics in one process of a worker; None where they are off."""

    tasks: ClassVar[TaskMetrics | None] = None
    folder: ClassVar[str] = ""
    server: ClassVar[Any] = None
    begun: ClassVar[dict[str, float]] = {}

    @classmethod
    def count(cls, task: str, outcome: str) -> None:
        """A task has ended."""
        if cls.tasks:
            cls.tasks.ended.labels(task, outcome).inc()


class CountedRequest(Request):  # type: ignore[misc]
    """A task in the hands of the pool's parent, who alone sees that its process is gone."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """The time limit has come; the hard one ends the process."""
        if not soft:
            Counting.count(self.name, "timeout")
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **named: Any) -> Any:
        """The task has failed, or its process has."""
        # In the wrapping of what comes from another process.
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError):
            Counting.count(self.name, "lost")
        return super().on_failure(exc_info, *args, **named)


@celeryd_init.connect
def begin(**_: Any) -> None:
    """Before the pool is forked, and before anything is counted, find where to count."""
    resources: Resources = celery.current_app.resources
    if resources.settings.metrics_enabled:
        Counting.folder = share_values()
        registry = CollectorRegistry()
        Counting.tasks = TaskMetrics(registry)
        resources.metrics = WorkMetrics(registry)


@celeryd_after_setup.connect
def serve(**_: Any) -> None:
    """Serve what all of the pool count."""
    settings = celery.current_app.resources.settings
    if Counting.folder:
        registry = CollectorRegistry()
        registry.register(Pool(Counting.folder))
        describe_process(registry, settings)
        port = settings.worker_metrics_port
        Counting.server = serve_metrics(registry, settings.metrics_host, port)
        if Counting.server is None:
            # The worker whose place this one takes may have it for a while.
            later = (registry, settings.metrics_host, port)
            threading.Thread(target=serve_later, args=later, daemon=True).start()


def serve_later(registry: CollectorRegistry, host: str, port: int) -> None:
    """Serve once the port is free."""
    while Counting.server is None:
        time.sleep(TRY_AGAIN_SECONDS)
        Counting.server = serve_metrics(registry, host, port, again=True)


@worker_process_init.connect
def leave_the_port_to_the_parent(**_: Any) -> None:
    """Or a child that outlives its parent would keep the port from the next."""
    if Counting.server:
        Counting.server.socket.close()


@worker_shutdown.connect
def end(**_: Any) -> None:
    """Remove the files."""
    if Counting.folder:
        shutil.rmtree(Counting.folder, ignore_errors=True)


@task_prerun.connect
def begin_task(task_id: str, **_: Any) -> None:
    """A task begins."""
    Counting.begun[task_id] = time.perf_counter()


@task_postrun.connect
def end_task(task: celery.Task, task_id: str, state: str, retval: Any, **_: Any) -> None:
    """A task has come to its end by itself."""
    seconds = time.perf_counter() - Counting.begun.pop(task_id, time.perf_counter())
    late = state == states.FAILURE and isinstance(retval, BaseException) and is_late(retval)
    outcome = "timeout" if late else OUTCOMES.get(state, "failure")
    if Counting.tasks:
        Counting.count(task.name, outcome)
        Counting.tasks.seconds.labels(task.name, outcome).observe(seconds)
