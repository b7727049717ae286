"""An embedding provider with OpenAI's API, told how to fail."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from memory.embedding.mock import MockEmbedder

Failing = Literal["", "failing", "limiting", "dimensions", "not numbers", "no JSON", "slow"]
STATUSES: dict[str, tuple[int, dict[str, str]]] = {
    "failing": (500, {}),
    "limiting": (429, {"Retry-After": "1"}),
}
SLOW_SECONDS = 2.5

Overhear = Callable[[int, list[str]], None]


class Provider:
    """Vectors of the words of a text. `failing` says what is wrong with it.

    Each of `overhear` is told the port of who asks, and the texts, before there is an answer.
    """

    def __init__(self) -> None:
        self.failing: Failing = ""
        self.overhear: list[Overhear] = []
        self.released = threading.Event()
        self.url = ""

    def answer(self, port: int, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for what is asked from `port`."""
        texts: list[str] = asked["input"]
        for each in list(self.overhear):
            each(port, texts)
        failing = self.failing
        if failing == "slow":
            self.released.wait(SLOW_SECONDS)
        if failing in STATUSES:
            status, headers = STATUSES[failing]
            return status, headers, b'{"error": {"message": "told to"}}'
        if failing == "no JSON":
            return 200, {}, b"<html>It works!</html>"
        dimensions = int(asked.get("dimensions", 64)) - (failing == "dimensions")
        vectors = MockEmbedder(dimensions).embed(texts).tolist()
        if failing == "not numbers":
            vectors[-1][0] = math.nan
        data = [{"index": index, "embedding": each} for index, each in enumerate(vectors)]
        return 200, {}, json.dumps({"object": "list", "model": "m", "data": data}).encode()


class Handler(BaseHTTPRequestHandler):
    """Has its server's provider answer."""

    protocol_version = "HTTP/1.1"
    # Or each answer waits for an acknowledgement.
    disable_nagle_algorithm = True
    server: "Server"

    def do_POST(self) -> None:
        """Answer what is asked."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, body = self.server.provider.answer(self.client_address[1], asked)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one_request(self) -> None:
        """Answer one request; who asks may be killed at any moment."""
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Listens on a free port for `provider`."""

    daemon_threads = True

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider that listens until the block ends."""
    provider = Provider()
    server = Server(provider)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
