"""Who may enter: openness is decided at the start, and keys are known by what is sent."""

import re
from collections.abc import Callable
from typing import NamedTuple

import structlog
from litestar.types import HTTPScope

from api.known_keys import WRONG_KEY, KnownKeys
from api.problems import ProblemError, UnavailableError
from memory.access import LOCAL, Caller
from memory.keys import SHAPE, digest_of, name_of
from memory.settings import Settings

PROBES = ("/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness")
PUBLIC = (*PROBES, "/docs")
DOCS = "/docs/"
METRICS = "/metrics"
# Who asks how the service is must hear it, however full it is and however often they ask.
ALWAYS_ANSWERED = frozenset({*PROBES, METRICS})
# Shorter ones can be guessed.
KEY_LENGTH = 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
NOBODY = Caller(name=LOCAL)

log = structlog.get_logger(__name__)


class Visitor(NamedTuple):
    """Someone at the door: the key that was presented, and who that is, as far as is known."""

    key: str
    digest: bytes
    caller: Caller | None
    public: bool
    """Whether what is asked for is for everybody."""
    wrong: bool = False
    """Whether the key opens nothing, whatever the store has."""

    @property
    def can_be_guessed(self) -> bool:
        """Whether it is one that the settings have or might have: nobody guesses the store's."""
        of_settings = self.caller is not None and self.caller.key_id is None
        return self.key != "" and (self.wrong or of_settings)


class Door:
    """Tells who calls, or turns the caller away.

    A service with no key of the settings, on loopback, is open as long as its store has never had
    a key. It closes when the first one is made, by whichever process, and opens no more.
    """

    def __init__(self, settings: Settings, keys: KnownKeys, obstacle: Callable[[], str]) -> None:
        """With what says why the store's keys may be out of reach."""
        self._keys = keys
        self._obstacle = obstacle
        self._operators = {
            (digest := digest_of(key)): Caller(name=name_of(digest), digest=digest)
            for key in settings.operator_keys
        }
        if weak := [name_of(digest_of(k)) for k in settings.operator_keys if len(k) < KEY_LENGTH]:
            log.warning("short_api_keys", keys=sorted(weak), shorter_than=KEY_LENGTH)
        self._public = {*PUBLIC, *([METRICS] if settings.metrics_public else [])}
        # None until the store has been asked.
        self._open: bool | None = None
        if self._operators or settings.api_host not in LOOPBACK:
            self._open = False
        if not self._operators and self._open is False:
            log.warning("no_api_keys", serves="those with a key of the store, if it has any")

    @property
    def open(self) -> bool:
        """Whether who is on this machine needs no key, or may need none: it is not known yet."""
        return self._open is not False

    async def follow(self) -> None:
        """See whether the store has a key. Raises database errors."""
        if self._open is False:
            return
        has_keys = await self._keys.any_exists()
        if self._open is None and not has_keys:
            self._open = True
            log.warning("no_api_keys", serves="everybody on this machine, and nobody else")
        elif has_keys:
            self.close()

    def close(self) -> None:
        """The store has a key now; whatever was known of keys is to be asked for again."""
        if self._open:
            log.warning("api_keys_needed", reason="the store has its first key")
        self._open = False
        self._keys.forget()

    def greet(self, scope: HTTPScope, headers: dict[str, str]) -> Visitor:
        """Who stands there, without asking the store.

        Raises the 403 for who must not even look at a service that is open, or may be.
        """
        path = scope["path"]
        # A browser asks whether it may send a key before it sends one.
        public = path in self._public or path.startswith(DOCS) or scope["method"] == "OPTIONS"
        if self.open:
            self._check_is_local(headers)
            if self._open:
                return Visitor("", b"", NOBODY, public=False)
        if public:
            return Visitor("", b"", None, public=True)
        key = presented_key(headers)
        digest = digest_of(key)
        caller = self._operators.get(digest) or self._keys.recall(digest)
        asked = caller is not None or self._open is None or SHAPE.fullmatch(key) is not None
        return Visitor(key, digest, caller, public=False, wrong=not asked)

    async def find(self, visitor: Visitor) -> Caller:
        """Who the visitor is that was not known; raises the 401 for a key that does not open."""
        try:
            if self._open is None:
                await self.follow()
                if self._open:
                    return NOBODY
            if SHAPE.fullmatch(visitor.key):
                return await self._keys.find(visitor.digest)
        except ProblemError:
            raise
        except Exception as error:
            raise UnavailableError(self._obstacle()) from error
        raise ProblemError(401, "unauthorized", WRONG_KEY)

    async def still_opens(self, caller: Caller) -> bool:
        """Whether a caller would be let in again. Raises database errors."""
        if caller is NOBODY:
            return self._open is True
        if caller.digest in self._operators:
            return True
        try:
            await self._keys.find(caller.digest)
        except ProblemError:
            return False
        return True

    def _check_is_local(self, headers: dict[str, str]) -> None:
        # Or a web page elsewhere could reach in through a name that resolves to loopback.
        if host_name(headers.get("host", "")) not in LOOPBACK:
            raise ProblemError(
                403, "forbidden", "Without keys, only loopback host names are served."
            )


def host_name(host: str) -> str:
    """The name in a Host header, without its port and brackets, in lower case."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def presented_key(headers: dict[str, str]) -> str:
    """The key in `x-api-key`, or the bearer token; empty without either."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
