"""Having the words of stored messages indexed anew."""

import click

from cli.servers import database
from db.queries.reindexing import REINDEX_ALL, REINDEX_NAMED
from db.schema import check_schema, owner_connection
from memory.settings import load_settings


@click.command()
@click.argument("tenants", nargs=-1)
def reindex(tenants: tuple[str, ...]) -> None:
    """Have the words of TENANTS, or of all, indexed anew: after a change of MEMORY_LANGUAGE."""
    with database(load_settings()) as url, owner_connection(url) as connection:
        check_schema(connection)
        statement = REINDEX_NAMED if tenants else REINDEX_ALL
        begun = connection.execute(statement, {"tenants": list(tenants)} if tenants else {})
        connection.commit()
    click.echo(f"Tenants to be indexed anew: {begun.rowcount}. Workers begin within seconds.")
