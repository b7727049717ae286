"""What a worker process opens once and keeps: its connections and its embedding models."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property
from typing import NamedTuple, ParamSpec, TypeVar
from uuid import UUID

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from db.engine import worker_engine
from memory.settings import Settings
from tasks.growth import Growth
from tasks.kept_answers import KeptAnswers
from tasks.metrics import WorkMetrics
from tasks.models import Models

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Place(NamedTuple):
    """A message's place in the order of tenants and ids; by itself, the one before all."""

    tenant_id: str = ""
    id: UUID = UUID(int=0)


BEFORE_ALL = Place()


class Resources:
    """Opened on first use, which must come after the fork: no thread or socket survives it."""

    def __init__(self, settings: Settings, metrics: WorkMetrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or WorkMetrics(CollectorRegistry())
        # Up to where this process has swept.
        self.swept = BEFORE_ALL

    @cached_property
    def engine(self) -> Engine:
        """The process's connection pool, as the worker's role."""
        return worker_engine(self.settings)

    @cached_property
    def models(self) -> Models:
        """The embedding models that the store wants vectors of."""
        return Models(self.settings, self.engine, self.metrics)

    @cached_property
    def answers(self) -> KeptAnswers:
        """The answers that the API keeps, to be forgotten when a memory changes."""
        return KeptAnswers(self.settings.cache_url or self.settings.redis_url)

    @cached_property
    def growth(self) -> Growth:
        """How far the tenants have grown before this process's eyes."""
        return Growth()

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "beside")

    def beside(
        self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Future[Result]:
        """Have `work` done beside what this thread does, after what was asked for before."""
        here = copy_context()
        return self._thread.submit(lambda: here.run(work, *given, **named))

    def close(self) -> None:
        """Close the connections, if any was opened."""
        if "_thread" in vars(self):
            self._thread.shutdown()
        if "engine" in vars(self):
            self.engine.dispose()

    def check_model(self) -> None:
        """Raise what forbids or prevents writing vectors, before a message is claimed for it."""
        self.models.active()

    def obstacle(self, *, tried: bool) -> str:
        """Why no message should be claimed now, which would cost it an attempt; empty if none.

        New ones need the provider of the active model, whose vectors searches use. Those that were
        `tried` before need all, and a word from each first: so an outage costs a message one
        attempt, however long it is and however many processes there are.
        """
        models = self.models.last_wanted
        return self.models.obstacle(models if tried else models[:1], lately=tried)
