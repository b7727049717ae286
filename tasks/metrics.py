"""What the work on messages counts, in whichever process does it."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from memory.jobs import JobKind

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600)
# Prometheus sees by itself when a counter begins: without them a page is a third shorter.
disable_created_metrics()

JOB_OUTCOMES = ("completed", "failed", "put_off")


@contextmanager
def timed(histogram: Histogram) -> Iterator[None]:
    """Observes the seconds that the block takes; one that raises is no figure of how fast it is."""
    began = time.perf_counter()
    yield
    histogram.observe(time.perf_counter() - began)


def counter(
    registry: CollectorRegistry, name: str, meaning: str, **labels: Iterable[str]
) -> Counter:
    """A counter with all its series, by the values of its labels, there from the start.

    An alert looks at rises, and one that is born at 1 has never risen.
    """
    made = Counter(name, meaning, list(labels), registry=registry)
    for values in itertools.product(*labels.values()):
        made.labels(*values)
    return made


class WorkMetrics:
    """The metrics of the processes of a worker, or of an API that does the work itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: set[tuple[str, str, str]] = set()
        self.embedding_seconds = Histogram(
            "embedding_generation_duration_seconds",
            "Time to embed a query, or messages together.",
            buckets=SECONDS,
            registry=registry,
        )
        self.embedded = Counter(
            "messages_embedded_total", "Messages whose vectors were stored.", registry=registry
        )
        self.lag = Histogram(
            "message_embedding_lag_seconds",
            "Time from storing a message to its vector.",
            buckets=LAG_SECONDS,
            registry=registry,
        )
        self.not_embedded = counter(
            registry,
            "messages_embedding_failed_total",
            "Messages that could not be embedded: put off, or given up.",
            outcome=("put_off", "given_up"),
        )
        self.jobs_ended = counter(
            registry,
            "jobs_ended_total",
            "Slices of jobs that ended a job, or put it off.",
            kind=get_args(JobKind),
            outcome=JOB_OUTCOMES,
        )
        self.retention = counter(
            registry,
            "retention_messages_total",
            "Messages that retention has archived or deleted.",
            action=("archived", "deleted"),
        )
        self._add_states(registry)

    def _add_states(self, registry: CollectorRegistry) -> None:
        self.breaker_state = Gauge(
            "embedding_breaker_state",
            "The circuit breaker before a provider: 0 closed, 1 trying again, 2 open.",
            ["provider"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        self.model = Gauge(
            "memory_model_info",
            "1, of a model that this process embeds with; 0, of one that it has embedded with.",
            ["model", "provider", "dimensions"],
            multiprocess_mode="livemax",
            registry=registry,
        )

    def note_embedded(self, lags: Sequence[float]) -> None:
        """Messages were embedded, so many seconds after each was stored."""
        self.embedded.inc(len(lags))
        for lag in lags:
            self.lag.observe(lag)

    def show_models(self, models: Iterable[tuple[str, str, str]]) -> None:
        """This process embeds with `models` (name, provider, dimensions), and no longer others."""
        wanted = set(models)
        for labels in self._models | wanted:
            self.model.labels(*labels).set(labels in wanted)
        self._models |= wanted

    def show_breaker(self, provider: str, state: int) -> None:
        """The breaker before `provider` is in this state: 0 closed, 1 trying again, 2 open."""
        self.breaker_state.labels(provider).set(state)
