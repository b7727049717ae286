"""The memory service as the bench sees it: JSON over a few connections, asked again when away."""

import asyncio
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import msgspec

from bench.connection import Answer, Connection

CONNECTIONS = 4
ATTEMPTS = 60
PAUSE_SECONDS = 0.5
BUSY = 503
LIMITED = 429


class ServiceError(Exception):
    """The service does not answer as it should; the text is one line."""


class RefusedError(ServiceError):
    """The service refuses a request: its status and its reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(f"{status}: {reason}")
        self.status = status


class Service:
    """A running service, asked over `CONNECTIONS` connections at most."""

    def __init__(self, url: str, key: str | None = None):
        if not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", url):
            raise ServiceError(f"{url!r} is no URL of a service, such as http://127.0.0.1:8000")
        self.url = url
        self.headers = {"x-api-key": key} if key else {}
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(Connection(url, self.headers))

    async def __aenter__(self) -> Self:
        """Make sure that it is there, without the patience that a later outage gets."""
        await self._asked("GET", "/v1/admin/live", attempts=3)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    async def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """The JSON of an answer to a GET; raises `RefusedError` for a status of 400 and above."""
        return _read(await self._asked("GET", target(path, parameters)))

    async def post(self, path: str, content: Any, key: str) -> tuple[Any, bool]:
        """The JSON of an answer to a POST, and whether it was a replay.

        The idempotency `key` makes asking again after a lost answer harmless.
        """
        headers = {"content-type": "application/json", "idempotency-key": key}
        answer = await self._asked("POST", path, msgspec.json.encode(content), headers)
        return _read(answer), answer.headers.get("idempotency-replayed") == "true"

    async def _asked(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        attempts: int = ATTEMPTS,
    ) -> Answer:
        reason = ""
        for _ in range(attempts):
            connection = await self._idle.get()
            try:
                answer = await connection.request(method, path, body, headers)
            except OSError as error:
                reason = str(error) or type(error).__name__
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            finally:
                self._idle.put_nowait(connection)
            if answer.status == LIMITED:
                raise ServiceError(
                    f"{self.url} limits how much may be asked ({refusal(answer)}). Start it with"
                    " MEMORY_GLOBAL_RATE_LIMIT= MEMORY_TENANT_RATE_LIMIT= (both empty: off)"
                )
            if answer.status != BUSY:
                return answer
            reason = str(answer.status)
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))
        raise ServiceError(
            f"{self.url} does not answer {method} {path.partition('?')[0]}: {reason}"
        )


def target(path: str, parameters: Mapping[str, str | int] | None) -> str:
    """`path` with its query."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def _read(answer: Answer) -> Any:
    if answer.status >= 400:
        raise RefusedError(answer.status, refusal(answer))
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        raise ServiceError(f"what answers is no memory service: {answer.body[:80]!r}") from None


def refusal(answer: Answer) -> str:
    """The reason that an answer of 400 and above gives."""
    try:
        return str(msgspec.json.decode(answer.body)["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return answer.body[:80].decode(errors="replace") or "no reason given"
