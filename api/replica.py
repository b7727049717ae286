"""A replica of the database, as one API process sees it."""

import asyncio
import time

from sqlalchemy.exc import SQLAlchemyError

from api.probes import Shared
from db.engine import replica_engines
from db.replicas import Position, replica_position
from memory.errors import ReplicaUnfitError
from memory.settings import Settings

# Far longer than it takes to say how far it is; who needs longer is away.
ANSWER_SECONDS = 1.0
SILENT = "it does not answer"


class Replica:
    """A replica as this process sees it."""

    def __init__(self, number: int, settings: Settings, url: str) -> None:
        self.number = number
        self.engine, self._side_engine = replica_engines(settings, url)
        self.position: Position | None = None
        """How far it has come; None while it is not to be asked."""
        self.level_at: float | None = None
        """All that was committed before is there."""
        self.answered: tuple[float, int] | None = None
        """When it said last how far it is, and what."""
        self.why_not: str | None = None
        """Why it is not used: empty while it is, None before the first look."""
        self.in_flight = 0
        self.asked_at = 0.0
        self.losing: list[asyncio.Future[None]] = []
        """Of one that is asked: done when it is not to be asked any more."""
        self.look = Shared[Position | str](self._look, ANSWER_SECONDS, SILENT)

    async def _look(self) -> Position | str:
        """How far it has come, or why it is not to be asked."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._side_engine.connect() as connection:
                return await replica_position(connection)
        except ReplicaUnfitError as error:
            return str(error)
        except (SQLAlchemyError, OSError) as error:
            return f"{SILENT}: {type(error).__name__}"

    @property
    def fresh(self) -> bool:
        """Whether searches may go to it, as of the last look."""
        return self.why_not == ""

    @property
    def lag_seconds(self) -> float | None:
        """How long ago it had all that was committed; None when that is not known."""
        return None if self.level_at is None else time.monotonic() - self.level_at

    def take(self, position: Position) -> None:
        """Ask it from here on, as far as `position`."""
        if self.position is None:
            self.losing = [asyncio.get_running_loop().create_future()]
        self.position = position

    def put_aside(self) -> None:
        """Do not ask it before it has answered a look; who waits for it waits no longer."""
        self.position = None
        for lost in self.losing:
            lost.set_result(None)
        self.losing = []

    async def close(self) -> None:
        """Give up what is under way, and the connections."""
        self.put_aside()
        await self.look.stop()
        await self.engine.dispose()
        await self._side_engine.dispose()
