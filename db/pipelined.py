"""Connections on which a whole transaction is one round trip, for who stores without a pause.

Between them and a statement stands nothing but the driver: with SQLAlchemy's own way a group of
messages costs the API three times as much of its processor.
"""

import select
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from db.sessions import NAME_TENANTS, NAME_TENANTS_AND_PLAN, check_bound
from db.tracing import traced_statement

Row = tuple[Any, ...]

# A connection keeps a plan by which PostgreSQL checks references, made for the tables as they were.
# Of a store that was empty then, each check reads all that its tenant has by now, until the table
# is analysed. So it is opened anew after so many statements, and again after twice as many.
FIRST_RENEWAL = 8

READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Pipelined:
    """One connection of an engine's making, outside its pool. For one task at a time.

    It is opened when it is needed, and anew after a failure.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._executed = 0
        self._renewed_at = FIRST_RENEWAL
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def execute(
        self,
        tenants: Iterable[str],
        statement: TextClause,
        parameters: Mapping[str, Any],
        *,
        planned: bool = False,
    ) -> list[Row]:
        """The rows of `statement`, committed, in a transaction that sees `tenants` only.

        With `planned` it is planned for its own parameters.
        Raises SQLAlchemy's errors, as an engine does, and `ForeignTenantError`.
        """
        tenants = set(tenants)
        check_bound(tenants)
        named = {"tenants": ",".join(sorted(tenants))}
        naming = driver_text(NAME_TENANTS_AND_PLAN if planned else NAME_TENANTS)
        with traced_statement(self._engine.url, statement.text) as span:
            try:
                connection = await self._open()
                async with connection.pipeline():
                    await self._send(connection, naming, named)
                    cursor = await self._send(connection, driver_text(statement), parameters)
                rows = await cursor.fetchall()
            except psycopg.Error as error:
                await self._recover(error)
                raise DBAPIError.instance(
                    None, None, error, psycopg.Error, hide_parameters=True
                ) from error
            except BaseException:
                # Cut off in the middle: what it would say next is an answer to nobody's question.
                await self.aclose()
                raise
            span.note({"db.response.returned_rows": len(rows)})
        return rows

    @staticmethod
    async def _send(
        connection: psycopg.AsyncConnection[Row], statement: str, parameters: Mapping[str, Any]
    ) -> psycopg.AsyncCursor[Row]:
        return await connection.execute(statement, parameters, prepare=True, binary=True)

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    async def _open(self) -> psycopg.AsyncConnection[Row]:
        self._executed += 1
        if self._executed > self._renewed_at:
            self._renewed_at *= 2
        elif self._connection and not has_ended(self._connection):
            return self._connection
        await self.aclose()
        async with self._engine.connect() as pooled:
            raw = await pooled.get_raw_connection()
            self._connection = cast("psycopg.AsyncConnection[Row]", raw.driver_connection)
            # Its place in the pool is free again, for another.
            await pooled.run_sync(lambda connection: connection.detach())
        # What is sent between two syncs is one transaction, without a word of it. Begin and commit
        # would each cost a round trip, and commit would wait for ever beside what is not sent yet.
        await self._connection.set_autocommit(True)
        return self._connection

    async def _recover(self, error: psycopg.Error) -> None:
        """After an error of the data the connection is as good as new; after another it is gone.

        It may be one of a server that takes no writes now, and would be so for ever.
        """
        of_data = isinstance(error, psycopg.DataError | psycopg.IntegrityError)
        if not of_data or not self._connection or has_ended(self._connection):
            await self.aclose()


def has_ended(connection: psycopg.AsyncConnection[Row]) -> bool:
    """Whether the server has left a connection on which nothing is under way.

    It says nothing unasked but its farewell, and that can be seen without asking.
    """
    if connection.closed or connection.info.transaction_status == TransactionStatus.UNKNOWN:
        return True
    look = select.poll()
    look.register(connection.fileno(), READABLE)
    return bool(look.poll(0))


@lru_cache(1_000)
def driver_text(statement: TextClause) -> str:
    """`statement` with its parameters as the driver writes them."""
    return str(statement.compile(dialect=PGDialect_psycopg()))  # type: ignore[no-untyped-call]
