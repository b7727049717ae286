"""What stands between the door and the handlers: limits by address and key, and wrong keys."""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from litestar.types import HTTPScope, Scope

from api.door import ALWAYS_ANSWERED, Door, Visitor
from api.known_keys import EndedKeyError
from api.limiter import Limiter
from api.problems import ProblemError, TooManyRequestsError
from memory.access import Caller
from memory.limits import Hit, Standing, read_limits
from memory.remembering import remember
from memory.settings import Settings

# Who has sent so many wrong keys waits for each answer, twice as long each time.
PATIENT_UP_TO = 4
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
# An address that a key was good from is not blocked for that key by what others send from there.
TRUSTED_PAIRS = 10_000
TRUSTED_SECONDS = 3_600.0
limits_of_key = lru_cache(maxsize=1_000)(read_limits)


class Entrance:
    """Lets a request in, or says why not, before anything of its body is read."""

    def __init__(self, settings: Settings, door: Door, limiter: Limiter) -> None:
        self.door = door
        self._limiter = limiter
        self._address_limits = read_limits(settings.global_rate_limit)
        self._key_limits = read_limits(settings.key_rate_limit)
        self._failure_limits = read_limits(settings.auth_failure_limit)
        self._trusted: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    async def admit(self, scope: HTTPScope, headers: dict[str, str]) -> Caller | None:
        """Who calls; None for a request that is anybody's.

        Raises the 401, 403, 429 or 503 that the request is answered with.
        """
        visitor = self.door.greet(scope, headers)
        if scope["path"] in ALWAYS_ANSWERED and (visitor.public or visitor.caller):
            return visitor.caller
        address = address_of(scope)
        hits = [Hit(f"address:{address}", limit) for limit in self._address_limits]
        if visitor.caller:
            hits += self._hits_of(visitor.caller)
        if visitor.can_be_guessed and not self._is_trusted(address, visitor):
            # Counted by the look itself, or many at once would see no end.
            hits += self._failures_of(address, int(visitor.wrong))
        await self._count(scope, hits)
        if visitor.caller is None and not visitor.public:
            return await self._find(scope, address, visitor)
        if visitor.can_be_guessed:
            pair = (address, visitor.digest)
            remember(self._trusted, pair, time.monotonic() + TRUSTED_SECONDS, TRUSTED_PAIRS)
        return visitor.caller

    async def _find(self, scope: HTTPScope, address: str, visitor: Visitor) -> Caller:
        try:
            caller = await self.door.find(visitor)
        except EndedKeyError:
            # Or an application that has not heard of its new key would keep all its neighbours out.
            raise
        except ProblemError as problem:
            if visitor.key and problem.status == 401:
                problem.wait_seconds = await self._wait_for(scope, address, visitor)
            raise
        await self._count(scope, self._hits_of(caller))
        return caller

    async def _count(self, scope: HTTPScope, hits: Sequence[Hit]) -> Standing | None:
        standing = await self._limiter.admit(hits)
        note_standing(scope, standing)
        if standing and standing.retry_after is not None:
            raise TooManyRequestsError(standing)
        return standing

    async def _wait_for(self, scope: HTTPScope, address: str, visitor: Visitor) -> float:
        """Count a wrong key, if it is not yet, and give the seconds that its address waits."""
        if visitor.wrong:
            standing = await self._limiter.admit(self._failures_of(address, 0))
        else:
            standing = await self._count(scope, self._failures_of(address, 1))
        wrong = standing.limit - standing.remaining if standing else 0
        if wrong <= PATIENT_UP_TO:
            return 0.0
        # Capped before it is computed: a limit may allow a great many.
        doublings = min(wrong - PATIENT_UP_TO - 1, 10)
        return min(FIRST_WAIT_SECONDS * 2.0**doublings, LONGEST_WAIT_SECONDS)

    def _failures_of(self, address: str, cost: int) -> list[Hit]:
        return [Hit(f"auth:{address}", limit, cost) for limit in self._failure_limits]

    def _hits_of(self, caller: Caller) -> list[Hit]:
        own = caller.rate_limit
        limits = self._key_limits if own is None else limits_of_key(own)
        return [Hit(f"key:{caller.name}:{caller.key_id or ''}", limit) for limit in limits]

    def _is_trusted(self, address: str, visitor: Visitor) -> bool:
        until = self._trusted.get((address, visitor.digest), 0.0)
        return time.monotonic() < until


def address_of(scope: HTTPScope) -> str:
    """Where a request comes from; of IPv6 the network of 64 bits, which is one household's."""
    client = scope.get("client")
    host = client[0] if client else "unknown"
    if ":" not in host:
        return host
    with contextlib.suppress(AddressValueError):
        address = IPv6Address(host.partition("%")[0])
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return host


def note_standing(scope: Scope, standing: Standing | None) -> None:
    """Have the answer tell of `standing`, unless it tells of a limit that is nearer its end."""
    known: Standing | None = scope.get("standing")  # type: ignore[assignment]
    if standing and (known is None or standing.retry_after or standing.share <= known.share):
        scope["standing"] = standing  # type: ignore[typeddict-unknown-key]
