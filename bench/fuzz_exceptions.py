"""Where the document cannot say all: what schemathesis may see refused, each with its reason.

Loaded by schemathesis itself. Its check `positive_data_acceptance` knows of statuses only, and to
allow 400 would be to check nothing; this one stands for it and lets just these problems through.
"""

import re
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.transport.serialization import serialize_binary

# Operation, how the problem's detail begins, and why the document does not forbid the request.
EXCEPTIONS = (
    (
        r"(GET|POST) /v1/memory/search",
        r"rerank: cross_encoder is not set up here",
        "which rerankers there are is the deployment's",
    ),
    (
        r"(GET|POST) /v1/memory/search",
        r"(w_\w+|half_life_days): (does not go with mode=semantic|is 0, and so are )",
        "fields that exclude each other, by their values",
    ),
    (
        r"GET /v1/memory/search",
        r"metadata\.\S*: asks for a value where another",
        "two parameters that contradict each other",
    ),
    (
        r"POST /v1/messages(/batch)?",
        r"This Idempotency-Key was used with another body",
        "depends on an earlier request",
    ),
    (
        r"POST /v1/messages/batch",
        r"Idempotency-Key: goes with messages of one tenant",
        "a header and the equality of fields",
    ),
    (
        r"PUT /v1/admin/tenants/\{tenant_id\}/settings",
        r"\w+: is 0, and so are (the|its) other weights",
        "a sum of fields",
    ),
    (
        r"POST /v1/admin/embeddings/drop",
        r"(name|dimensions): ",
        "which models there are is the store's",
    ),
    (
        r"POST /v1/admin/embeddings/migrate",
        r"(provider|model|dimensions): ",
        "which providers work here is the deployment's",
    ),
    (
        r"POST /v1/admin/embeddings/retry",
        r"message_ids: goes with the tenant_id",
        "a field that needs another",
    ),
    (
        r"POST /v1/admin/retention/run",
        r"(list: goes with|after: )",
        "fields that need another, and a cursor that only the service can make",
    ),
    (
        r"POST /v1/admin/keys(/\{key_id\}/rotate)?",
        r"expires_at: must be a time to come",
        "a time that depends on the clock",
    ),
    (
        r"POST /v1/admin/keys",
        r"(tenants: are all with|rate_limit: )",
        "`*` goes with no other tenant; a limit is written as the limits library reads it",
    ),
    (
        r"(POST|PUT) .*",
        r"\S+: Expected `int( \| null)?`, got `float`",
        "JSON Schema takes 7.0 for an integer; the service takes integers without a fraction",
    ),
    (
        r"POST /v1/admin/tenants/\{tenant_id\}/import",
        r"",
        "a file, whose format no schema describes",
    ),
    (
        r"(POST|PUT) .*",
        r"\S*metadata: is (larger than|nested over)",
        "a size in bytes, and a depth",
    ),
)


@schemathesis.serializer("application/gzip", "application/x-ndjson")
def file_as_it_is(
    ctx: schemathesis.SerializationContext,  # noqa: ARG001
    value: Any,
) -> bytes:
    """A body that is bytes, sent as it was made up."""
    return serialize_binary(value)


@schemathesis.check
def valid_data_accepted(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """A request that the document allows is done, save for the exceptions."""
    if response.status_code in (400, 422):
        detail = str(response.json().get("detail", ""))
        if is_excepted(case.operation.label, detail):
            return None
    return positive_data_acceptance(ctx, response, case)


def is_excepted(operation: str, detail: str) -> bool:
    """Whether a problem of `operation` with this detail is one that the document cannot foresee."""
    return any(
        re.fullmatch(label, operation) and re.match(beginning, detail)
        for label, beginning, _ in EXCEPTIONS
    )
