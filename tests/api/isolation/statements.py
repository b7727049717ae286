"""What is sent to PostgreSQL: recorded by request, and changed on its way by who wants to see."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine, event

NAME = re.compile(r"/\* (\w+) \*/")
# What a key is asked for once in two seconds, whoever presents it.
OF_THE_DOOR = {"api_key", "any_api_key"}


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
        try:
            yield self
        finally:
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
        request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        named = NAME.search(text)
        name = named.group(1) if named else " ".join(text.split())
        sent = Sent(role_of(connection), request_id, name, text)
        self.sent.append(sent)
        if name == "as_api":
            connection.info["role"] = "memory_api"
        return self.change(sent, parameters) if self.change else (text, parameters)


def begin(connection: Connection) -> None:
    """A new transaction is in the role of its connection."""
    connection.info.pop("role", None)


def role_of(connection: Connection) -> str:
    """The role that a transaction of the service is in; the owner's have none."""
    driver: Any = connection.connection.driver_connection
    own = str(driver.info.get_parameters().get("application_name", ""))
    return str(connection.info.get("role", own))
