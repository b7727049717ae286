"""How often searches answer with each message, counted beside them and stored now and then."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from uuid import UUID

import structlog
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncEngine

from api.regularly import Regularly
from api.tenants import Tenants
from db.queries.importance import ADD_USES
from db.sessions import tenant_transaction
from memory.search import SearchAnswer

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 5.0
# What is counted for other messages while so many wait to be stored is lost.
MOST_MESSAGES = 50_000
# So many are stored in one transaction.
AT_ONCE = 1_000
# Longer than the server lets a statement take; a connection may have died in silence.
STORE_SECONDS = 35

Key = tuple[str, UUID]


class Uses:
    """Gathers what searches answer with, and adds it to the store every few seconds.

    Nothing here can fail or slow a search: `note` only counts in a table of bounded size, and
    what cannot be stored waits for the next time.
    """

    def __init__(self, engine: AsyncEngine, tenants: Tenants) -> None:
        self._engine = engine
        self._tenants = tenants
        self._counted: dict[Key, float] = {}
        self._lost = 0
        self.storing = Regularly(INTERVAL_SECONDS, self.flush)

    @property
    def waiting(self) -> int:
        """Of how many messages uses wait to be stored."""
        return len(self._counted)

    def note(self, tenant_id: str, answers: Iterable[SearchAnswer]) -> None:
        """Count the hits of `answers`, the n-th of an answer as 1 / n of a use."""
        for answer in answers:
            self.note_hits(tenant_id, hits_of(answer))

    def note_hits(self, tenant_id: str, hits: Iterable[Iterable[UUID]]) -> None:
        """Count the `hits` of each place of one answer: see `hits_of`."""
        for place, message_ids in enumerate(hits, 1):
            for message_id in message_ids:
                self._add((tenant_id, message_id), 1 / place)

    async def flush(self) -> None:
        """Store what was counted so far; what fails is kept for the next time."""
        counted, self._counted = self._counted, {}
        if self._lost:
            log.warning("uses_lost", uses=self._lost)
            self._lost = 0
        try:
            for half_life_days, keys in (await self._by_half_life(counted)).items():
                for start in range(0, len(keys), AT_ONCE):
                    lot = {key: counted[key] for key in keys[start : start + AT_ONCE]}
                    await self._store(lot, half_life_days)
                    for key in lot:
                        del counted[key]
        except Exception as error:
            log.warning("uses_put_off", messages=len(counted), reason=type(error).__name__)
            for key, uses in counted.items():
                self._add(key, uses)

    def _add(self, key: Key, uses: float) -> None:
        if key in self._counted or len(self._counted) < MOST_MESSAGES:
            self._counted[key] = self._counted.get(key, 0.0) + uses
        else:
            self._lost += 1

    async def _by_half_life(self, counted: Mapping[Key, float]) -> dict[float, list[Key]]:
        """The keys in their order, by the half-life of their tenants."""
        found: dict[float, list[Key]] = defaultdict(list)
        for tenant_id, keys in groupby(sorted(counted), key=lambda key: key[0]):
            settings = await self._tenants.effective(tenant_id)
            found[settings.importance_half_life_days] += keys
        return found

    async def _store(self, lot: Mapping[Key, float], half_life_days: float) -> None:
        tenants = [tenant_id for tenant_id, _ in lot]
        parameters = {
            "tenant_ids": tenants,
            "message_ids": [message_id for _, message_id in lot],
            "uses": list(lot.values()),
            "half_life_days": half_life_days,
        }
        async with (
            asyncio.timeout(STORE_SECONDS),
            tenant_transaction(self._engine, tenants) as connection,
        ):
            await connection.execute(ADD_USES, parameters)


def hits_of(answer: SearchAnswer) -> Iterable[list[UUID]]:
    """The hits of each place: one, or with context all those that were merged there."""
    for hit in answer.items:
        around = (hit.before or []) + (hit.after or [])
        merged = [near.message_id for near in around if near.score is not UNSET]
        yield [hit.message_id, *merged]
