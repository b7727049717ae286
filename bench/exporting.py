"""How long an export and an import take, how large the file is, and how much memory they want.

    python -m bench.exporting --messages 100000

Runs the commands as processes of their own, on a database of its own.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psycopg

from cli.postgres import EmbeddedPostgres
from db.migrating import migrate
from db.models import register_model

TENANT, MODEL, DIMENSIONS = "acme", "mock", 384
# Some 30 words each, in conversations of 25.
MESSAGES = """
insert into messages (tenant_id, id, conversation_id, role, content, importance_score, created_at,
  embedding_status)
select %(tenant)s, uuidv7(make_interval(secs => n)), 'c-' || n / 25, 'user',
  (select string_agg('word' || (n * 7919 + k * k * 104729) %% 20000, ' ')
   from generate_series(1, 30) as k),
  0.5, now() + make_interval(secs => n), 'completed'
from generate_series(1, %(messages)s) as n
"""
VECTORS = """
insert into message_embeddings (tenant_id, message_id, model_id, kind, part, embedding)
select %(tenant)s, id, %(model)s, 'content', 0, l2_normalize(cast((
  select array_agg(random(-1.0, 1.0) + 0 * k) from generate_series(1, %(dimensions)s) as k
  where messages.id is not null
) as real[])::halfvec)
from messages
"""


@click.command()
@click.option("--messages", default=100_000, show_default=True)
def main(messages: int) -> None:
    """Print a line for each command."""
    folder = Path(tempfile.mkdtemp(prefix="memory-bench-"))
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "postgres") as server:
            migrate(server.url)
            fill(server.url, messages)
            for vectors in ([], ["--vectors"]):
                file = folder / f"export{len(vectors)}.jsonl.gz"
                timed(server.url, "export", TENANT, str(file), *vectors)
                click.echo(f"  {file.stat().st_size / 1e6:.1f} MB")
                timed(server.url, "import", str(file), "--tenant", f"new{len(vectors)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill(url: str, messages: int) -> None:
    """Store messages with vectors that mean nothing, and no index of these."""
    model = register_model(url, MODEL, DIMENSIONS)
    with psycopg.connect(url) as connection:
        connection.execute(f"drop index message_embeddings_hnsw_{model}")
        connection.execute(MESSAGES, {"tenant": TENANT, "messages": messages})
        values = {"tenant": TENANT, "model": model, "dimensions": DIMENSIONS}
        connection.execute(VECTORS, values)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def timed(url: str, *arguments: str) -> None:
    """Run a command, and say what it took."""
    environment = {"MEMORY_DATABASE_URL": url, "MEMORY_EMBEDDING_PROVIDER": "mock"}
    began = time.monotonic()
    command = [sys.executable, "-m", "cli.main", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - began
    # The most that any child has had so far.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    click.echo(f"{' '.join(arguments[:1])} {arguments[-1]}: {took:.1f} s, up to {memory:.0f} MB")


if __name__ == "__main__":
    main()
