"""`aiml restart`: new processes in place of the old ones, without a pause."""

import click

from cli.control import ask
from memory.settings import load_settings


@click.command()
def restart() -> None:
    """Replace the processes of a running `aiml up`, one after the other, without a pause.

    New code and new settings of `.env` count from then on. When a new process does not become
    ready, the old one stays, and the exit code is 2.
    """
    ask(load_settings().data_folder.absolute(), click.echo)
