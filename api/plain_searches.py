"""Searches by URL that nothing is odd about."""

from typing import Any
from urllib.parse import parse_qsl

from litestar.types import HTTPScope

from api.answering import answers_of
from api.bodies import search_request
from api.memory import PATH, QUERY_MAX_CHARS
from api.problems import ProblemError
from api.runtime import Runtime
from memory.access import Caller
from memory.errors import MemoryLayerError
from memory.search import SearchRequest

NUMBERS = frozenset({"top_k", "context"})
TEXTS = frozenset({"tenant_id", "query", "mode", "conversation_id"})
TRUTH = {"true": True, "false": False}


async def found(scope: HTTPScope, runtime: Runtime, asked: SearchRequest) -> bytes:
    """The answer to a search, in JSON. Raises what the handler raises."""
    scope["path_template"] = PATH
    (body,) = await answers_of(scope, runtime, asked, [asked.query or ""])
    return body


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
    return asked if plain and asked.query is not None else None


def plain_value(name: str, value: str) -> Any:
    """The value of a parameter; raises `ValueError` for one that is not plain."""
    if name in TEXTS:
        return value
    if name in NUMBERS and value.isascii() and value.isdecimal():
        return int(value)
    if name == "explain" and value in TRUTH:
        return TRUTH[value]
    raise ValueError(name)
