"""A server that is told to stop: what it answers until then, and to whom."""

import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from sqlalchemy import Connection, text

from api.app import create_app
from api.server import Server, Times
from api.signals import HAND_OVER
from memory.settings import Settings
from tests.conftest import message
from tests.processes import wait_until


class Served:
    """An API that runs in a thread of this process, and is told signals by hand."""

    def __init__(self, settings: Settings, times: Times) -> None:
        self.server = Server(create_app(settings), "127.0.0.1", 0, times)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_until(lambda: self.server.started, "the API has started")
        self.port = int(self.server.servers[0].sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, number: int) -> None:
        self.server.handle_exit(number, None)

    @property
    def ended(self) -> bool:
        return not self.thread.is_alive()

    @property
    def lets_in(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except ConnectionRefusedError:
            return False
        return True


@contextmanager
def served(settings: Settings, times: Times) -> Iterator[Served]:
    api = Served(settings, times)
    try:
        yield api
    finally:
        api.tell(signal.SIGTERM)
        api.tell(signal.SIGTERM)
        wait_until(lambda: api.ended, "the API has ended")


@contextmanager
def at_hand(api: Served, owner: Connection) -> Iterator[Future[httpx.Response]]:
    """A POST that is not answered before this ends: somebody holds the table."""
    with ThreadPoolExecutor(1) as pool, ExitStack() as locked:
        owner.execute(text("begin"))
        locked.callback(owner.execute, text("rollback"))
        owner.execute(text("lock table messages"))
        posted = pool.submit(httpx.post, f"{api.url}/v1/messages", json=message(), timeout=30)
        waiting = text("select count(*) from pg_locks where not granted")
        wait_until(lambda: owner.scalar(waiting), "the POST waits")
        yield posted


def test_readiness_falls_first_and_all_is_answered_meanwhile(settings: Settings) -> None:
    with served(settings, Times(drain=60)) as api, httpx.Client(base_url=api.url) as client:
        assert client.get("/v1/admin/readiness").status_code == 200
        api.tell(signal.SIGTERM)
        wait_until(lambda: client.get("/v1/admin/readiness").status_code == 503, "it falls")
        fallen = httpx.get(f"{api.url}/v1/admin/readiness")
        assert fallen.json()["reasons"] == ["The process is about to stop."]
        assert fallen.headers["retry-after"] == "1"
        posted = client.post("/v1/messages", json=message())
        assert posted.status_code == 202
        assert posted.headers["connection"] == "close"
        api.tell(signal.SIGTERM)
        wait_until(lambda: api.ended, "the second signal has hurried it", 20)


def test_a_request_at_hand_is_answered(settings: Settings, owner: Connection) -> None:
    with served(settings, Times()) as api:
        with at_hand(api, owner) as posted:
            api.tell(signal.SIGTERM)
            wait_until(lambda: not api.lets_in, "nobody new is let in")
            assert not posted.done()
        assert posted.result().status_code == 202
        wait_until(lambda: api.ended, "the API has ended")


@pytest.mark.parametrize("hurried", [False, True])
def test_what_does_not_end_is_cut(settings: Settings, owner: Connection, hurried: bool) -> None:
    times = Times(stop=60 if hurried else 0.2)
    with served(settings, times) as api, at_hand(api, owner) as posted:
        api.tell(signal.SIGTERM)
        if hurried:
            wait_until(lambda: not api.lets_in, "nobody new is let in")
            api.tell(signal.SIGTERM)
        assert posted.result().status_code == 503
        assert "stopped before this was done" in posted.result().text
        assert posted.result().headers["retry-after"]
        wait_until(lambda: api.ended, "the API has ended", 20)


def test_who_has_a_connection_is_answered_once_more_when_another_takes_over(
    settings: Settings,
) -> None:
    with served(settings, Times(keep_alive=60)) as api:
        used, unused = (http.client.HTTPConnection("127.0.0.1", api.port) for _ in range(2))
        used.request("GET", "/v1/admin/live")
        assert used.getresponse().read()
        unused.connect()
        wait_until(lambda: len(api.server.server_state.connections) == 2, "both are known")
        api.tell(HAND_OVER)
        wait_until(lambda: not api.lets_in, "nobody new is let in")
        for connection in (used, unused):
            connection.request("GET", "/v1/admin/readiness")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        wait_until(lambda: api.ended, "nobody is left, so it has ended", 20)


def test_a_connection_without_a_request_is_not_waited_for_for_ever(settings: Settings) -> None:
    with (
        served(settings, Times(keep_alive=0.3)) as api,
        socket.create_connection(("127.0.0.1", api.port)) as idle,
    ):
        wait_until(lambda: api.server.server_state.connections, "it is known")
        api.tell(HAND_OVER)
        wait_until(lambda: api.ended, "the API has ended", 20)
        assert idle.recv(1) == b""
