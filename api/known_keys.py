"""The keys of the store, as a process knows them: asked for when presented, known for seconds."""

import asyncio
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from api.problems import ProblemError
from api.regularly import Regularly
from db.queries.keys import ANY_API_KEY, API_KEY, NOTE_USE, caller_from_row
from db.sessions import operator_transaction
from memory.access import Caller
from memory.keys import state_of
from memory.remembering import remember

log = structlog.get_logger(__name__)

# After so long a key is asked for again: a revocation holds within that, on every process.
KNOWN_SECONDS = 2.0
KNOWN_KEYS = 10_000
# A look-up holds one of few connections, which the probes need too.
LOOK_UP_SECONDS = 2.0
NOTE_SECONDS = 60.0
WRONG_KEY = "Send a valid key as `x-api-key`."


class EndedKeyError(ProblemError):
    """A key that was one: who sends it does not guess."""

    def __init__(self, ended: str) -> None:
        super().__init__(401, "unauthorized", f"This key {ended}.")


class Known(NamedTuple):
    """A live key: who presents it, when it ends, and until when it need not be asked for."""

    caller: Caller
    expires_at: datetime | None
    fresh_until: float

    @property
    def opens(self) -> bool:
        """Whether it is known well enough to open now."""
        ended = self.expires_at is not None and self.expires_at <= datetime.now(UTC)
        return not ended and time.monotonic() < self.fresh_until


class KnownKeys:
    """Finds keys by their digests, and notes when they were used last."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Known]] = {}
        self._used: dict[UUID, datetime] = {}
        self.noting = Regularly(NOTE_SECONDS, self._store_uses)

    def recall(self, digest: bytes) -> Caller | None:
        """Who presents this key, if it is known at this moment."""
        known = self._known.get(digest)
        if known is None or not known.opens:
            return None
        self._note(known.caller)
        return known.caller

    async def find(self, digest: bytes) -> Caller:
        """Who presents this key. Raises the 401 for one that does not open, or a database error.

        However many present it at once, it is asked for once.
        """
        if caller := self.recall(digest):
            return caller
        task = self._asked.get(digest)
        if task is None:
            task = self._asked[digest] = asyncio.create_task(self._ask(digest))
            task.add_done_callback(lambda _: self._asked.pop(digest, None))
        known = await asyncio.shield(task)
        self._note(known.caller)
        return known.caller

    def forget(self) -> None:
        """Ask for every key again: one of them has been changed by this process."""
        self._known.clear()

    async def any_exists(self) -> bool:
        """Whether the store has, or has ever had, a key."""
        async with asyncio.timeout(LOOK_UP_SECONDS), self._engine.connect() as connection:
            return bool(await connection.scalar(ANY_API_KEY))

    async def _ask(self, digest: bytes) -> Known:
        asked_at = time.monotonic()
        async with asyncio.timeout(LOOK_UP_SECONDS), self._engine.connect() as connection:
            row = (await connection.execute(API_KEY, {"digest": digest})).one_or_none()
        if row is None:
            raise ProblemError(401, "unauthorized", WRONG_KEY)
        state = state_of(row.expires_at, row.revoked_at, datetime.now(UTC))
        if state != "live":
            self._known.pop(digest, None)
            raise EndedKeyError("has expired" if state == "expired" else "was revoked")
        known = Known(caller_from_row(row, digest), row.expires_at, asked_at + KNOWN_SECONDS)
        remember(self._known, digest, known, KNOWN_KEYS)
        return known

    def _note(self, caller: Caller) -> None:
        if caller.key_id:
            self._used[caller.key_id] = datetime.now(UTC)

    async def _store_uses(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        # In order, so that two processes cannot wait for each other.
        ids = sorted(used)
        try:
            async with operator_transaction(self._engine) as connection:
                times = [used[id_] for id_ in ids]
                await connection.execute(NOTE_USE, {"ids": ids, "times": times})
        except Exception as error:
            log.warning("key_uses_put_off", keys=len(used), reason=type(error).__name__)
            self._used = used | self._used
