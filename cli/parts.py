"""The parts of the service, each as the process that it runs in."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import OperationalError

from cli.errors import StartError
from cli.listening import heard_on, inherited
from cli.part import NAME_SUFFIX, READY_FILE, SUCCESSOR
from cli.servers import connection, database
from db.migrating import migrate as migrate_schema
from memory.errors import SettingsError
from memory.queues import served_queues
from memory.settings import Settings, file_variable, load_settings, variable


@click.command()
def migrate() -> None:
    """Bring the database's schema to this version."""
    with database(load_settings()) as url:
        try:
            migrate_schema(url, click.echo)
        except OperationalError as error:
            said = " ".join(str(error.orig).split())
            raise StartError(f"The database cannot be migrated: {said}") from None
    click.echo("The schema is up to date.")


@click.command()
def api() -> None:
    """Run the API alone (also: aiml-api)."""
    sockets = inherited()
    settings = heard_on(connection(load_settings()), sockets)
    # Here and not above: the other parts must not pay for the web framework.
    import_module("api.server").serve(
        settings, sockets, patient=SUCCESSOR in os.environ, on_start=_note_ready
    )


@click.command()
@click.option("--queues", help="What it serves: embeddings, maintenance, or both (the default).")
def worker(queues: str | None) -> None:
    """Run a Celery worker alone (also: aiml-worker)."""
    settings = with_broker()
    served = served_queues(settings.worker_queues if queues is None else queues, "--queues")
    app = celery_app(settings)
    # So that Flower tells two on one machine apart.
    name = (served[0] if len(served) == 1 else "worker") + os.environ.get(NAME_SUFFIX, "")
    import_module("celery.signals").worker_ready.connect(_note_ready, weak=False)
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
    import_module("celery.signals").beat_init.connect(_note_ready, weak=False)
    app.start(["beat", f"--loglevel={settings.log_level}"])


def celery_app(settings: Settings) -> Any:
    """The Celery application, which reads its settings from the environment when imported.

    Raises `SettingsError` when the broker does not let it in.
    """
    for field in ("database_url", "redis_url"):
        # What was read from a file would be given twice.
        os.environ.pop(file_variable(field), None)
        os.environ[variable(field)] = getattr(settings, field)
    app = import_module("tasks.celery").app
    import_module("tasks.brokers").check_entry(app)
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
