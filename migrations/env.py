"""Runs the migrations under a lock of their own, so that two that start at once go one by one."""

from alembic import context
from sqlalchemy import Connection

from cli.servers import database
from db.migrating import migration_connection
from db.tables import metadata
from memory.settings import load_settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (shared := context.config.attributes.get("connection")) is not None:
    run(shared)
else:
    with database(load_settings()) as url, migration_connection(url) as own:
        run(own)
