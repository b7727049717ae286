"""The `aiml` command."""

import os
import sys
from importlib import import_module
from typing import Any

import click

from cli.part import INSTANCE
from memory.errors import MemoryLayerError
from memory.settings import unknown_settings

COMMANDS = {
    "up": "cli.up:up",
    "restart": "cli.restart:restart",
    "migrate": "cli.migrating:migrate",
    "api": "cli.parts:api",
    "worker": "cli.parts:worker",
    "beat": "cli.parts:beat",
    "flower": "cli.flower:flower",
    "reindex": "cli.reindex:reindex",
    "export": "cli.exporting:export",
    "import": "cli.importing:import_files",
    "embeddings": "cli.embeddings:embeddings",
    "backup": "cli.backup:backup",
    "restore": "cli.backup:restore_file",
    "keys": "cli.keys:keys",
    "watch": "cli.watch:watch",
}
WRONG_SETTING = 2


class LateCommands(click.Group):
    """Imports a command when it is called: `aiml up` must not wait for what it starts."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that the service names becomes one line and exit code 2."""
        # The parts that `aiml up` starts need not repeat what it has said.
        if INSTANCE not in os.environ:
            warn_of_settings()
        try:
            return super().invoke(ctx)
        except MemoryLayerError as error:
            # Where an error says no more, what it is called is the message.
            click.echo(f"Error: {str(error) or error.__doc__}", err=True)
            sys.exit(WRONG_SETTING)


def warn_of_settings() -> None:
    """A line for each variable that no setting has."""
    for name, nearest in unknown_settings().items():
        hint = f" Did you mean {nearest}?" if nearest else ""
        click.echo(f"Warning: {name} is not a setting.{hint}", err=True)


@click.group(cls=LateCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ai-memory-layer")
def main() -> None:
    """A self-hosted memory for AI applications."""


def api() -> None:
    """The command `aiml-api`."""
    main(["api", *sys.argv[1:]], prog_name="aiml")


def worker() -> None:
    """The command `aiml-worker`."""
    main(["worker", *sys.argv[1:]], prog_name="aiml")


if __name__ == "__main__":
    main(prog_name="aiml")
