"""What the framework does not know of the operations: every answer that each of them can give."""

from collections.abc import Iterator
from dataclasses import fields
from http import HTTPStatus

import msgspec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import OpenAPI

from api.door import PUBLIC
from api.problems import MEDIA_TYPE, Problem
from api.shapes import (
    EVENT,
    IDEMPOTENCY_KEY,
    METADATA_FILTER,
    ONE_SEARCH_OR_MANY,
    Node,
    metadata_schemas,
    path_schema,
    with_least,
)

Place = tuple[str, str]

# Whatever is asked: a parameter that there is none of, too many requests, no answer in time.
ALWAYS = (400, 403, 414, 429, 431, 503)
WITH_A_BODY = (413, 415)
# What only some of them answer.
MORE: dict[Place, tuple[int, ...]] = {
    ("post", "/v1/messages"): (410, 422),
    ("post", "/v1/messages/batch"): (410, 422),
    ("post", "/v1/memory/search"): (422,),
    ("get", "/v1/memory/search"): (422,),
    ("post", "/v1/jobs/{job_id}/cancel"): (409,),
    ("post", "/v1/jobs/{job_id}/retry"): (409,),
    ("post", "/v1/admin/keys/{key_id}/rotate"): (409,),
    ("post", "/v1/admin/embeddings/migrate"): (409,),
    ("post", "/v1/admin/embeddings/drop"): (409,),
    ("post", "/v1/admin/tenants/{tenant_id}/export"): (409,),
    ("get", "/v1/admin/tenants/{tenant_id}/export"): (416,),
    ("post", "/v1/admin/tenants/{tenant_id}/import"): (409,),
}
# Done by the time of the answer, 200, or still to be finished, 202.
NOW_OR_LATER: set[Place] = {
    ("post", "/v1/messages"),
    ("post", "/v1/messages/batch"),
    ("post", "/v1/messages/{message_id}/restore"),
    ("post", "/v1/admin/retention/run"),
    ("post", "/v1/admin/embeddings/retry"),
}
# Their 503 tells how the service is, as their 200 does.
SAY_HOW_IT_IS = {"/v1/admin/health", "/v1/admin/readiness"}
REPEATABLE: set[Place] = {("post", "/v1/messages"), ("post", "/v1/messages/batch")}

WHOLE = {"type": "integer", "minimum": 0}
HEADERS: dict[str, Node] = {
    "X-Request-ID": {"required": True, "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Requests that the nearest limit allows."},
    "X-RateLimit-Remaining": {"description": "Requests that are left of it."},
    "X-RateLimit-Reset": {"description": "Seconds until all of it can be used again."},
    "Retry-After": {"description": "Seconds to wait.", "required": True},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string"}},
    "Idempotency-Replayed": {"schema": {"const": "true"}},
    "Location": {"description": "Where the job is.", "schema": {"type": "string"}},
}
EVERYWHERE = ("X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


class WholeConfig(OpenAPIConfig):
    """The framework's configuration, for a document that tells all."""

    def to_openapi_schema(self) -> OpenAPI:
        """An empty document that completes itself when it is first asked for."""
        plain = super().to_openapi_schema()
        return WholeDocument(**{each.name: getattr(plain, each.name) for each in fields(plain)})


class WholeDocument(OpenAPI):
    """A document with what the framework leaves out."""

    def to_schema(self) -> Node:
        """The document as it is served."""
        return completed(super().to_schema())


def completed(document: Node) -> Node:
    """`document` with all answers, headers and parameters of its operations."""
    (problem,), parts = msgspec.json.schema_components(
        [Problem], ref_template="#/components/schemas/{name}"
    )
    components = document["components"]
    components.setdefault("schemas", {}).update(parts | metadata_schemas())
    components["headers"] = {name: {"schema": WHOLE, **each} for name, each in HEADERS.items()}
    refusals: set[int] = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            complete(operation, (method, path))
            refusals.update(refused(operation, (method, path)))
    components["responses"] = {name(status): refusal(status, problem) for status in refusals}
    return document


def complete(operation: Node, place: Place) -> None:
    """Add to `operation` what it does not say."""
    path = place[1]
    if is_public(path):
        operation["security"] = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter["schema"] = path_schema(parameter["name"])
    if place in REPEATABLE:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    if place == ("get", "/v1/memory/search"):
        operation["parameters"] = [*map(with_least, operation["parameters"]), METADATA_FILTER]
    if place == ("post", "/v1/memory/search"):
        operation["requestBody"]["content"]["application/json"]["schema"] |= ONE_SEARCH_OR_MANY
    answers = {status: each for status, each in operation["responses"].items() if status < "3"}
    if place in NOW_OR_LATER:
        answers = now_and_later(next(iter(answers.values())))
    for status, answer in answers.items():
        if "text/event-stream" in answer["content"]:
            answer["content"]["text/event-stream"]["schema"] = EVENT
        answer["description"] = "Accepted: what is left follows." if status == "202" else "Done."
        answer["headers"] = headers(*EVERYWHERE, *own_headers(status, place, answer))
    refusals: Node = {
        str(status): {"$ref": f"#/components/responses/{name(status)}"}
        for status in refused(operation, place)
    }
    if path in SAY_HOW_IT_IS:
        refusals["503"] = with_problem(answers["200"])
    operation["responses"] = answers | refusals


def refused(operation: Node, place: Place) -> Iterator[int]:
    """The statuses of the problems that an operation may answer with."""
    yield from ALWAYS
    yield from MORE.get(place, ())
    if not is_public(place[1]):
        yield 401
    if "{" in place[1]:
        yield 404
    if "requestBody" in operation:
        yield from WITH_A_BODY


def refusal(status: int, problem: Node) -> Node:
    """The answer with a problem of this status."""
    more = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    return {
        "description": HTTPStatus(status).phrase,
        "headers": headers(*EVERYWHERE, *more.get(status, [])),
        "content": {MEDIA_TYPE: {"schema": problem}},
    }


def now_and_later(answer: Node) -> dict[str, Node]:
    """The answers 200 and 202; where they differ, the framework names one, then the other."""
    media = answer["content"]["application/json"]
    kinds = media["schema"].get("oneOf", [media["schema"]])
    return {
        status: {**answer, "content": {"application/json": {**media, "schema": kind}}}
        for status, kind in (("200", kinds[0]), ("202", kinds[-1]))
    }


def with_problem(answer: Node) -> Node:
    """A 503 with what a 200 tells, or with the problem that there was."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "description": HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        "headers": headers(*EVERYWHERE),
        "content": answer["content"] | problem,
    }


def own_headers(status: str, place: Place, answer: Node) -> Iterator[str]:
    """What an answer has beside the headers of all."""
    if place in REPEATABLE:
        yield "Idempotency-Replayed"
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if status == "202" and str(schema.get("$ref", "")).endswith("/Job"):
        yield "Location"


def headers(*names: str) -> Node:
    """References to headers that all share."""
    return {each: {"$ref": f"#/components/headers/{each}"} for each in names}


def name(status: int) -> str:
    """What the answer of a status is called in the document, such as `TooManyRequests`."""
    return "".join(filter(str.isalpha, HTTPStatus(status).phrase.title()))


def is_public(path: str) -> bool:
    """Whether this path needs no key."""
    return path in PUBLIC
