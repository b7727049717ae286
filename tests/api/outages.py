"""Taking the database away from one service, and giving it back."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def no_database(url: str) -> Iterator[None]:
    """The database at `url` takes no connections, and whoever had one has been thrown out."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as administrator:
        administrator.execute(f'alter database "{name}" with allow_connections false')
        administrator.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )
        try:
            yield
        finally:
            administrator.execute(f'alter database "{name}" with allow_connections true')
