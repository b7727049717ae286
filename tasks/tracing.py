"""A span for each run of a task, which goes on with the trace of whoever has sent it.

By signals of our own, for OpenTelemetry's instrumentation of Celery notes the texts of errors, and
loses the span of a task that is sent by its name alone, as all of ours are.
"""

import atexit
from typing import Any

import celery
from celery.signals import (
    beat_init,
    before_task_publish,
    task_failure,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_shutdown,
)

from memory import tracing
from memory.settings import Settings

# By the ids of the tasks that run here: one, but in a pool of threads.
AT_WORK: dict[str, tracing.Span] = {}


def trace_tasks() -> None:
    """Make spans in the processes of a worker, and in beat; to be called before they start."""
    worker_process_init.connect(begin_worker, weak=False)
    worker_process_shutdown.connect(end_process, weak=False)
    # A pool without processes of its own sends that one instead.
    worker_shutdown.connect(end_process, weak=False)
    beat_init.connect(begin_beat, weak=False)
    task_prerun.connect(begin_task, weak=False)
    task_failure.connect(note_failure, weak=False)
    task_postrun.connect(end_task, weak=False)


def begin_worker(**_: Any) -> None:
    """After the fork, which the thread that sends spans would not survive."""
    tracing.start(collector(), "worker")


def begin_beat(**_: Any) -> None:
    """Beat sends by itself what it sends, so that the headers are added on their way."""
    tracing.start(collector(), "beat")
    atexit.register(tracing.stop)
    before_task_publish.connect(carry_trace, weak=False)


def end_process(**_: Any) -> None:
    """Send what waits."""
    tracing.stop()


def begin_task(task: celery.Task, task_id: str, **_: Any) -> None:
    """A task begins; it was sent for a request, for another task, or by beat."""
    sent = {
        name: value
        for name, value in (task.request.headers or {}).items()
        if name in tracing.HEADERS and isinstance(value, str)
    }
    known = {**about(task.name, "process"), "messaging.message.id": task_id}
    AT_WORK[task_id] = tracing.begin(f"run {task.name}", "consumer", sent, known)
    AT_WORK[task_id].__enter__()


def note_failure(task_id: str, exception: BaseException, **_: Any) -> None:
    """A task has failed; its log says why."""
    if task_id in AT_WORK:
        AT_WORK[task_id].fail(type(exception).__name__)


def end_task(task_id: str, **_: Any) -> None:
    """A task has come to its end, whatever that is."""
    if span := AT_WORK.pop(task_id, None):
        span.__exit__(None, None, None)


def carry_trace(headers: dict[str, Any], **_: Any) -> None:
    """Put the trace of who sends a task into its headers."""
    headers.update(tracing.headers())


def about(task: str, operation: str) -> dict[str, str]:
    """What the span of a task that is sent (`send`) or run (`process`) says of it."""
    return {
        "messaging.system": "celery",
        "messaging.operation.type": operation,
        "celery.task_name": task,
    }


def collector() -> str:
    """Where this process sends its spans."""
    settings: Settings = celery.current_app.resources.settings
    return settings.otel_exporter_otlp_endpoint
