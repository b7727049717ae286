"""Keys for applications and people, on the machine that has the database."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from cli.errors import StartError
from cli.servers import database
from db.keys import By, create_key, revoke_key, rotate_key
from db.queries.keys import key_from_row, keys_page
from db.schema import check_schema, owner_connection
from memory.jobs import ALL_TENANTS
from memory.keys import (
    GRACE_SECONDS,
    LONGEST_GRACE_SECONDS,
    IssuedKey,
    Key,
    NewKey,
    Rotation,
    TenantOrAll,
    check_expiry,
    check_key,
)
from memory.settings import load_settings

BY = By("aiml")
PAGE = 200
FEW = 3
WIDEST = 10_000
COLUMNS = ("id", "name", "label", "tenants", "scopes", "state", "expires", "last used")
Done = TypeVar("Done")
Wanted = TypeVar("Wanted")
KEY_ID = click.argument("key_id", metavar="ID", type=click.UUID)
DAYS = click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="How long it is to live."
)


@click.group()
def keys() -> None:
    """Make, list, replace and revoke keys.

    Once there is one, the service asks for a key at every door but the probes and the docs.
    """


@keys.command()
@click.option("--tenant", "tenants", multiple=True, help="A tenant that it is for; several times.")
@click.option("--all-tenants", is_flag=True, help="It is for all tenants, those to come too.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read", "write"),
    show_default=True,
    type=click.Choice(["read", "write", "admin"]),
    help="What it may do; several times.",
)
@click.option("--label", default="", help="What it is for, for people.")
@click.option("--rate-limit", help="Such as 10/second, in place of MEMORY_KEY_RATE_LIMIT.")
@DAYS
def create(
    tenants: tuple[str, ...],
    all_tenants: bool,
    scopes: tuple[str, ...],
    label: str,
    rate_limit: str | None,
    days: float | None,
) -> None:
    """Make a key, and print it: this is the only time."""
    if all_tenants == bool(tenants):
        raise click.UsageError("Give --tenant, once or several times, or --all-tenants.")
    wanted = {
        "tenants": [ALL_TENANTS] if all_tenants else list(tenants),
        "scopes": list(scopes),
        "label": label,
        "rate_limit": rate_limit,
    }
    new = converted(wanted | {"expires_at": days_from_now(days)}, NewKey)
    check_key(new, datetime.now(UTC))
    show_issued(in_store(lambda connection: create_key(connection, new, BY)))


@keys.command("list")
@click.option("--tenant", help="Those that open this tenant; * for those of all tenants.")
@click.option("--ended", is_flag=True, help="Expired and revoked ones too.")
def list_(tenant: str | None, ended: bool) -> None:
    """List the keys, the newest first, without what is sent."""
    if tenant is not None:
        tenant = converted(tenant, TenantOrAll)
    # As wide as it takes: an id that is cut short is of no use to whoever would revoke the key.
    console = Console(highlight=False, markup=False, emoji=False, width=WIDEST)
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for key in in_store(lambda connection: all_keys(connection, tenant, ended)):
        table.add_row(
            str(key.id),
            key.name,
            key.label,
            few(key.tenants),
            ", ".join(key.scopes),
            key.state,
            moment(key.expires_at),
            moment(key.last_used_at),
        )
    if table.row_count:
        console.print(table, soft_wrap=True)
    else:
        click.echo("None.")


@keys.command()
@KEY_ID
def revoke(key_id: UUID) -> None:
    """Revoke the key ID: within seconds it opens nothing."""
    key = in_store(lambda connection: revoke_key(connection, key_id, BY))
    click.echo(f"Revoked: {key.name} {key.label}".rstrip())


@keys.command()
@KEY_ID
@click.option(
    "--grace-hours",
    type=click.FloatRange(0, LONGEST_GRACE_SECONDS / 3600),
    default=GRACE_SECONDS / 3600,
    show_default=True,
    help="How long the old key serves on.",
)
@DAYS
def rotate(key_id: UUID, grace_hours: float, days: float | None) -> None:
    """Replace the key ID by a new one that may do the same, and print that."""
    if math.isnan(grace_hours):
        raise click.UsageError("--grace-hours: that is no number.")
    rotation = Rotation(grace_seconds=round(grace_hours * 3600), expires_at=days_from_now(days))
    check_expiry(rotation.expires_at, datetime.now(UTC))
    show_issued(in_store(lambda connection: rotate_key(connection, key_id, rotation, BY)))


def in_store(work: Callable[[Connection], Done]) -> Done:
    """What `work` gives, committed in the store; raises `StartError` when that does not answer."""
    try:
        with database(load_settings()) as url, owner_connection(url) as connection:
            check_schema(connection)
            done = work(connection)
            connection.commit()
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0]
        raise StartError(f"The database does not do it: {reason}") from None
    return done


def converted(value: Any, wanted: type[Wanted]) -> Wanted:
    """`value` as `wanted`; raises `click.UsageError` when it is none."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None


def all_keys(connection: Connection, tenant_id: str | None, ended: bool) -> list[Key]:
    """The keys, page by page."""
    found: list[Key] = []
    while True:
        before = found[-1].id if found else None
        rows = connection.execute(keys_page(tenant_id, ended, before, PAGE)).all()
        found += [key_from_row(row, datetime.now(UTC)) for row in rows]
        if len(rows) < PAGE:
            return found


def show_issued(issued: IssuedKey) -> None:
    """The key alone on the standard output, so that a script can take it; the rest beside it."""
    scopes = ", ".join(issued.scopes)
    click.echo(
        f"{issued.name}, id {issued.id}: {scopes} for {few(issued.tenants)},"
        f" expires {moment(issued.expires_at)}. It is shown this once:",
        err=True,
    )
    click.echo(issued.key)


def days_from_now(days: float | None) -> datetime | None:
    """The time in so many days; raises `click.UsageError` for one that no calendar has."""
    try:
        return None if days is None else datetime.now(UTC) + timedelta(days=days)
    except (OverflowError, ValueError):
        raise click.UsageError("--days: that is longer than calendars go.") from None


def few(names: Sequence[str]) -> str:
    """The first of `names`, and how many there are besides."""
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def moment(time: datetime | None) -> str:
    """A time for people."""
    return "never" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
