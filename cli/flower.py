"""Flower: the page that shows workers, tasks and queues."""

import os
import re
from importlib import import_module
from typing import Any

import click

from cli.lock import prepare_folder
from cli.parts import celery_app, with_broker

# What runs, for whom, and how it ended; the last two may be long.
COLUMNS = "name,args,state,received,runtime,worker,result,exception"
# Of ours, the words of which say it all.
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
            "--state_save_interval=60000",
            f"--db={settings.data_folder / 'flower.db'}",
        ]
    )


def readable(task: Any) -> Any:
    """A task as Flower shows it: what it says of itself without the quotes of Python around it."""
    for field, form in (("result", QUOTED), ("exception", OWN_ERRORS)):
        written = form.fullmatch(getattr(task, field, None) or "")
        if written:
            setattr(task, field, written[2])
    return task
