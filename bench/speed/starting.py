"""How long `aiml up` takes until it says that all is ready, on data that it has had before."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, cast

import click

from bench.speed.plan import Plan
from cli.records import loopback_port

READY = b"Ready after"
STOP_SECONDS = 60
# Empty is not set: whatever the caller's are, what starts is the bench's own.
EMPTY = (
    "DATABASE_URL",
    "DATABASE_REPLICA_URLS",
    "REDIS_URL",
    "BROKER_URL",
    "CACHE_URL",
    "API_KEYS",
)


def measure(plan: Plan) -> None:
    """The first start makes the database and is not counted."""
    if not plan.among(["start"]):
        return
    with tempfile.TemporaryDirectory(prefix="memory-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        first = seconds_to_ready(folder)
        for _ in range(plan.rounds):
            seconds = seconds_to_ready(folder)
            plan.note("start", seconds, said=f"the very first start: {first:.1f} s")


def seconds_to_ready(folder: Path) -> float:
    """Start the whole service, and stop it again."""
    ports = {name: loopback_port(folder / f"{name}.port") for name in ("API", "FLOWER")}
    settings = {
        "DATA_DIR": str(folder / "data"),
        **{f"{name}_PORT": str(port) for name, port in ports.items()},
        **dict.fromkeys(EMPTY, ""),
    }
    given = [f"MEMORY_{name}={value}" for name, value in settings.items()]
    started = time.perf_counter()
    process = subprocess.Popen(
        ["env", *given, sys.executable, "-m", "cli.main", "up"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with cast("IO[bytes]", process.stdout) as lines:
            if not any(READY in line for line in lines):
                raise click.ClickException("the service does not become ready")
            took = time.perf_counter() - started
            process.send_signal(signal.SIGTERM)
            # Read to its end, or it could not write that it stops.
            lines.read()
        process.wait(STOP_SECONDS)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
    return took
