"""Plain searches by URL, past the framework, which takes longer than to answer one that is kept."""

from typing import Any
from urllib.parse import parse_qsl

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from api.answering import answers_of
from api.bodies import search_request
from api.memory import PATH, QUERY_MAX_CHARS
from api.problems import ProblemError, failure
from api.runtime import Runtime
from memory.access import Caller
from memory.errors import MemoryLayerError
from memory.search import SearchRequest

NUMBERS = frozenset({"top_k", "context"})
TEXTS = frozenset({"tenant_id", "query", "mode", "conversation_id"})
TRUTH = {"true": True, "false": False}


class PlainSearches:
    """An ASGI application before the framework's: answers the searches that nothing is wrong with.

    Whatever has a parameter of another kind, or would be refused, goes on to the framework.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self.framework = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a search, or pass it on."""
        asked = plain_search(scope) if scope["type"] == ScopeType.HTTP else None
        if asked is None or asked.query is None:
            await self.framework(scope, receive, send)
            return
        scope["path_template"] = PATH
        status, headers = 200, {"content-type": "application/json"}
        try:
            (body,) = await answers_of(scope, self._runtime, asked, [asked.query])
        except Exception as error:
            status, headers, body = failure(scope, error)
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        named.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def plain_search(scope: HTTPScope) -> SearchRequest | None:
    """The search that a request is; None for one that is none, or that the framework is to see."""
    if scope["path"] != PATH or scope["method"] != "GET":
        return None
    caller: Caller | None = scope.get("caller")  # type: ignore[assignment]
    if caller is None or "read" not in caller.scopes:
        return None
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict"
        )
        values = {name: plain_value(name, value) for name, value in pairs}
        asked = search_request(**values)
    except (ValueError, ProblemError, MemoryLayerError):
        return None
    plain = len(values) == len(pairs) and len(asked.query or "") <= QUERY_MAX_CHARS
    return asked if plain else None


def plain_value(name: str, value: str) -> Any:
    """The value of a parameter; raises `ValueError` for one that is not plain."""
    if name in TEXTS:
        return value
    if name in NUMBERS and value.isascii() and value.isdecimal():
        return int(value)
    if name == "explain" and value in TRUTH:
        return TRUTH[value]
    raise ValueError(name)
