"""Load by a client in a process of its own, and what each process of the service spent on it."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple, cast
from urllib.parse import urlsplit

import click
import msgspec

from bench.latency import percentile
from bench.speed.client import DIGITS, MARK, Heard, Load
from bench.speed.processes import Spent

WARM_SECONDS = 1.0
STOP_SECONDS = 10


class Answered(NamedTuple):
    """What a client heard, and the processor seconds of each process meanwhile, by its name."""

    heard: Heard
    busy: Mapping[str, float]

    @property
    def per_second(self) -> float:
        return len(self.heard.taken) / self.heard.seconds

    def milliseconds(self, share: float) -> float:
        """A percentile of the time of an answer."""
        return 1000 * percentile(self.heard.taken, share)

    def microseconds(self) -> dict[str, float]:
        """The processor time for each answer: of the client, and of each process."""
        busy = {"client": self.heard.busy, **self.busy}
        return {name: 1e6 * seconds / len(self.heard.taken) for name, seconds in busy.items()}


def http_request(
    url: str, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
) -> bytes:
    """A request as it goes over the wire; `MARK`s in it are counted as the digits they become."""
    length = len(body) - body.count(MARK) * (len(MARK) - DIGITS)
    sent = {"host": urlsplit(url).netloc, **headers}
    if body:
        sent |= {"content-type": "application/json", "content-length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class Loader:
    """Has clients send requests to one address; no two of its requests have the same number."""

    def __init__(
        self,
        url: str,
        pids: Mapping[str, int],
        warm_seconds: float = WARM_SECONDS,
        opening: bytes = b"",
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._pids = pids
        self._warm_seconds = warm_seconds
        self._opening = opening
        self._sent = 0

    def send(
        self,
        requests: Sequence[bytes],
        clients: int,
        seconds: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Answered:
        """Send for so long; `meanwhile` is called when the measured time begins.

        Raises `click.ClickException` when a request is refused, lost or late.
        """
        load = Load(
            self._host,
            self._port,
            clients,
            self._warm_seconds,
            seconds,
            list(requests),
            self._sent,
            self._opening,
        )
        with client(load) as (process, lines):
            if lines.readline() != b"begin\n":
                process.wait(STOP_SECONDS)
                raise click.ClickException("the client has failed: what it says is above")
            spent = Spent(self._pids)
            meanwhile()
            line = lines.readline()
            busy = spent.since()
        if not line:
            raise click.ClickException("the client has failed: what it says is above")
        heard = msgspec.json.decode(line, type=Heard)
        self._sent += heard.sent
        return Answered(heard, busy)


@contextmanager
def client(load: Load) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A client that has been told what to do, and its lines; it is gone in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.speed.client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        with cast("IO[bytes]", process.stdin) as told:
            told.write(msgspec.msgpack.encode(load))
        lines = cast("IO[bytes]", process.stdout)
        with lines:
            yield process, lines
    finally:
        process.kill()
        process.wait()


@contextmanager
def responder() -> Iterator[tuple[str, int]]:
    """A server that does nothing but answer: its URL and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.speed.responder"], stdout=subprocess.PIPE
    )
    try:
        with cast("IO[bytes]", process.stdout) as lines:
            yield f"http://127.0.0.1:{int(lines.readline())}", process.pid
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def client_alone(clients: int, seconds: float) -> Answered:
    """What a client does where nothing is to be waited for but it."""
    with responder() as (url, pid):
        request = http_request(
            url, "POST", "/", {}, b'{"content":"' + MARK + b" of many words" * 10 + b'"}'
        )
        return Loader(url, {"responder": pid}).send([request], clients, seconds)
