"""`aiml watch`: how the service is, in the terminal."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
from rich.console import Console
from rich.live import Live

from cli.readiness import url_of
from cli.watching.counts import History
from cli.watching.figures import REMEMBERED_SECONDS, figures
from cli.watching.findings import Finding, findings
from cli.watching.pages import Address, Part, read_all
from cli.watching.reading import Figures
from cli.watching.screen import Screen, plain
from memory.errors import SettingsError
from memory.settings import Settings, load_settings
from memory.values import split_list

SOMETHING_WRONG = 1
INTERRUPTED = 130
Command = TypeVar("Command", bound=Callable[..., Any])


class Watch:
    """Reads the processes time and again."""

    def __init__(self, addresses: Sequence[Address], key: str, interval: float) -> None:
        """`interval` is in seconds, from the beginning of a reading to that of the next."""
        self._addresses = addresses
        self._key = key
        self._interval = interval
        self._history = History(REMEMBERED_SECONDS)

    def readings(self) -> Iterator[tuple[Figures, list[Finding]]]:
        """A reading at once, without rates, and then one each interval."""
        while True:
            begun = time.monotonic()
            answers = read_all(self._addresses, self._key)
            pages = {each.address.url: each.page for each in answers if each.page}
            self._history.add(pages, time.monotonic())
            now = figures(answers, self._history, time.time())
            yield now, findings(now)
            time.sleep(max(0.0, begun + self._interval - time.monotonic()))


def checked_url(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> list[str]:
    """The addresses of pages; a process may be named without the page."""
    return [page_url(each) for each in given]


def checked_interval(_context: click.Context, _option: click.Parameter, given: float) -> float:
    """The seconds, when they are a number."""
    if math.isnan(given):
        raise click.BadParameter("that is no number.")
    return given


def address(part: Part, what: str) -> Callable[[Command], Command]:
    """An option for the addresses of a kind of process."""
    return click.option(
        f"--{part}", metavar="URL", multiple=True, callback=checked_url, help=f"{what}; repeatable."
    )


@click.command()
@address("api", "An API process, such as http://10.0.0.5:8000")
@address("worker", "A worker, such as http://10.0.0.6:9101")
@address("beat", "A beat, such as http://10.0.0.6:9102")
@click.option(
    "--key-file",
    type=click.File(),
    help="A file with an operator's key for the API, - for the standard input. Without one"
    " the first of MEMORY_API_KEYS is sent where MEMORY_METRICS_PUBLIC is false.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.5, 3_600),
    callback=checked_interval,
    default=2,
    show_default=True,
    help="Seconds between readings.",
)
@click.option("--once", is_flag=True, help="Print one reading and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one reading as JSON and end.")
def watch(
    api: list[str],
    worker: list[str],
    beat: list[str],
    key_file: IO[str] | None,
    interval: float,
    once: bool,
    as_json: bool,
) -> None:
    """Show how the service is: traffic, messages, queues, parts, and what is wrong.

    It reads the metrics pages of API, worker and beat on this machine; when any are named, those
    that are named and no others. Rates and percentiles are of the last minute.

    With --once or --json, or where the output is no terminal, it prints one reading: two looks,
    an interval apart. Then the exit code is 1 when something is wrong, and 0 when all is well.
    """
    settings = load_settings()
    named: dict[Part, list[str]] = {"api": api, "worker": worker, "beat": beat}
    given = [Address(part, url) for part, urls in named.items() for url in urls]
    addresses = list(dict.fromkeys(given)) or own(settings)
    watching = Watch(addresses, key_for(settings, key_file), interval)
    console = Console(highlight=False, markup=False, emoji=False)
    if once or as_json or console.is_dumb_terminal or not sys.stdout.isatty():
        print_one(watching, as_json=as_json)
    else:
        show(watching, console)


def print_one(watching: Watch, *, as_json: bool) -> None:
    """Print a reading and end with the exit code that it has."""
    try:
        readings = watching.readings()
        next(readings)
        now, found = next(readings)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if as_json:
        written = msgspec.json.encode({"findings": found, **msgspec.structs.asdict(now)})
        click.echo(msgspec.json.format(written, indent=2))
    else:
        click.echo(plain(now, found))
    sys.exit(SOMETHING_WRONG if found else 0)


def show(watching: Watch, console: Console) -> None:
    """Show readings until somebody ends it."""
    # The terminal is to be left as it was found, also by who is told to end.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, refresh_per_second=2) as live,
    ):
        for now, found in watching.readings():
            live.update(Screen(now, found), refresh=True)


def own(settings: Settings) -> list[Address]:
    """The processes of this machine, by its settings."""
    if not settings.metrics_enabled:
        raise SettingsError("MEMORY_METRICS_ENABLED=false: there are no metrics to look at")
    places: list[tuple[Part, str, int]] = [("api", settings.api_host, settings.api_port)]
    if settings.async_embeddings:
        places.append(("worker", settings.metrics_host, settings.worker_metrics_port))
        places.append(("beat", settings.metrics_host, settings.beat_metrics_port))
    # Port 0 is any that is free, and nobody here knows which.
    return [Address(part, page_url(url_of(host, port))) for part, host, port in places if port]


def page_url(given: str) -> str:
    """The address of a metrics page. Raises `click.BadParameter` for what is none."""
    try:
        url = urlsplit(given)
        HTTPConnection(url.hostname or "", url.port).close()
    except (ValueError, UnicodeError):
        raise click.BadParameter("that is no address.") from None
    if url.scheme not in ("http", "https") or not url.hostname:
        raise click.BadParameter("an address is such as http://127.0.0.1:8000.")
    if url.username is not None or url.query:
        raise click.BadParameter("a secret is not to stand in a command; see --key-file.")
    path = url.path.rstrip("/")
    return url._replace(path=path if path.endswith("/metrics") else f"{path}/metrics").geturl()


def key_for(settings: Settings, file: IO[str] | None) -> str:
    """The key to send to the API, empty for none."""
    if file is None:
        keys = [] if settings.metrics_public else split_list(settings.api_keys)
        return keys[0] if keys else ""
    key = file.readline().strip()
    if not key or not key.isascii() or not key.isprintable():
        raise click.UsageError("--key-file: its first line is to be a key.")
    return key
