"""What a backup of 100,000 messages takes, and whether what is restored from it is equal.

    python -m bench.backing_up

Starts a PostgreSQL and a Valkey of its own, fills a store with made-up messages, their terms and
vectors, makes a backup, restores it to another database, and compares the two: each table, tenant
by tenant, by a hash of all its rows, and what a real API answers to searches on both.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import httpx
import numpy as np
import psycopg
import uuid_utils.compat
from pgvector.psycopg import register_vector
from rich.console import Console
from rich.table import Table

from bench.aged_store import Aged, copy_tenant
from bench.ageing import wait_ready
from cli.postgres import EmbeddedPostgres
from cli.records import loopback_port
from cli.valkey import EmbeddedValkey
from db.migrating import migrate
from db.models import register_model
from db.queries.models import hnsw_index
from db.scratch import sibling
from memory.embedding.onnx import OnnxEmbedder
from tasks.backing_up import back_up
from tasks.restoring import restore

WORDS = 4_000
WORDS_OF_A_MESSAGE = 14
TOPICS = 500
QUERIES = 10
TABLES = """
select c.relname, exists (select from pg_attribute a
    where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1
"""


class Timed:
    """The seconds of each stage of a backup or a restore."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._began = "", time.monotonic()

    def stage(self, what: str, total: int) -> None:  # noqa: ARG002 - as `Watcher` has it
        """The next one begins."""
        now = time.monotonic()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0) + now - self._began
        self._stage, self._began = what, now

    def reached(self, done: int) -> None:
        """As `Watcher` has it."""

    def pulse(self) -> None:
        """As `Watcher` has it."""


def sizes(messages: int, tenants: int) -> dict[str, int]:
    """How many messages each tenant has: half of all are the first one's."""
    rest = messages // 2 // (tenants - 1)
    return {"tenant-000": messages - rest * (tenants - 1)} | {
        f"tenant-{number:03}": rest for number in range(1, tenants)
    }


def fill(url: str, messages: int, tenants: int) -> None:
    """Store so many made-up messages with vectors and terms, all indexed."""
    dimensions = OnnxEmbedder.dimensions
    model_id = register_model(url, OnnxEmbedder.model, dimensions)
    random = np.random.default_rng(7)
    topics = random.normal(size=(TOPICS, dimensions))
    with psycopg.connect(url) as connection:
        register_vector(connection)
        connection.execute(f"drop index message_embeddings_hnsw_{model_id}")
        for tenant_id, number in sizes(messages, tenants).items():
            copy_tenant(connection, tenant_id, model_id, list(made_up(number, topics, random)))
        connection.execute("analyze")
        connection.execute(str(hnsw_index(model_id, dimensions)))


def made_up(number: int, topics: np.ndarray, random: np.random.Generator) -> Iterator[Aged]:
    """Messages of words that nobody says, with unit vectors around some topics."""
    words = random.zipf(1.3, size=(number, WORDS_OF_A_MESSAGE)) % WORDS
    vectors = topics[random.integers(TOPICS, size=number)]
    vectors = vectors + random.normal(0, 0.7, vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    now = datetime.now(UTC)
    for place, (said, vector) in enumerate(zip(words, vectors, strict=True)):
        at = now - timedelta(minutes=number - place)
        content = " ".join(f"w{word:04}" for word in said)
        yield Aged(uuid_utils.compat.uuid7(), content, at, vector.astype(np.float32))


def hashes(url: str) -> dict[tuple[str, str], tuple[int, str]]:
    """Rows and a hash of all of them, by table and tenant."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    with psycopg.connect(url) as connection:
        for table, by_tenant in connection.execute(TABLES).fetchall():
            whose = "tenant_id" if by_tenant else "'*'"
            rows = connection.execute(
                f"select {whose}, count(*), md5(string_agg(row, '' order by row))"
                f' from (select *, md5(t::text) as row from "{table}" t) as t group by 1'
            )
            found |= {(table, tenant): (count, digest) for tenant, count, digest in rows}
    return found


@contextmanager
def api(url: str, redis: str, folder: Path) -> Iterator[httpx.Client]:
    """A client of an API of its own on the database at `url`."""
    port = loopback_port(folder / f"{url.rpartition('/')[2]}.port")
    settings = [f"MEMORY_DATABASE_URL={url}", f"MEMORY_REDIS_URL={redis}", "MEMORY_API_KEYS="]
    settings += [f"MEMORY_API_PORT={port}", "MEMORY_CACHE_URL="]
    settings += [f"MEMORY_{name}_RATE_LIMIT=" for name in ("GLOBAL", "TENANT")]
    command = ["env", *settings, sys.executable, "-m", "cli.main", "api"]
    with (folder / f"api-{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_ready(client)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(client: httpx.Client, tenants: int) -> list[list[str]]:
    """The ids that searches find, in each tenant."""
    found = []
    for number in range(tenants):
        for query in range(QUERIES):
            words = " ".join(f"w{(query * 7 + each * 31) % 300:04}" for each in range(4))
            asked = {"tenant_id": f"tenant-{number:03}", "query": words, "top_k": "10"}
            answer = client.get("/v1/memory/search", params=asked).raise_for_status().json()
            found.append([str(item["message_id"]) for item in answer["items"]])
    return found


@click.command()
@click.option("--messages", default=100_000, show_default=True)
@click.option("--tenants", default=20, show_default=True)
def main(messages: int, tenants: int) -> None:
    """Fill a store, back it up, restore it, and print what that takes and what differs."""
    console = Console(width=100)
    with tempfile.TemporaryDirectory(prefix="memory-backup-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "postgres") as server, EmbeddedValkey(folder) as valkey:
            there = sibling(server.url, "restored")
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("create database restored")
            migrate(server.url)
            with console.status("filling"):
                fill(server.url, messages, tenants)
            made, back = Timed(), Timed()
            manifest = back_up(server.url, folder / "backups", made, verify=True)
            made.stage("", 0)
            restored = restore(there, folder / "backups" / manifest.file, back, overwrite=False)
            back.stage("", 0)
            table = Table("what", "seconds")
            for title, timed in (("backup", made), ("restore", back)):
                for stage, seconds in timed.seconds.items():
                    table.add_row(f"{title}: {stage}", f"{seconds:.1f}")
            console.print(table)
            console.print(f"database {manifest.database_bytes:,} bytes, dump {manifest.bytes:,}")
            compare(console, server.url, there)
            same = same_answers(server.url, there, valkey.url, folder, tenants)
            console.print(f"searches with the same answer: {same[0]} of {same[1]}")
            console.print(f"messages: {sum(restored.rows['messages'].values()):,}")


def compare(console: Console, one: str, other: str) -> None:
    """Print in how many tables and tenants the rows are equal; raises when some are not."""
    before, after = hashes(one), hashes(other)
    wrong = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    console.print(f"equal by hash of all rows: {len(before) - len(wrong)} of {len(before)}")
    if wrong:
        raise click.ClickException(f"not equal: {sorted(wrong)}")


def same_answers(one: str, other: str, redis: str, folder: Path, tenants: int) -> tuple[int, int]:
    """How many searches have the same answer on both databases, and how many were asked."""
    found = []
    for place, url in enumerate((one, other)):
        with api(url, f"{redis.rpartition('/')[0]}/{place}", folder) as client:
            found.append(answers(client, tenants))
    return sum(a == b for a, b in zip(*found, strict=True)), len(found[0])


if __name__ == "__main__":
    main()
