"""Which web pages may read the answers: CORS, on every answer that there is."""

from collections.abc import Mapping

import structlog
from litestar.types import HTTPScope

from api.problems import ProblemError
from memory.settings import Settings
from memory.values import split_list

Headers = list[tuple[bytes, bytes]]

METHODS = b"GET, POST, PUT, DELETE"
# A page may send these. Named one by one: an asterisk would leave `Authorization` out.
SENT = (
    b"Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent,"
    b" X-API-Key, X-Request-ID"
)
# And read these, beside the few that every page may.
READ = (
    b"Idempotency-Replayed, Location, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining,"
    b" X-RateLimit-Reset, X-Request-ID"
)
PREFLIGHT_SECONDS = b"600"
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", METHODS),
    (b"access-control-allow-headers", SENT),
    (b"access-control-max-age", PREFLIGHT_SECONDS),
]
ANY = "*"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


class Origins:
    """The origins of `MEMORY_ALLOWED_ORIGINS`. No page is ever told to send credentials."""

    def __init__(self, settings: Settings) -> None:
        listed = split_list(settings.allowed_origins)
        self._any = ANY in listed
        # An answer differs by who asks, and a cache on the way must know it.
        self._others: Headers = [(b"vary", b"Origin")] if listed else []
        self._allowed = {
            origin: [
                (b"access-control-allow-origin", origin.encode()),
                (b"access-control-expose-headers", READ),
                (b"vary", b"Origin"),
            ]
            for origin in listed
        }
        if self._any and not settings.operator_keys:
            log.warning("any_origin_without_keys", effect="none, until there is a key")

    def headers(self, origin: str | None, *, open_door: bool) -> Headers:
        """What an answer to a page of `origin` says. While no key is needed, `*` allows nobody."""
        if origin in self._allowed and origin != ANY:
            return self._allowed[origin]
        if origin and self._any and not open_door:
            return self._allowed[ANY]
        return self._others

    def preflight(self, scope: HTTPScope, headers: Mapping[str, str]) -> Headers | None:
        """What a browser is told that asks what a page may send; None when that is not asked."""
        if scope["method"] != "OPTIONS" or not self._others:
            return None
        if "origin" not in headers or "access-control-request-method" not in headers:
            return None
        return PREFLIGHT

    def check_writer(self, method: str, headers: Mapping[str, str]) -> None:
        """Raise the 403 for a page of elsewhere that would change something without a key.

        A browser sends such a request without asking first when it has no body of JSON.
        """
        origin = headers.get("origin")
        if method in SAFE_METHODS or origin is None or origin in self._allowed:
            return
        if origin.partition("://")[2] != headers.get("host"):
            detail = "Without keys, pages of other origins may change nothing."
            raise ProblemError(403, "forbidden", detail)
