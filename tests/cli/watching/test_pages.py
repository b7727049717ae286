"""Processes that answer, and all the ways in which others do not."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest

from api.probes import DATABASE_SECONDS, QUEUE_SECONDS
from cli.watching.counts import total
from cli.watching.pages import ANSWER_SECONDS, NO_ANSWER, Address, Answer, read_all
from memory.settings import Settings
from tests.conftest import serving
from tests.ports import free_port

KEY = "an-operators-key-that-is-long-enough"
Behave = Callable[[socket.socket], None]


@contextlib.contextmanager
def behaving(behave: Behave) -> Iterator[str]:
    """The URL of a server that does this with a connection, once it has the request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(10_000)
                        behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics"
        # An accept that waits is not ended by a close.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def answering(content: str, status: str = "200 OK") -> Behave:
    said = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    return lambda connection: connection.sendall(said.encode())


def asked(url: str, key: str = "") -> Answer:
    (answer,) = read_all([Address("api", url)], key)
    return answer


def drip(connection: socket.socket) -> None:
    """A byte now and then: each comes within a timeout, and all of them never."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"#")
        time.sleep(0.2)


def test_an_api_shows_its_page(api: httpx.Client) -> None:
    answer = asked(str(api.base_url.join("/metrics")))
    assert answer.reason == ""
    assert answer.page
    assert total(answer.page.gauges, "database_up") == 1


def test_an_api_whose_servers_hang_is_waited_for() -> None:
    assert ANSWER_SECONDS > DATABASE_SECONDS + QUEUE_SECONDS + 0.5


def test_nobody_listens() -> None:
    assert asked(f"http://127.0.0.1:{free_port()}/metrics").reason == "nobody listens there"


def test_a_host_that_there_is_not() -> None:
    assert asked("http://nowhere.invalid/metrics").reason in ("no such host", NO_ANSWER)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (answering("<html>It works!</html>"), "shows no metrics of this service"),
        (answering(""), "shows no metrics of this service"),
        (answering("up 1\n"), "shows no metrics of this service"),
        (answering("", "404 Not Found"), "has no metrics page (MEMORY_METRICS_ENABLED?)"),
        (answering("", "500 Internal Server Error"), "answers 500"),
        (answering("", "301 Moved Permanently"), "answers 301"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n"), "does not speak HTTP"),
        (lambda connection: None, "the connection broke"),
    ],
)
def test_who_answers_something_else(behave: Behave, reason: str) -> None:
    with behaving(behave) as url:
        answer = asked(url)
    assert (answer.page, answer.reason) == (None, reason)


def test_those_who_hang_are_waited_for_once_and_take_nothing_from_others(api: httpx.Client) -> None:
    well = str(api.base_url.join("/metrics"))
    with behaving(lambda connection: time.sleep(10)) as silent, behaving(drip) as dripping:
        begun = time.monotonic()
        answers = read_all([Address("api", url) for url in (silent, dripping, well)], "")
        took = time.monotonic() - begun
    assert [each.reason for each in answers] == [NO_ANSWER, NO_ANSWER, ""]
    assert took < ANSWER_SECONDS + 0.5
    names = [thread.name for thread in threading.enumerate() if "_ask" in thread.name]
    deadline = time.monotonic() + 3
    while names and time.monotonic() < deadline:
        time.sleep(0.05)
        names = [thread.name for thread in threading.enumerate() if "_ask" in thread.name]
    assert names == []


def test_a_page_that_is_not_for_all_wants_a_key(settings: Settings) -> None:
    private = msgspec.structs.replace(settings, metrics_public=False, api_keys=KEY)
    with serving(private) as client:
        url = str(client.base_url.join("/metrics"))
        assert asked(url).reason.startswith("wants a key (MEMORY_METRICS_PUBLIC=false with")
        assert asked(url, "another-key-of-the-same-length-or-so").reason == (
            "does not let this key in"
        )
        assert asked(url, KEY).page


def test_the_key_is_for_the_api_alone() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(10_000))

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/metrics"
        read_all([Address("worker", url)], KEY)
        listening.join(5)
    assert b"GET /metrics" in heard[0]
    assert KEY.encode() not in heard[0]
