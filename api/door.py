"""Who may enter: openness is decided at the start, and keys are known by what is sent."""

import hashlib
import hmac
import re
from collections.abc import Iterable

import structlog
from litestar.types import HTTPScope

from api.problems import ProblemError
from memory.access import LOCAL, SCOPES, Caller
from memory.settings import Settings

PUBLIC = ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness", "/docs", "/metrics")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

log = structlog.get_logger(__name__)


class Door:
    """Tells who calls, or turns the caller away."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.operator_keys
        # Decided once, at the start: without keys only this machine may talk to the service.
        self._open = not self._keys and settings.api_host in LOOPBACK
        if not self._keys:
            served = "this machine only" if self._open else "nobody, for it is not on loopback"
            log.warning("no_api_keys", serves=served)

    @property
    def open(self) -> bool:
        """Whether who is on this machine needs no key."""
        return self._open

    def check(self, scope: HTTPScope, headers: dict[str, str]) -> Caller | None:
        """Who calls; None for what is public. Raises the `ProblemError` that turns others away."""
        if self._open:
            # Or a web page elsewhere could reach in through a name that resolves to loopback.
            if host_name(headers.get("host", "")) not in LOOPBACK:
                raise ProblemError(
                    403, "forbidden", "Without keys, only loopback host names are served."
                )
            return Caller(name=LOCAL, scopes=SCOPES)
        path = scope["path"]
        if any(path == public or path.startswith(public + "/") for public in PUBLIC):
            return None
        # A browser asks whether it may send a key before it sends one.
        if scope["method"] == "OPTIONS":
            return None
        key = presented_key(headers)
        if not known_key(key, self._keys):
            raise ProblemError(401, "unauthorized", "Send a valid key as `x-api-key`.")
        return Caller(name=name_of_key(key), scopes=SCOPES)


def host_name(host: str) -> str:
    """The name in a Host header, without its port and brackets, in lower case."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def presented_key(headers: dict[str, str]) -> str:
    """The key in `x-api-key`, or the bearer token; empty without either."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def known_key(key: str, keys: Iterable[str]) -> bool:
    """Whether `key` is one of `keys`, in a time that tells nothing about them."""
    matches = [hmac.compare_digest(key.encode(), known.encode()) for known in keys]
    return any(matches)


def name_of_key(key: str) -> str:
    """What stands for a key in records, such as `key 3f9a1c2e`: it cannot be had back from it."""
    return f"key {hashlib.sha256(key.encode()).hexdigest()[:8]}"
