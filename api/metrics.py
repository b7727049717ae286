"""What the API counts, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one API process. Labels are bounded: route templates, never raw paths."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.messages_created = Counter(
            "messages_created_total", "Messages stored.", registry=self.registry
        )
        self.searches = Counter(
            "memory_searches_total", "Searches answered.", registry=self.registry
        )
        self.embedding_seconds = Histogram(
            "embedding_generation_duration_seconds",
            "Time to embed a query, or messages inline.",
            buckets=SECONDS,
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
        self._add_limits()

    def _add_limits(self) -> None:
        self.rate_limit_refused = Counter(
            "rate_limit_refused_total",
            "Requests refused, by the kind of the limit that refused longest.",
            ["limit"],
            registry=self.registry,
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
