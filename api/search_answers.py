"""Whole answers of searches, kept for a minute and forgotten when the tenant's memory changes."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.cache import Cache
from api.gathering import Gathering
from api.metrics import Metrics
from memory.remembering import remember
from tasks.kept_answers import ERA, TOKEN_BYTES, VERSION_SECONDS, new_version, version_key

ANSWER_SECONDS = 60
# A call to Redis has 50 ms, and an answer up to 256 KiB.
AT_ONCE = 16
KNOWN_QUESTIONS = 10_000

Question = tuple[str, str]
"""A tenant, and the key that the answer lies under."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is kept for a question."""

    version: bytes | None
    """What to `put` under whatever is read after this; None when nothing can be kept."""
    answer: bytes | None


class SearchAnswers:
    """Answers of searches by tenant and question; without a cache or Redis, none.

    An answer is kept together with the version that its tenant had before its snapshot was taken,
    and is given out only while the tenant still has it. A version is a random token and never
    comes again, whatever Redis forgets. All tenants share one more, the era: it makes up for
    changes that could not be told.
    """

    def __init__(self, cache: Cache | None, metrics: Metrics) -> None:
        self._cache = cache
        self._requests = metrics.cache_requests
        self._lost = 0
        self._made_good = 0
        # Whose changes are still to be told, and the tasks that tell: the next one, and the last.
        self._changed: set[str] = set()
        self._next: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        # The keys under which an answer lay when this process asked last, or gave one.
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._looking = Gathering(self._look_up, AT_ONCE)

    async def get(self, tenant_id: str, question: bytes) -> Lookup:
        """What is kept for `question`. Ask before the snapshot for the answer is taken."""
        if self._cache is None:
            return Lookup(None, None)
        lookup = Lookup(None, None)
        key = _answer_key(tenant_id, question)
        if await self._makes_good(self._cache):
            lookup = await self._looking.ask((tenant_id, key))
        self._note(key, there=lookup.answer is not None)
        self._requests.labels(
            "search_answer", "redis" if lookup.answer is not None else "miss"
        ).inc()
        return lookup

    def may_have(self, tenant_id: str, question: bytes) -> bool:
        """Whether an answer to `question` was there when this process had last to do with it."""
        return _answer_key(tenant_id, question) in self._answered

    async def put(
        self, tenant_id: str, version: bytes | None, question: bytes, answer: bytes
    ) -> None:
        """Keep `answer`, computed after `get` gave `version`, for 60 s at most."""
        if self._cache is not None and version is not None:
            key = _answer_key(tenant_id, question)
            # First, for who asks next may come before Redis has answered.
            self._note(key, there=True)
            if not await self._cache.put(key, version + answer, ANSWER_SECONDS):
                self._note(key, there=False)

    async def changed(self, tenants: Iterable[str]) -> None:
        """Forget the answers of `tenants`. Tell it after the commit of what changed them.

        What is told while Redis is being told goes into its next call together. A caller that is
        cancelled cancels nothing: its commit stands.
        """
        if self._cache is None:
            return
        self._changed.update(tenants)
        if self._next is None:
            self._next = asyncio.create_task(self._tell(self._cache))
        await asyncio.shield(self._next)

    async def _tell(self, cache: Cache) -> None:
        async with self._turn:
            self._telling, self._next = self._next, None
            tenants, self._changed = self._changed, set()
            told = False
            try:
                versions = {version_key(tenant_id): new_version() for tenant_id in tenants}
                told = await cache.put_many(versions, VERSION_SECONDS)
            finally:
                self._lost += not told
        await self._makes_good(cache)

    async def _makes_good(self, cache: Cache) -> bool:
        """Whether every change has been told, if only by a new era, which ends all answers.

        Until Redis takes that, this process trusts no answer; other processes, which cannot know,
        may give out one of before the change for as long as it lives.
        """
        lost = self._lost
        if lost > self._made_good and await cache.put(ERA, new_version(), VERSION_SECONDS):
            self._made_good = max(self._made_good, lost)
        return self._made_good == self._lost

    def _note(self, key: str, *, there: bool) -> None:
        if there:
            remember(self._answered, key, None, KNOWN_QUESTIONS)
        else:
            self._answered.pop(key, None)

    async def _look_up(self, asked: Sequence[Question]) -> list[Lookup]:
        """What is kept for each of `asked`, in one round trip unless a version is missing."""
        cache = self._cache
        if cache is None:
            return [Lookup(None, None)] * len(asked)
        tokens = [ERA, *dict.fromkeys(version_key(tenant_id) for tenant_id, _ in asked)]
        keys = [*tokens, *dict.fromkeys(key for _, key in asked)]
        found = dict(zip(keys, await cache.get_many(keys), strict=True))
        if missing := [key for key in tokens if found[key] is None]:
            for key in missing:
                await cache.put_new(key, new_version(), VERSION_SECONDS)
            # Another process may have been first: what counts is what stands there now.
            found = dict(zip(keys, await cache.get_many(keys), strict=True))
        return [
            _lookup(found[ERA], found[version_key(tenant_id)], found[key])
            for tenant_id, key in asked
        ]


def _lookup(era: bytes | None, version: bytes | None, kept: bytes | None) -> Lookup:
    # Anything else is not of ours, and an answer would not be known from another's.
    if era is None or version is None or {len(era), len(version)} != {TOKEN_BYTES}:
        return Lookup(None, None)
    both = era + version
    fresh = kept is not None and kept.startswith(both)
    return Lookup(both, kept[len(both) :] if kept is not None and fresh else None)


def _answer_key(tenant_id: str, question: bytes) -> str:
    return f"answer:{tenant_id}:{hashlib.blake2b(question, digest_size=20).hexdigest()}"
