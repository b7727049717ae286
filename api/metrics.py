"""What the API counts, in a registry of its own."""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from memory import tracing
from memory.settings import Settings
from tasks.exposing import describe_process
from tasks.metrics import SECONDS, WorkMetrics, counter, timed

NAMED_TENANTS = 200
OTHERS = "(others)"
LIMITS = ("address", "key", "tenant", "messages", "auth")
LEGS = ("embed", "find", "rerank", "dress")


class Metrics:
    """The metrics of one API process. Labels are bounded: route templates, never raw paths."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        self.registry = CollectorRegistry()
        describe_process(self.registry, settings)
        self.work = WorkMetrics(self.registry)
        self.requests = Counter(
            "http_requests_total",
            "HTTP requests answered.",
            ["method", "endpoint", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ["method", "endpoint"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "http_requests_in_flight",
            "Requests that are being answered now.",
            registry=self.registry,
        )
        self.publish_dropped = Counter(
            "publish_dropped_total",
            "Messages whose embedding task could not be sent and waits for the sweep.",
            registry=self.registry,
        )
        self.cache_requests = Counter(
            "memory_cache_requests_total",
            "Look-ups in a cache, by the level that had the answer; `miss` when none had.",
            ["cache", "result"],
            registry=self.registry,
        )
        self._add_searches()
        self._add_limits()
        self._add_tenants(settings.metrics_tenants)

    def _add_searches(self) -> None:
        self.messages_created = Counter(
            "messages_created_total", "Messages stored.", registry=self.registry
        )
        self.searches = Counter(
            "memory_searches_total", "Searches answered.", registry=self.registry
        )
        self.degraded = counter(
            self.registry,
            "memory_searches_degraded_total",
            "Searches answered without a part.",
            reason=("embedding", "reranker"),
        )
        self.read_from = counter(
            self.registry,
            "memory_search_database_total",
            "New answers to searches, by the database that they were read from.",
            database=("primary", "replica"),
        )
        self.replica_failures = Counter(
            "memory_replica_failures_total",
            "Searches that a replica was asked and the primary had to answer.",
            registry=self.registry,
        )
        self.search_seconds = Histogram(
            "memory_search_duration_seconds",
            "How long each leg of a search took.",
            ["leg"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._legs = {name: self.search_seconds.labels(name) for name in LEGS}

    @contextmanager
    def leg(self, name: str) -> Iterator[None]:
        """Times what is done in the block, as the leg of a search that is called `name`."""
        with timed(self._legs[name]), tracing.child(f"search: {name}"):
            yield

    def stored(self, tenants: Iterable[str]) -> None:
        """Messages were stored, one for each of `tenants`."""
        named = Tally(tenants)
        self.messages_created.inc(named.total())
        if self._stored_by_tenant:
            for tenant_id, count in named.items():
                self._stored_by_tenant.labels(self._shown(tenant_id)).inc(count)

    def searched(self, tenant_id: str, searches: int) -> None:
        """So many searches of a tenant were answered."""
        self.searches.inc(searches)
        if self._searches_by_tenant:
            self._searches_by_tenant.labels(self._shown(tenant_id)).inc(searches)

    def _shown(self, tenant_id: str) -> str:
        if tenant_id in self._tenants or len(self._tenants) < NAMED_TENANTS:
            self._tenants.add(tenant_id)
            return tenant_id
        return OTHERS

    def _add_tenants(self, by_tenant: bool) -> None:
        self._tenants: set[str] = set()
        self._stored_by_tenant = self._searches_by_tenant = None
        if by_tenant:
            self._stored_by_tenant = Counter(
                "tenant_messages_created_total",
                "Messages stored, by tenant.",
                ["tenant"],
                registry=self.registry,
            )
            self._searches_by_tenant = Counter(
                "tenant_searches_total",
                "Searches answered, by tenant.",
                ["tenant"],
                registry=self.registry,
            )

    def _add_limits(self) -> None:
        self.rate_limit_refused = counter(
            self.registry,
            "rate_limit_refused_total",
            "Requests refused, by the kind of the limit that refused longest.",
            limit=LIMITS,
        )
        self.rate_limit_local = Counter(
            "rate_limit_local_total",
            "Admissions judged by this process alone, for Redis did not answer.",
            registry=self.registry,
        )
        self.rate_limiter_degraded = Gauge(
            "rate_limiter_degraded",
            "1 while each process keeps the limits for itself, for Redis does not answer.",
            registry=self.registry,
        )
