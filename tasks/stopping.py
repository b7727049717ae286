"""A worker that is told to stop: its tasks hear of it, and have a while for what they are at.

Between its slices a task leaves the rest to another worker. One that is at a single slice when the
time is up is interrupted, gives back what it began, and is sent again.
"""

import contextlib
import os
import signal
import threading
import time
from typing import Any

import billiard.pool
import celery
import structlog
from billiard.process import active_children
from celery.signals import worker_shutting_down
from celery.worker import state

from tasks import ending

log = structlog.get_logger(__name__)

# So long a task may take to give back what it was at; then its process is killed, and after as long
# again the worker, whatever it waits for.
GIVE_BACK_SECONDS = 5.0
AGAIN_SECONDS = 1.0
HURRIED = threading.Event()
# Tenths of a second. A process of the pool that ends waits until word of its last task has arrived,
# half a minute as it comes; word that was on its way when the worker was told to stop never does.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20


@worker_shutting_down.connect
def begin_to_end(**_: Any) -> None:
    """Tell the tasks, and see to it that they end in time; told again, at once."""
    if ending.ending():
        HURRIED.set()
        return
    ending.TOLD[0] = 1
    seconds = celery.current_app.resources.settings.worker_stop_seconds
    threading.Thread(target=see_to_the_end, args=(seconds,), daemon=True).start()


def see_to_the_end(seconds: float) -> None:
    """Interrupt what is at work after `seconds`, and kill what does not heed that."""
    HURRIED.wait(seconds)
    until = time.monotonic() + GIVE_BACK_SECONDS
    # What it is at may lose an interruption, such as a finalizer that may not raise.
    while time.monotonic() < until and (interrupted := signal_tasks(ending.INTERRUPT)):
        log.warning("tasks_interrupted", tasks=interrupted)
        time.sleep(AGAIN_SECONDS)
    time.sleep(max(0.0, until - time.monotonic()))
    if killed := signal_tasks(signal.SIGKILL):
        log.warning("tasks_killed", tasks=killed)
    time.sleep(GIVE_BACK_SECONDS)
    log.error("worker_did_not_end")
    for child in active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(1)


def signal_tasks(number: int) -> list[str]:
    """Signal the processes that are at a task; the names of the tasks."""
    tasks = []
    for request in list(state.active_requests):
        if request.worker_pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(request.worker_pid, number)
                tasks.append(request.name)
    return tasks
