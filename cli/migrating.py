"""`aiml migrate`."""

import click
from sqlalchemy.exc import OperationalError

from cli.errors import StartError
from cli.servers import database
from db.migrating import migrate as migrate_schema
from memory.settings import load_settings


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
