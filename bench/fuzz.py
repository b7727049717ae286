"""An attack on the API by generated requests: does it answer as its OpenAPI document says?

    python -m bench.fuzz [--examples N] [--seed N]

Starts servers of its own on free ports, has schemathesis make requests of the served document,
good ones and bad ones, and prints what was answered how often. Fails when any answer was a 5xx,
was not documented or does not have the documented form; `bench.fuzz_exceptions` names what is let
through. The same seed makes the same requests.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from api.server import Server
from cli.postgres import EmbeddedPostgres
from cli.valkey import EmbeddedValkey
from db.migrating import migrate
from memory.logs import configure_logging
from memory.settings import Settings

KEY = "an-operator-key-for-the-fuzzing-only"
ROOT = Path(__file__).parent.parent
READY_SECONDS = 60
# An event stream has told all there is to check with its first event.
CONFIGURATION = """
max-stream-events = 1
request-timeout = 30
continue-on-failure = true
[headers]
x-api-key = "{key}"
[checks]
positive_data_acceptance.enabled = false
[generation]
max-examples = {examples}
database = "none"
[phases.stateful.generation]
max-examples = {steps}
"""


@dataclass
class Outcome:
    """What came of an attack."""

    report: str
    failed: bool
    seconds: float
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(self.statuses.values())


def fuzzed(settings: Settings) -> Settings:
    """`settings` of a service that is attacked: a key, no limits, no long waits."""
    return msgspec.structs.replace(
        settings,
        api_keys=KEY,
        global_rate_limit="",
        tenant_rate_limit="",
        auth_failure_limit="",
        request_timeout_seconds=5.0,
    )


def attack(url: str, folder: Path, examples: int, seed: int, patience: float) -> Outcome:
    """Have schemathesis make requests of the service at `url`, some `examples` an operation.

    Raises `subprocess.TimeoutExpired` after `patience` seconds.
    """
    configuration = folder / "schemathesis.toml"
    steps = max(2, examples // 2)
    configuration.write_text(CONFIGURATION.format(key=KEY, examples=examples, steps=steps))
    before = answered(url)
    started = time.monotonic()
    # The file with the key comes before the command, the way the tool wants it.
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    attacked = ["run", f"{url}/docs/openapi.json", "--seed", str(seed), "--no-color"]
    environment = [f"PYTHONPATH={ROOT}", "SCHEMATHESIS_HOOKS=bench.fuzz_exceptions"]
    done = subprocess.run(
        ["env", *environment, *program, *attacked],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
    seconds = time.monotonic() - started
    return Outcome(done.stdout + done.stderr, done.returncode != 0, seconds, answered(url) - before)


def answered(url: str) -> Counter[str]:
    """How many requests the service at `url` has answered with each status."""
    page = httpx.get(f"{url}/metrics", headers={"x-api-key": KEY}, timeout=30).text
    statuses: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "http_requests_total":
                statuses[sample.labels["status"]] += int(sample.value)
    return statuses


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The URL of an API with a store and a broker of its own, and no worker."""
    with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedValkey(folder / "v") as valkey:
        migrate(postgres.url)
        settings = Settings(
            database_url=postgres.url,
            redis_url=valkey.url,
            data_dir=str(folder),
            embedding_provider="mock",
        )
        server = Server(create_app(fuzzed(settings)), "127.0.0.1", 0)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + READY_SECONDS
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@click.command()
@click.option("--examples", default=720, show_default=True, help="About so many an operation.")
@click.option("--seed", default=1, show_default=True)
@click.option("--patience", default=3_600.0, show_default=True, help="Seconds until it gives up.")
def main(examples: int, seed: int, patience: float) -> None:
    """Attack a service made for it, and say how it held."""
    configure_logging("WARNING", "api")
    with tempfile.TemporaryDirectory(prefix="memory-fuzz-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with service(folder) as url:
            outcome = attack(url, folder, examples, seed, patience)
    click.echo(outcome.report)
    click.echo(f"{outcome.requests} requests in {outcome.seconds:.0f} s")
    for status, count in sorted(outcome.statuses.items()):
        click.echo(f"  {status}: {count}")
    sys.exit(outcome.failed)


if __name__ == "__main__":
    main()
