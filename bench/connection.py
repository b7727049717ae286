"""A keep-alive HTTP connection that costs next to nothing, so that it is the server one measures.

httpx takes about a millisecond of CPU a request, which 16 clients in one process would wait for.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

TIMEOUT_SECONDS = 60
CHUNK_BYTES = 65_536


@dataclass
class Answer:
    """What the server answered; header names in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    # The names that httptools calls while it parses.
    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


class Connection:
    """One connection to `url`, opened when first used; for one request at a time."""

    def __init__(self, url: str, headers: Mapping[str, str]):
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/")
        self._headers = {"host": parts.netloc, **headers}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to one request; raises `OSError` when it is lost or late."""
        sent = {**self._headers, **(headers or {}), "content-length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        head = f"{method} {self._path}{target} HTTP/1.1\r\n{lines}\r\n"
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._exchange(head.encode("latin-1") + body)
        except BaseException as error:
            self.close()
            if isinstance(error, httptools.HttpParserError):
                raise ConnectionError(f"what answers does not speak HTTP: {error}") from None
            raise

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        reader, writer = self._streams
        writer.write(request)
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            received = await reader.read(CHUNK_BYTES)
            if not received:
                raise ConnectionResetError("the connection was closed before the answer")
            parser.feed_data(received)
        answer.status = parser.get_status_code()
        if not parser.should_keep_alive():
            self.close()
        return answer
