"""Backups: a dump of the store, a manifest beside it, and which of several are kept."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

FORMAT = "ai-memory-layer/backup"
VERSION = 1
NAME = re.compile(r"memory-\d{8}T\d{6}Z\.dump")
# Stands in the place of a tenant for a table whose rows have none.
NO_TENANT = "*"

# Rows by table and tenant.
Rows = dict[str, dict[str, int]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a dump. It is that of the store at one moment, `taken_at`.

    `revision` is that of the schema, `server` PostgreSQL's version as a number such as 180004,
    `program` the major version of the pg_dump that wrote it. `verified_at` is null until it has
    been restored for a try and `rows` were found in it.
    """

    format: str
    version: int
    file: str
    taken_at: datetime
    seconds: float
    service: str
    database: str
    revision: str
    server: int
    vector: str
    program: int
    database_bytes: int
    bytes: int
    sha256: str
    rows: Rows
    verified_at: datetime | None = None

    @property
    def tenants(self) -> list[str]:
        """The tenants that have a row."""
        found = {tenant for tenants in self.rows.values() for tenant in tenants}
        return sorted(found - {NO_TENANT})


def file_name(taken_at: datetime) -> str:
    """What a dump of that moment is called."""
    return f"memory-{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.dump"


def total(rows: Rows, table: str | None = None) -> int:
    """How many rows there are, of one table or of all."""
    tables = rows.values() if table is None else [rows.get(table, {})]
    return sum(sum(tenants.values()) for tenants in tables)


def difference(wanted: Rows, found: Rows) -> str:
    """Where `found` is not what is `wanted`, in words; empty when it is."""
    for table in sorted(wanted.keys() | found.keys()):
        here, there = wanted.get(table, {}), found.get(table, {})
        for tenant in sorted(here.keys() | there.keys()):
            if here.get(tenant, 0) != there.get(tenant, 0):
                whose = "" if tenant == NO_TENANT else f" of tenant {tenant}"
                return f"{table}{whose}: {there.get(tenant, 0):,} rows, not {here.get(tenant, 0):,}"
    return ""


def outdated(backups: Sequence[Manifest], database: str, keep: int) -> list[Manifest]:
    """Those of a database beyond the newest `keep`; the newest verified one is never among them."""
    own = sorted(
        (each for each in backups if each.database == database),
        key=lambda each: (each.taken_at, each.file),
        reverse=True,
    )
    good = next((each for each in own if each.verified_at), None)
    return [each for each in own[keep:] if each is not good]
