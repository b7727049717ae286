"""What holds for each tenant, as this process knows it."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from db.queries.audit import INSERT_RECORD
from db.queries.scopes import EXACT_UP_TO, TENANT_SIZE, is_small
from db.queries.tenants import (
    DELETE_SETTINGS,
    PUT_SETTINGS,
    REINDEX_AFTER_SECONDS,
    REINDEX_TENANT,
    settings_from_row,
    settings_of,
)
from db.reading import Read
from db.sessions import tenant_transaction
from memory.remembering import remember
from memory.settings import Settings
from memory.tenants import (
    Effective,
    TenantSettings,
    check_importance_weights,
    check_weights,
    effective,
)

# Another process learns of a change after so long. What is written meanwhile in an old language
# is put right by the re-indexing, which waits for longer than this.
KNOWN_SECONDS = 5.0
assert KNOWN_SECONDS < REINDEX_AFTER_SECONDS  # noqa: S101
KNOWN_TENANTS = 10_000
# Who asks may have met a connection that is silent: nobody waits long for another's question.
TURN_SECONDS = 0.2
ASK_SECONDS = 10.0


class Tenants:
    """The settings of tenants, read when they are needed and remembered for seconds."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._known: OrderedDict[str, tuple[float, TenantSettings]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._small: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    async def own(self, tenant_id: str) -> TenantSettings:
        """What `tenant_id` has set."""
        return (await self._read([tenant_id]))[tenant_id]

    async def effective(self, tenant_id: str) -> Effective:
        """What holds for `tenant_id`."""
        return effective(self._settings, await self.own(tenant_id))

    async def all_effective(self, tenant_ids: Collection[str]) -> dict[str, Effective]:
        """What holds for each of `tenant_ids`."""
        known = await self._read(tenant_ids)
        return {tenant_id: effective(self._settings, own) for tenant_id, own in known.items()}

    async def is_small(self, read: Read, tenant_id: str) -> bool:
        """Whether all vectors of a tenant had better be compared; remembered for seconds."""
        now = time.monotonic()
        if (known := self._small.get(tenant_id)) and known[0] > now:
            return known[1]
        parameters = {"tenant_id": tenant_id, "most": EXACT_UP_TO + 1}
        ((messages, vectors),) = await read([tenant_id], TENANT_SIZE, parameters)
        small = is_small(messages, vectors)
        remember(self._small, tenant_id, (now + KNOWN_SECONDS, small), KNOWN_TENANTS)
        return small

    async def put(
        self, tenant_id: str, settings: TenantSettings | None, record: dict[str, Any]
    ) -> None:
        """Store the settings of a tenant, or with None forget them, and `record` that.

        Another language than before has the tenant's messages indexed anew. Raises
        `InvalidFieldError` when the weights of the score, or of importance, would all be 0.
        """
        before = (await self.effective(tenant_id)).language
        changed = effective(self._settings, settings or TenantSettings())
        check_weights(changed)
        check_importance_weights(changed)
        async with tenant_transaction(self._engine, [tenant_id]) as connection:
            if settings is None:
                await connection.execute(DELETE_SETTINGS, {"tenant_id": tenant_id})
            else:
                values = {name: getattr(settings, name) for name in settings.__struct_fields__}
                await connection.execute(PUT_SETTINGS, {"tenant_id": tenant_id, **values})
            if changed.language != before:
                wait = {"tenant_id": tenant_id, "after": REINDEX_AFTER_SECONDS}
                await connection.execute(REINDEX_TENANT, wait)
            await connection.execute(INSERT_RECORD, record)
        self._known.pop(tenant_id, None)

    async def _read(self, tenant_ids: Collection[str]) -> dict[str, TenantSettings]:
        found = self._recall(tenant_ids)
        if len(found) == len(tenant_ids):
            return found
        # One at a time: when what is known of a busy tenant is old, all who come would ask.
        async with self._ones_turn():
            found = self._recall(tenant_ids)
            unknown = [tenant_id for tenant_id in set(tenant_ids) if tenant_id not in found]
            if unknown:
                async with asyncio.timeout(ASK_SECONDS):
                    found |= await self._ask(unknown)
        return found

    @asynccontextmanager
    async def _ones_turn(self) -> AsyncIterator[None]:
        """The turn of one who asks, who does without it when whoever has it takes long."""
        has_it = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TURN_SECONDS):
                has_it = await self._turn.acquire()
        try:
            yield
        finally:
            if has_it:
                self._turn.release()

    def _recall(self, tenant_ids: Collection[str]) -> dict[str, TenantSettings]:
        now = time.monotonic()
        return {
            tenant_id: known[1]
            for tenant_id in tenant_ids
            if (known := self._known.get(tenant_id)) and known[0] > now
        }

    async def _ask(self, tenant_ids: list[str]) -> dict[str, TenantSettings]:
        now = time.monotonic()
        async with tenant_transaction(self._engine, tenant_ids) as connection:
            rows = await connection.execute(settings_of(tenant_ids))
            stored = {row.tenant_id: settings_from_row(row) for row in rows}
        found = {tenant_id: stored.get(tenant_id, TenantSettings()) for tenant_id in tenant_ids}
        for tenant_id, own in found.items():
            remember(self._known, tenant_id, (now + KNOWN_SECONDS, own), KNOWN_TENANTS)
        return found
