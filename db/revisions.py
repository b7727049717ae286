"""The revisions of the schema, without the machinery that brings them about: read at each start."""

import re
from pathlib import Path

import psycopg

import migrations

# Where this version's migrations lie.
FOLDERS = [Path(migrations.__file__).parent / "versions"]
NAMED = re.compile(r'^(revision|down_revision) = (?:"(\w+)"|None)$', re.MULTILINE)
CONNECT_SECONDS = 5
PATIENCE = "-c statement_timeout=5s -c lock_timeout=1s"
SILENT_MS = 5_000

HAS_SCHEMA = """
/* has_schema */
select to_regclass('alembic_version') is not null
"""
NOTED_REVISION = """
/* noted_revision */
select version_num from alembic_version
"""


def known_revisions() -> list[str]:
    """All revisions that this version of the code knows, the newest first.

    Raises `KeyError` when they are no chain.
    """
    after = {}
    for file in (file for folder in FOLDERS for file in folder.glob("*.py")):
        named = dict(NAMED.findall(file.read_text(encoding="utf-8")))
        after[named["down_revision"]] = named["revision"]
    chain = [after.pop("")]
    while after:
        chain.append(after.pop(chain[-1]))
    return chain[::-1]


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    return known_revisions()[0]


def is_newest(url: str) -> bool:
    """Whether the database at `url` has this version's schema; False too when it does not say."""
    try:
        with psycopg.connect(
            url, connect_timeout=CONNECT_SECONDS, options=PATIENCE, tcp_user_timeout=SILENT_MS
        ) as connection:
            if connection.execute(HAS_SCHEMA).fetchall() != [(True,)]:
                return False
            return connection.execute(NOTED_REVISION).fetchall() == [(newest_revision(),)]
    except psycopg.Error:
        return False
