"""Telling the API that the answers which it keeps for a tenant are old."""

import secrets

import structlog
from redis.exceptions import RedisError

from tasks.redis_clients import redis_client

log = structlog.get_logger(__name__)

# The API's caches lie under this prefix, and its answers under their tenant's version.
PREFIX = "memory-cache:"
TOKEN_BYTES = 16
# Its version stands there for all tenants together.
ERA = "era"
# Far longer than an answer lives; when one expires, its answers are merely computed again.
VERSION_SECONDS = 3_600
REDIS_SECONDS = 0.5


def version_key(tenant_id: str) -> str:
    """Where a tenant's version stands, below the prefix."""
    return f"version:{tenant_id}"


def new_version() -> bytes:
    """A version that never was and never comes again."""
    return secrets.token_bytes(TOKEN_BYTES)


class KeptAnswers:
    """The answers in the Redis at `url`, for a process that only makes them old.

    Without a URL none are kept.
    """

    def __init__(self, url: str) -> None:
        timeouts = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        self._redis = redis_client(url, **timeouts) if url else None

    def changed(self, tenant_id: str) -> None:
        """End the answers of a tenant. When Redis does not take it, they end within a minute."""
        self._end(version_key(tenant_id), tenant_id)

    def all_changed(self) -> None:
        """End the answers of all tenants, as `changed` does for one."""
        self._end(ERA, "*")

    def _end(self, version: str, whose: str) -> None:
        if self._redis is None:
            return
        try:
            self._redis.set(PREFIX + version, new_version(), ex=VERSION_SECONDS)
        except (RedisError, OSError) as error:
            log.warning("answers_not_forgotten", tenant_id=whose, reason=type(error).__name__)
