"""What a migration of a store in use is made of: its limits, whom it serves, what takes long.

The rules are in docs/upgrades.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from alembic.script import ScriptDirectory

from db.schema import LOCK_TIMEOUT, SERVED, STATEMENT_TIMEOUT


def served_note(scripts: ScriptDirectory, revision: str | None) -> str:
    """The statement that notes, in the database, the oldest version which `revision` serves."""
    if revision is None:
        return "comment on table alembic_version is null"
    oldest = scripts.get_revision(revision).module.serves_from
    return f"comment on table alembic_version is '{SERVED.format(revision=oldest)}'"


@contextmanager
def unhurried() -> Iterator[None]:
    """For statements that let others read and write however long they take: no time limit.

    Each is a transaction of its own, so a migration has one such statement and nothing else; it
    must do no harm when it is run twice.
    """
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        op.execute("set statement_timeout = 0")
        yield
        op.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'")
        op.execute(f"set statement_timeout = '{STATEMENT_TIMEOUT}'")


def build_index(name: str, on: str) -> None:
    """Build the index `name` on what `on` says, while others write.

    A build that was interrupted leaves an index that is not valid: what is there goes first.
    """
    with unhurried():
        op.execute(f"drop index concurrently if exists {name}")
        op.execute(f"create index concurrently if not exists {name} on {on}")


def drop_index(name: str) -> None:
    """Drop the index `name`, while others write."""
    with unhurried():
        op.execute(f"drop index concurrently if exists {name}")


def validate_constraint(table: str, name: str) -> None:
    """See that all rows obey a constraint that was added `not valid`, while others write.

    It takes as long as it takes, so it is the one statement of its migration.
    """
    op.execute("set local statement_timeout = 0")
    op.execute(f"alter table {table} validate constraint {name}")
