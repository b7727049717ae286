"""The parts of the service, each as the process that it runs in."""

import os
from pathlib import Path
from typing import Any

import click

from cli.listening import heard_on, inherited
from cli.loading import loaded
from cli.part import NAME_SUFFIX, READY_FILE, SUCCESSOR
from cli.servers import connection
from cli.start_line import wait_at_line
from memory.errors import SettingsError
from memory.queues import served_queues
from memory.settings import Settings, file_variable, load_settings, variable

# What Celery would load when the worker has begun.
WORKER_MODULES = ("celery.apps.worker", "celery.concurrency.prefork", "kombu.transport.redis")


@click.command()
def api() -> None:
    """Run the API alone (also: aiml-api)."""
    sockets = inherited()
    settings = heard_on(connection(load_settings()), sockets)
    # Here and not above: the other parts must not pay for the web framework.
    server = loaded("api.server")
    wait_at_line()
    server.serve(settings, sockets, patient=SUCCESSOR in os.environ, on_start=_note_ready)


@click.command()
@click.option("--queues", help="What it serves: embeddings, maintenance, or both (the default).")
def worker(queues: str | None) -> None:
    """Run a Celery worker alone (also: aiml-worker)."""
    settings = with_broker()
    served = served_queues(settings.worker_queues if queues is None else queues, "--queues")
    app = celery_app(settings, *WORKER_MODULES)
    # So that Flower tells two on one machine apart.
    name = (served[0] if len(served) == 1 else "worker") + os.environ.get(NAME_SUFFIX, "")
    loaded("celery.signals").worker_ready.connect(_note_ready, weak=False)
    app.worker_main(
        [
            "worker",
            f"--queues={','.join(served)}",
            f"--hostname={name}@%h",
            f"--concurrency={settings.worker_concurrency}",
            "--prefetch-multiplier=1",
            # What workers would tell each other is nothing that we use, and costs a second.
            "--without-mingle",
            "--without-gossip",
            f"--loglevel={settings.log_level}",
        ]
    )


@click.command()
def beat() -> None:
    """Run Celery's beat alone; its schedule is in Redis, so several may stand by."""
    settings = with_broker()
    app = celery_app(settings)
    loaded("celery.signals").beat_init.connect(_note_ready, weak=False)
    app.start(["beat", f"--loglevel={settings.log_level}"])


def celery_app(settings: Settings, *modules: str) -> Any:
    """The Celery application, which reads its settings from the environment when imported.

    It is there once `modules` are loaded too, and the servers are.

    Raises `SettingsError` when the broker does not let it in.
    """
    for field in ("database_url", "redis_url"):
        # What was read from a file would be given twice.
        os.environ.pop(file_variable(field), None)
        os.environ[variable(field)] = getattr(settings, field)
    app = loaded(*modules, "tasks.celery").app
    if modules:
        loaded(*app.conf.imports)
    wait_at_line()
    loaded("tasks.brokers").check_entry(app)
    return app


def with_broker() -> Settings:
    """The settings of a part that works with the queue; raises `SettingsError` without one."""
    settings = load_settings()
    if not settings.async_embeddings:
        raise SettingsError(
            "MEMORY_ASYNC_EMBEDDINGS=false: the API alone is the whole service, and has no queue"
            " that a worker, beat or Flower could serve."
        )
    return connection(settings)


def _note_ready(**_: Any) -> None:
    if named := os.environ.get(READY_FILE):
        Path(named).touch()
