"""What a restart and a stop under load cost: failed requests, waiting, and what is lost.

    python -m bench.restarting

Starts a whole service on a scratch folder and free ports, with callers that post and search all the
while, some on connections that they keep and some on new ones. Ends with exit code 1 when a request
failed during a rolling restart, or when anything acknowledged is not in the store at the end.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import psutil  # type: ignore[import-untyped]
import psycopg
from rich.console import Console
from rich.table import Table

from bench.callers import Callers, Heard
from bench.serving import UNLIMITED, free_port
from cli.postgres import stored_url

KEEPING, FRESH = 8, 4
READY_SECONDS, RESTART_SECONDS, EMBEDDED_SECONDS, STOP_SECONDS = 180, 300, 180, 180
CALM_SECONDS = 3.0
PARTS = ("api", "worker", "beat", "flower")
LEFT = frozenset({"ConnectionRefusedError", "ConnectionResetError"})
STATES = "select embedding_status, count(*) from messages group by 1"
FOUND = "select count(*) from messages where id = any(%s::uuid[])"


class Service:
    """A whole `aiml up`."""

    def __init__(self, place: Path) -> None:
        self.data = place / "data"
        self._output = place / "output"
        ports = ("API_PORT", "FLOWER_PORT", "WORKER_METRICS_PORT", "BEAT_METRICS_PORT")
        named = {name: str(free_port(place)) for name in ports}
        self.url = f"http://127.0.0.1:{named['API_PORT']}"
        ours = {**named, **UNLIMITED, "EMBEDDING_PROVIDER": "mock", "DATA_DIR": str(self.data)}
        # As the command `env` takes them.
        self._variables = [f"MEMORY_{name}={value}" for name, value in ours.items()]
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, name: str) -> list[str]:
        """The command line of an `aiml` command for it."""
        return ["env", *self._variables, sys.executable, "-m", "cli.main", name]

    def start(self) -> None:
        """Start it, and wait until all is ready."""
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(self.command("up"), stdout=output, stderr=output)
        until = time.monotonic() + READY_SECONDS
        while b"Ctrl-C stops everything" not in self._output.read_bytes():
            if self.process.poll() is not None or time.monotonic() > until:
                raise click.ClickException(f"It did not start: {self._output.read_text()}")
            time.sleep(0.1)

    def parts(self) -> dict[str, psutil.Process]:
        """The process of each part."""
        found = {}
        for child in psutil.Process(self.process.pid if self.process else None).children():
            with contextlib.suppress(psutil.Error):
                name = child.cmdline()[-1]
                if name in PARTS:
                    found[name] = child
        return found

    def kill(self) -> None:
        """End what is left of it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """A service that runs."""
    with tempfile.TemporaryDirectory(prefix="memory-bench-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o755)
        found = Service(place)
        try:
            found.start()
            yield found
        finally:
            found.kill()


class Report:
    """A row for each thing that was done."""

    def __init__(self) -> None:
        self.table = Table("what", "seconds", "answers", "failed", "p50 ms", "p99 ms", "slowest ms")

    def add(self, what: str, seconds: float, heard: Heard) -> None:
        """Note what callers heard meanwhile."""
        failed = ", ".join(f"{count} {why}" for why, count in heard.failed.items()) or "0"
        times = [f"{heard.milliseconds(share):,.1f}" for share in (0.5, 0.99, 1.0)]
        self.table.add_row(what, f"{seconds:.1f}", f"{len(heard.taken):,}", failed, *times)


async def restart(found: Service) -> None:
    """Run `aiml restart` to its end."""
    process = await asyncio.create_subprocess_exec(*found.command("restart"))
    async with asyncio.timeout(RESTART_SECONDS):
        if await process.wait() != 0:
            raise click.ClickException("`aiml restart` has failed.")


async def hammer(found: Service, restarts: int, report: Report) -> tuple[list[str], int]:
    """All that is done under load: the ids that were acknowledged, and how much failed in vain."""
    callers = Callers(found.url, KEEPING, FRESH)
    callers.begin()
    await asyncio.sleep(CALM_SECONDS)
    report.add("calm", CALM_SECONDS, callers.turn())
    failed = 0
    for number in range(restarts):
        started = time.monotonic()
        await restart(found)
        # Who waits is to be heard, too.
        await asyncio.sleep(CALM_SECONDS)
        heard = callers.turn()
        failed += heard.failed.total()
        report.add(
            f"rolling restart {number + 1}", time.monotonic() - started - CALM_SECONDS, heard
        )
    found.parts()["api"].kill()
    started = time.monotonic()
    await asyncio.sleep(1.0)
    while "api" not in found.parts() or not callers.heard.taken:  # noqa: ASYNC110 - of others
        await asyncio.sleep(0.1)
    await asyncio.sleep(CALM_SECONDS)
    report.add(
        "the API killed (SIGKILL)", time.monotonic() - started - CALM_SECONDS, callers.turn()
    )
    callers.leave_at(LEFT.__contains__)
    await stop(found, report, callers)
    await callers.end()
    return callers.acknowledged, failed


async def stop(found: Service, report: Report, callers: Callers) -> None:
    """Have it stop; how long each part has taken, from the signal on."""
    started = time.monotonic()
    left = found.parts()
    found.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    async with asyncio.timeout(STOP_SECONDS):
        while found.process.poll() is None:  # type: ignore[union-attr]
            for name in [name for name, process in left.items() if not process.is_running()]:
                report.table.add_row(f"stopping: {name} ended", f"{time.monotonic() - started:.1f}")
                del left[name]
            await asyncio.sleep(0.05)
    report.add("stop (SIGTERM), all of it", time.monotonic() - started, callers.turn())


def missing(found: Service, acknowledged: list[str]) -> tuple[int, float, dict[str, int]]:
    """How many are not in the store, the seconds until all is embedded, and the states then."""
    started = time.monotonic()
    with psycopg.connect(stored_url(found.data), autocommit=True) as connection:
        row = connection.execute(FOUND, [acknowledged]).fetchone()
        while True:
            states = {str(state): int(count) for state, count in connection.execute(STATES)}
            seconds = time.monotonic() - started
            if states.keys() <= {"completed"} or seconds > EMBEDDED_SECONDS:
                break
            time.sleep(0.1)
    return len(acknowledged) - (int(row[0]) if row else 0), seconds, states


@click.command()
@click.option("--restarts", default=3, show_default=True, help="Rolling restarts.")
def main(restarts: int) -> None:
    """Restart and stop a service under load."""
    report = Report()
    with service() as found:
        acknowledged, failed = asyncio.run(hammer(found, restarts, report))
        found.start()
        lost, seconds, states = missing(found, acknowledged)
    console = Console()
    console.print(report.table)
    console.print(
        f"{len(acknowledged):,} messages were acknowledged, {lost} of them are not in the store;"
        f" {seconds:.1f} s after the next start it was so: {states}."
    )
    if failed or lost or states.keys() != {"completed"}:
        raise click.ClickException(f"{failed} requests failed in restarts, {lost} messages lost.")


if __name__ == "__main__":
    main()
