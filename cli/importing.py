"""Bringing back messages from the files that deletion has left."""

from itertools import islice
from pathlib import Path

import click
import msgspec

from cli.servers import database
from db.migrating import check_schema, owner_connection
from memory.settings import load_settings
from tasks.archive_files import read_file
from tasks.importing import import_messages
from tasks.resources import Resources

TOGETHER = 500


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def import_files(files: tuple[Path, ...]) -> None:
    """Bring back the messages in FILES, as retention left them in MEMORY_ARCHIVE_DIR.

    They come back live, under their ids, and are embedded anew. What is there already is left as
    it is, so that an import that was interrupted can be begun again.
    """
    settings = load_settings()
    with database(settings) as url:
        with owner_connection(url) as connection:
            check_schema(connection)
        resources = Resources(msgspec.structs.replace(settings, database_url=url))
        try:
            for file in files:
                click.echo(f"{file}: {import_file(resources, file)}")
        finally:
            resources.engine.dispose()


def import_file(resources: Resources, file: Path) -> str:
    """Import a file; what became of it, for people."""
    stored = there = 0
    messages = read_file(file)
    while some := list(islice(messages, TOGETHER)):
        imported = import_messages(resources, some)
        stored += imported.stored
        there += imported.there
    return f"{stored} brought back, {there} were there already"
