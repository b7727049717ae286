"""Flower: the page that shows workers, tasks and queues."""

import os
import re
from importlib import import_module
from typing import Any

import click

from cli.lock import prepare_folder
from cli.parts import celery_app, with_broker

# What runs, for whom, and how it ended, which may be long.
COLUMNS = "name,args,state,received,runtime,worker,result"
# The words of these say it all.
OWN_ERRORS = re.compile(r"""(?:NotEmbedded|JobStep)Error\((['"])(.*)\1\)""", re.DOTALL)
QUOTED = re.compile(r"""(['"])(.*)\1""", re.DOTALL)


@click.command()
def flower() -> None:
    """Run Flower alone, the page that shows workers and tasks."""
    settings = with_broker()
    prepare_folder(settings.data_folder)
    os.umask(0o077)
    app = celery_app(settings)
    options = import_module("flower.options").options
    options.format_task = readable
    if settings.flower_auth:
        # Not an argument, which other users of the machine can read, nor a variable, in which
        # Flower takes a comma for the end of the password.
        options.basic_auth = [settings.flower_auth]
    app.start(
        [
            "flower",
            f"--address={settings.flower_host}",
            f"--port={settings.flower_port}",
            f"--tasks_columns={COLUMNS}",
            "--max_tasks=10000",
            "--purge_offline_workers=86400",
            "--persistent=True",
            # It is saved when Flower ends, too; this is for a Flower that is killed.
            "--state_save_interval=300000",
            f"--db={settings.data_folder / 'flower.db'}",
        ]
    )


def readable(task: Any) -> Any:
    """A task as Flower shows it: its result is what it says of itself, also when it failed."""
    said = task.result or task.exception or ""
    written = (OWN_ERRORS if task.exception else QUOTED).fullmatch(said)
    task.result = written[2] if written else said
    return task
