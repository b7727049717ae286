"""Runs the migrations under a lock of their own, so that two that start at once go one by one."""

from typing import Any

from alembic import context
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from cli.servers import database
from db.schema import LOCK_TIMEOUT, STATEMENT_TIMEOUT, migration_connection
from db.tables import metadata
from memory.settings import load_settings
from migrations.online import served_note


def note_served(ctx: MigrationContext, heads: set[str], **_: Any) -> None:
    """In the transaction of each step, for versions that do not know it."""
    ctx.impl.execute(served_note(context.script, next(iter(heads), None)))


OPTIONS: dict[str, Any] = {"transaction_per_migration": True, "on_version_apply": note_served}


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def write() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    context.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'")
    context.execute(f"set statement_timeout = '{STATEMENT_TIMEOUT}'")
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    write()
elif (shared := context.config.attributes.get("connection")) is not None:
    run(shared)
else:
    with database(load_settings()) as url, migration_connection(url) as own:
        run(own)
