"""What every task shares, and what a worker process does before its first."""

import os
import signal
import sys
from typing import Any

import celery
import structlog
from celery.signals import setup_logging, task_postrun, task_prerun, worker_process_init

from memory.errors import (
    EmbeddingSetupError,
    JobStepError,
    ModelMismatchError,
    NotEmbeddedError,
    SchemaOutdatedError,
    VersionOutdatedError,
)
from memory.logs import configure_logging
from memory.queues import EMBEDDINGS
from tasks.ending import cut_short, undisturbed
from tasks.resources import Resources

log = structlog.get_logger(__name__)

# A worker that meets one of these must not serve the store.
REFUSED = (EmbeddingSetupError, ModelMismatchError, SchemaOutdatedError, VersionOutdatedError)


class Task(celery.Task):  # type: ignore[misc]
    """A task with its process's connections and model at hand."""

    # Failures that are known for what they are: their line is enough, without a traceback in logs.
    throws = (NotEmbeddedError, JobStepError)
    Request = "tasks.counting:CountedRequest"
    # Of those that a worker's end has cut short; there are no others.
    max_retries = None

    @property
    def resources(self) -> Resources:
        """The connections and the model of this process."""
        resources: Resources = self.app.resources
        return resources

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Run it; what its worker has no time for any more is sent again, as it came."""
        try:
            return self.run(*args, **named)
        except Exception as error:
            if not cut_short(error):
                raise
            shown = {"argsrepr": self.request.argsrepr, "kwargsrepr": self.request.kwargsrepr}
            with undisturbed():
                raise self.retry(countdown=0, throw=False, **shown) from None


@setup_logging.connect
def log_as_the_service_does(**_: Any) -> None:
    """Take the place of Celery's own logging."""
    process = "beat" if "beat" in sys.argv else "worker"
    configure_logging(celery.current_app.resources.settings.log_level, process)


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Load the model before the first task; end the worker when it must not serve this store.

    Who does not serve the queue of embeddings needs no model, and spares its memory.
    What may pass by itself, such as a database that is down, is left to the tasks.
    """
    resources: Resources = celery.current_app.resources
    try:
        model = resources.models.wanted()[0]
        if EMBEDDINGS in celery.current_app.amqp.queues.consume_from:
            resources.models.embedder(model).embed(["warm"])
        log.info("worker_ready", model=model.name, model_id=model.id)
    except REFUSED as error:
        log.error("worker_refuses_to_start", reason=str(error))
        os.kill(os.getppid(), signal.SIGTERM)
    except Exception as error:
        log.warning("worker_not_warm", reason=type(error).__name__)


@task_prerun.connect
def name_the_task_in_logs(task: Task, task_id: str, **_: Any) -> None:
    """Put the task, and the requests that it works for, into each log line."""
    requests = (task.request.headers or {}).get("request_ids", [])
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id, request_ids=requests)


@task_postrun.connect
def forget_the_task_in_logs(**_: Any) -> None:
    """End what `name_the_task_in_logs` began."""
    structlog.contextvars.unbind_contextvars("task", "task_id", "request_ids")
