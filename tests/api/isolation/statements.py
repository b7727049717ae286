"""What is sent to PostgreSQL: recorded by request, and changed on its way by who wants to see."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import structlog
from sqlalchemy import Connection, Engine, event

from db.pipelined import Pipelined

NAME = re.compile(r"/\* (\w+) \*/")
# What a key is asked for once in two seconds, whoever presents it.
OF_THE_DOOR = {"api_key", "any_api_key"}
SEND = Pipelined._send


class Sent(NamedTuple):
    """A statement on its way, by whose role and for which request, empty for none."""

    role: str
    request_id: str
    name: str
    text: str


# Gives what is sent in its place.
Change = Callable[[Sent, Any], tuple[str, Any]]


class Statements:
    """All statements of the engines of this process, while the block of `watched` lasts."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.change: Change | None = None

    @contextmanager
    def watched(self) -> Iterator["Statements"]:
        """Listen to every engine there is and will be."""
        event.listen(Engine, "begin", begin)
        event.listen(Engine, "before_cursor_execute", self._pass, retval=True)
        Pipelined._send = staticmethod(self._send)  # type: ignore[method-assign]
        try:
            yield self
        finally:
            Pipelined._send = staticmethod(SEND)  # type: ignore[method-assign]
            event.remove(Engine, "before_cursor_execute", self._pass)
            event.remove(Engine, "begin", begin)

    def of_request(self, request_id: str) -> list[tuple[str, str]]:
        """By role, the statements that a request has sent beside those of the door."""
        return [
            (each.role, each.text)
            for each in self.sent
            if each.request_id == request_id and each.name not in OF_THE_DOOR
        ]

    def _pass(
        self, connection: Connection, cursor: Any, text: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        sent = self._note(role_of(connection), text)
        if sent.name == "as_api":
            connection.info["role"] = "memory_api"
        return self.change(sent, parameters) if self.change else (text, parameters)

    async def _send(
        self, connection: psycopg.AsyncConnection[Any], text: str, parameters: Any
    ) -> psycopg.AsyncCursor[Any]:
        sent = self._note(own_role(connection), text)
        changed = self.change(sent, parameters) if self.change else (text, parameters)
        return await SEND(connection, *changed)

    def _note(self, role: str, text: str) -> Sent:
        request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        named = NAME.search(text)
        name = named.group(1) if named else " ".join(text.split())
        sent = Sent(role, request_id, name, text)
        self.sent.append(sent)
        return sent


def begin(connection: Connection) -> None:
    """A new transaction is in the role of its connection."""
    connection.info.pop("role", None)


def role_of(connection: Connection) -> str:
    """The role that a transaction of the service is in; the owner's have none."""
    driver: Any = connection.connection.driver_connection
    return str(connection.info.get("role", own_role(driver)))


def own_role(driver: Any) -> str:
    """The role that a connection of the service was made for."""
    return str(driver.info.get_parameters().get("application_name", ""))
