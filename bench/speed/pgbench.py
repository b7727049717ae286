"""What PostgreSQL does alone, by its own pgbench."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

import click
import psycopg

from bench.speed.processes import Spent
from bench.speed.running import Service
from cli.accounts import account_for
from cli.programs import postgres_programs
from db.engine import session_options
from memory.settings import Settings

THREADS = 2
SPARE_SECONDS = 60
RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
AVERAGE = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
COUNT = re.compile(r"^number of transactions actually processed: ([0-9]+)", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


class Rate(NamedTuple):
    """Transactions a second, the milliseconds that one took on average, and how many there were.

    `busy` is the processor time of PostgreSQL and of pgbench meanwhile, in seconds.
    """

    per_second: float
    average_ms: float
    transactions: int
    busy: Mapping[str, float] = MappingProxyType({})

    @property
    def told(self) -> str:
        """The processor time of one transaction."""
        each = (f"{name} {1e6 * of / self.transactions:,.0f}" for name, of in self.busy.items())
        return f"floor's CPU us each: {', '.join(each)}"


def rate_of(output: str) -> Rate:
    """What pgbench has reported. Raises `click.ClickException` when something has failed."""
    rate, average, failed = (found.search(output) for found in (RATE, AVERAGE, FAILED))
    count = COUNT.search(output)
    if rate is None or average is None or count is None or (failed and failed[1] != "0"):
        raise click.ClickException(f"pgbench has failed: {output.strip()[-2000:]}")
    return Rate(float(rate[1]), float(average[1]), int(count[1]))


def keep(found: Service, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Make a table of the rows, for scripts to read by `place` from 0 on; all else is text."""
    columns = list(rows[0])
    with psycopg.connect(found.servers.database) as connection:
        listed = ", ".join(f"{name} text" for name in columns)
        connection.execute(f"create table {table} (place int primary key, {listed})")
        connection.execute(f"grant select on {table} to memory_api")
        with connection.cursor().copy(f"copy {table} from stdin") as copy:
            for place, row in enumerate(rows):
                copy.write_row((place, *(str(row[name]) for name in columns)))
    with psycopg.connect(found.servers.database, autocommit=True) as connection:
        connection.execute(f"analyze {table}")


def run(
    found: Service, script: str, given: Mapping[str, str], clients: int, seconds: float
) -> Rate:
    """The script again and again, with the variables that are `given`, as the API's role.

    The sessions have the settings that the API's have. Raises `click.ClickException`.
    """
    settings, folder = found.settings, found.servers.folder / "pgbench"
    folder.mkdir(exist_ok=True, mode=0o755)
    account = account_for(folder)
    command = [str(postgres_programs(account) / "pgbench"), "--no-vacuum", "--protocol=prepared"]
    command += [f"--client={clients}", f"--jobs={min(THREADS, clients)}"]
    command += [f"--time={max(1, round(seconds))}"]
    path = folder / "script.sql"
    path.write_text(script)
    command.append(f"--file={path}")
    command += [f"--define={name}={value}" for name, value in given.items()]
    spent = Spent({"PostgreSQL": found.pids()["PostgreSQL"]})
    before = children_seconds()
    done = subprocess.run(
        command,
        cwd="/",
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=seconds + SPARE_SECONDS,
        check=False,
        **(account.popen_arguments() if account else {}),
    )
    sys.stderr.write("" if done.returncode == 0 else done.stderr[-2000:])
    busy = {**spent.since(), "pgbench": children_seconds() - before}
    return rate_of(done.stdout)._replace(busy=busy)


def environment(settings: Settings) -> dict[str, str]:
    """Where pgbench finds the database, and what its sessions are to have."""
    address = urlsplit(settings.database_url)
    return {
        "PATH": os.defpath,
        "PGHOST": address.hostname or "",
        "PGPORT": str(address.port),
        "PGDATABASE": address.path.lstrip("/"),
        "PGUSER": address.username or "",
        "PGPASSWORD": address.password or "",
        "PGOPTIONS": session_options("memory_api"),
    }


def children_seconds() -> float:
    """The processor time that those whom this process started and saw the end of have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
