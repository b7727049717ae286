"""Reads that are one round trip each, on a few connections of their own."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import TextClause
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.engine import POOL_TIMEOUT_SECONDS
from db.pipelined import Pipelined

# A database is no faster with more searches at once than it has processors.
CONNECTIONS = 6

Rows = Sequence[Sequence[Any]]


class Read(Protocol):
    """The rows of a statement, in a transaction of its own that sees `tenants` only.

    With `planned` it is planned for its own parameters. Raises SQLAlchemy's errors, as an engine
    does, and `ForeignTenantError`.
    """

    async def __call__(
        self,
        tenants: Iterable[str],
        statement: TextClause,
        parameters: Mapping[str, Any],
        *,
        planned: bool = False,
    ) -> Rows: ...


class Reads:
    """Connections of an engine's making, outside its pool, opened when they are needed."""

    def __init__(self, engine: AsyncEngine, connections: int = CONNECTIONS) -> None:
        self._engine = engine
        self.in_use = 0
        self.most = connections
        self._places = asyncio.Semaphore(connections)
        # The one used last is the first to be used again.
        self._idle: list[Pipelined] = []

    async def read(
        self,
        tenants: Iterable[str],
        statement: TextClause,
        parameters: Mapping[str, Any],
        *,
        planned: bool = False,
    ) -> Rows:
        """As `Read` says. Raises SQLAlchemy's `TimeoutError` when all are in use for 5 s."""
        async with self._one() as connection:
            return await connection.execute(tenants, statement, parameters, planned=planned)

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Pipelined]:
        try:
            async with asyncio.timeout(POOL_TIMEOUT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise PoolTimeoutError(f"no connection within {POOL_TIMEOUT_SECONDS} s") from None
        connection = self._idle.pop() if self._idle else Pipelined(self._engine)
        self.in_use += 1
        try:
            yield connection
        finally:
            self.in_use -= 1
            self._idle.append(connection)
            self._places.release()

    async def aclose(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            await self._idle.pop().aclose()
