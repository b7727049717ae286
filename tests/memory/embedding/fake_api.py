"""The embedding APIs of Google and OpenAI on a free port of this machine, told what to answer."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Vector = list[float]
DIMENSIONS = 8


@dataclass(frozen=True)
class Answer:
    """What to answer one request; without a body, the vectors of its texts."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    vectors: Callable[[list[str]], list[Vector]] | None = None
    silent: float = 0.0
    """Seconds before it answers."""


@dataclass(frozen=True)
class Request:
    """What was asked."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        if "requests" in self.body:
            return [one["content"]["parts"][0]["text"] for one in self.body["requests"]]
        texts: list[str] = self.body["input"]
        return texts


class FakeApi:
    """Answers with `answers` in turn, then properly."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.released = threading.Event()
        self.url = ""

    def respond(self, request: Request) -> tuple[int, dict[str, str], Any]:
        """Note the request; the status, headers and body of its answer."""
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else Answer()
        self.released.wait(answer.silent)
        if answer.body is not None or answer.status != 200:
            return answer.status, answer.headers, answer.body or {}
        vectors = (answer.vectors or vectors_of)(request.texts)
        if "requests" in request.body:
            return 200, answer.headers, {"embeddings": [{"values": one} for one in vectors]}
        data = [{"index": i, "embedding": one} for i, one in enumerate(vectors)]
        # The API promises an index, not an order.
        return 200, answer.headers, {"object": "list", "model": "m", "data": data[::-1]}


def vectors_of(texts: list[str]) -> list[Vector]:
    """Not of unit length; the angle of the first two components tells the text's number."""
    return [[3 * math.cos(number(t)), 3 * math.sin(number(t))] + [0.0] * 6 for t in texts]


def number(text: str) -> float:
    """`text 17` gives 0.017."""
    last = text.split()[-1:] or [""]
    return int(last[0]) / 1000 if last[0].isdecimal() else 1.0


@contextmanager
def serving() -> Iterator[FakeApi]:
    """A fake that listens until the block ends."""
    api = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, extra, answer = api.respond(Request(self.path, headers, body))
            sent = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **extra}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        api.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
