"""`/v1/memory`: finding the messages that matter."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.enums import MediaType
from litestar.params import QueryParameter, RawBody

from api.answering import answers_of
from api.bodies import check_json, read_search, search_request
from api.entry import READ
from api.openapi import documented_body
from api.runtime import NamedRuntime
from memory.errors import InvalidFieldError
from memory.messages import TENANT_PATTERN, Role
from memory.rerank.protocol import RerankerName
from memory.search import CONTEXT_MAX, TOP_K_MAX, Mode, SearchAnswer, SearchAnswers, SearchRequest

PATH = "/v1/memory/search"
# Percent-encoded, each may take twelve bytes of the 64 KiB that a URL may have.
QUERY_MAX_CHARS = 5_000
METADATA = "metadata."
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

HttpRequest = Request[Any, Any, Any]
Share = Annotated[float | None, QueryParameter(ge=0, le=1)]
Weight = Annotated[float | None, QueryParameter(ge=0, le=1000)]


@get(PATH, tags=["search"], opt=READ, open_parameters=METADATA)
async def search(
    request: HttpRequest,
    runtime: NamedRuntime,
    tenant_id: Annotated[str, QueryParameter(min_length=1, max_length=64, pattern=TENANT_PATTERN)],
    query_: Annotated[str, QueryParameter(name="query", min_length=1, max_length=QUERY_MAX_CHARS)],
    top_k: Annotated[int, QueryParameter(ge=1, le=TOP_K_MAX)] = 5,
    mode: Annotated[Mode, QueryParameter()] = "hybrid",
    context: Annotated[int, QueryParameter(ge=0, le=CONTEXT_MAX)] = 0,
    explain: Annotated[bool, QueryParameter()] = False,
    conversation_id: Annotated[str | None, QueryParameter(min_length=1, max_length=128)] = None,
    role: Annotated[list[Role] | None, QueryParameter()] = None,
    importance_min: Share = None,
    created_after: Annotated[datetime | None, QueryParameter()] = None,
    created_before: Annotated[datetime | None, QueryParameter()] = None,
    include_archived: Annotated[bool, QueryParameter()] = False,
    rerank: Annotated[RerankerName | None, QueryParameter()] = None,
    w_relevance: Weight = None,
    w_importance: Weight = None,
    w_recency: Weight = None,
    half_life_days: Annotated[float | None, QueryParameter(gt=0, le=100_000)] = None,
) -> Response[SearchAnswer]:
    """The messages of a tenant that answer `query` best, best first.

    `metadata.KEY=VALUE` keeps to messages whose metadata has that value there; a dot leads into
    an object. A value that reads as JSON, as 5, true or "5", is that; all else is text.
    """
    check_times(request)
    asked = search_request(
        tenant_id=tenant_id,
        query=query_,
        top_k=top_k,
        mode=mode,
        context=context,
        explain=explain,
        conversation_id=conversation_id,
        role=role,
        importance_min=importance_min,
        created_after=created_after,
        created_before=created_before,
        metadata=metadata_filter(request.query_params.multi_items()),
        include_archived=include_archived,
        rerank=rerank,
        w_relevance=w_relevance,
        w_importance=w_importance,
        w_recency=w_recency,
        half_life_days=half_life_days,
    )
    return encoded((await answers_of(request.scope, runtime, asked, [query_]))[0])


@post(
    PATH,
    operation_class=documented_body(SearchRequest),
    status_code=200,
    tags=["search"],
    opt=READ,
)
async def search_by_body(
    request: HttpRequest, runtime: NamedRuntime, body: RawBody
) -> Response[SearchAnswer | SearchAnswers]:
    """As GET, for long queries; with `queries` up to 32 searches in one scope."""
    check_json(request)
    asked = read_search(body)
    if asked.query is not None:
        return encoded((await answers_of(request.scope, runtime, asked, [asked.query]))[0])
    answers = await answers_of(request.scope, runtime, asked, asked.queries or [])
    return encoded(b'{"results":[%b]}' % b",".join(answers))


def encoded(body: bytes) -> Response[Any]:
    """The answer with a body that is JSON already."""
    return Response(body, media_type=MediaType.JSON)


def check_times(request: HttpRequest) -> None:
    """Raise `InvalidFieldError` for a bare number, which the framework takes for seconds."""
    for name in ("created_after", "created_before"):
        if not DATE.match(request.query_params.get(name, "2026-11-21")):
            raise InvalidFieldError(name, "is not a time such as 2026-11-21T09:00:00Z")


def metadata_filter(given: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """What the `metadata.` parameters of `given` ask for, as the metadata would have it.

    Raises `InvalidFieldError` when no metadata can have two of them at once.
    """
    metadata: dict[str, Any] = {}
    for name, value in given:
        if name.startswith(METADATA):
            *path, last = name.removeprefix(METADATA).split(".")
            place = metadata
            for step in path:
                place = place.setdefault(step, {})
                if not isinstance(place, dict):
                    raise InvalidFieldError(name, "asks for a value where another asks for one")
            if last in place:
                raise InvalidFieldError(name, "asks for a value where another asks for one")
            place[last] = scalar(value)
    return metadata or None


def scalar(text: str) -> Any:
    """`text` as the JSON scalar that it reads as, or else as text."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return text if isinstance(value, dict | list) else value
