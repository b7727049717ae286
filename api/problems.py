"""Every error as `application/problem+json` (RFC 9457), with the field at fault."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Scope
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from memory.errors import (
    EmbeddingError,
    EmbeddingRejectedError,
    EmbeddingSetupError,
    ForeignTenantError,
    IdempotencyConflictError,
    IdempotencyGoneError,
    InvalidFieldError,
    JobNotFoundError,
    KeyNotFoundError,
    MessageNotFoundError,
    StateConflictError,
)
from memory.limits import Standing

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:ai-memory-layer:problem:"
RETRY_LATER = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
LIMITED = {
    "address": "Too many requests from this address",
    "auth": "Too many wrong keys from this address",
    "key": "Too many requests with this key",
    "tenant": "Too many requests for this tenant",
    "messages": "Too many messages for this tenant",
}


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `index` counts in the messages of a batch."""

    field: str
    message: str
    index: int | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error as the caller sees it. `type` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] = []


class ProblemError(Exception):
    """An error that is answered as the problem `kind` with `status`."""

    retry_after_seconds = 1
    # How long the answer is held back.
    wait_seconds = 0.0

    def __init__(
        self, status: int, kind: str, detail: str, errors: list[FieldError] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.errors = errors or []


class UnavailableError(ProblemError):
    """The service cannot answer now; the same request may succeed in a moment."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "unavailable", detail)


class BusyError(ProblemError):
    """The service answers others now; the same request may succeed in a moment."""

    def __init__(self) -> None:
        super().__init__(503, "busy", "The service is busy with other requests. Try again soon.")


class TooManyRequestsError(ProblemError):
    """A limit is used up; the same request may succeed when `standing` says so."""

    def __init__(self, standing: Standing) -> None:
        kind = standing.hit.kind
        detail = f"{LIMITED.get(kind, kind)}: the limit is {standing.hit.limit.text}."
        super().__init__(429, "too-many-requests", detail)
        self.retry_after_seconds = max(1, math.ceil(standing.retry_after or 0))


def invalid(errors: list[FieldError]) -> ProblemError:
    """A 400 for `errors`, the first of them in the detail."""
    first = errors[0]
    place = "" if first.index is None else f"messages[{first.index}]."
    detail = f"{place}{first.field}: {first.message}" if first.field else first.message
    return ProblemError(400, "invalid-request", detail, errors)


def problem_error(error: Exception) -> ProblemError:
    """The problem that `error` is answered as; 500 for what nobody expected."""
    match error:
        case ProblemError():
            return error
        case InvalidFieldError(field=field, message=message):
            return invalid([FieldError(field, message)])
        case ValidationException():
            return invalid(_parameter_errors(error))
        case HTTPException(status_code=status, detail=detail):
            return _http_problem(status, detail)
        case MessageNotFoundError():
            return ProblemError(404, "not-found", "No such message.")
        case JobNotFoundError():
            return ProblemError(404, "not-found", "No such job.")
        case KeyNotFoundError():
            return ProblemError(404, "not-found", "No such key.")
        case ForeignTenantError():
            return ProblemError(403, "forbidden", "This key is for other tenants.")
        case StateConflictError():
            return ProblemError(409, "conflict", str(error))
        case IdempotencyConflictError():
            return ProblemError(422, "idempotency-conflict", str(error))
        case IdempotencyGoneError():
            return ProblemError(410, "gone", str(error))
        case EmbeddingRejectedError():
            # Whose text it is may know what the provider said of it.
            return ProblemError(422, "embedding-rejected", error.in_full)
        case EmbeddingSetupError():
            return UnavailableError(str(error))
        case EmbeddingError():
            return UnavailableError("The embedding provider does not answer now.")
        case RecursionError():
            return invalid([FieldError("", "The JSON is nested too deep.")])
        case PoolTimeoutError():
            # The database may be well: it is our connections that are all in use.
            return BusyError()
        case _ if database_is_away(error):
            return UnavailableError("The database does not answer now.")
    return ProblemError(500, "internal", "An error of the service; its log has the request id.")


def database_is_away(error: BaseException) -> bool:
    """Whether `error` says that the database is out of reach, overloaded or not migrated."""
    match error:
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            return True
        case ConnectionError() | TimeoutError():
            return True
        case ProgrammingError(orig=cause):
            return getattr(cause, "sqlstate", None) == "42P01"
        case DBAPIError(connection_invalidated=lost):
            return lost
    return False


def render(error: ProblemError, request_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to `error`."""
    problem = Problem(
        type=TYPE_PREFIX + error.kind,
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=str(error),
        request_id=request_id,
        errors=error.errors,
    )
    headers = {"content-type": MEDIA_TYPE}
    if error.status in RETRY_LATER:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return error.status, headers, msgspec.json.encode(problem)


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    status, headers, body = failure(request.scope, error)
    return Response(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def failure(scope: Scope, error: Exception) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a request that failed, which is noted."""
    problem = problem_error(error)
    caller_gone = scope.get("caller_gone")
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not caller_gone:
        log = structlog.get_logger(__name__)
        unexpected = problem.kind == "internal"
        # Why there is no vector is for the operator; other errors' words may be a caller's.
        reason = str(error) if isinstance(error, EmbeddingError) else type(error).__name__
        log.error("request_failed", reason=reason, exc_info=error if unexpected else None)
    status, headers, body = render(problem, str(scope.get("request_id", "")))
    if isinstance(error, HTTPException):
        headers = {**_kept(error.headers or {}), **headers}
    return status, headers, body


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() == "allow"}


def _http_problem(status: int, detail: str) -> ProblemError:
    kind = HTTPStatus(status).phrase.lower().replace(" ", "-")
    if status == HTTPStatus.NOT_FOUND:
        detail = "No such path."
    return ProblemError(
        status, "invalid-request" if status == HTTPStatus.BAD_REQUEST else kind, detail
    )


def _parameter_errors(error: ValidationException) -> list[FieldError]:
    missing = re.match(r"Missing required \w+ parameter '(\w+)'", error.detail)
    if missing:
        return [FieldError(missing[1], "is missing")]
    extra = error.extra if isinstance(error.extra, list) else []
    # A parameter whose name the framework keeps for itself has a final underscore in our code.
    found = [
        FieldError(str(entry.get("key", "")).rstrip("_"), str(entry.get("message", "")))
        for entry in extra
    ]
    return found or [FieldError("", str(error.detail))]
