"""The dashboard of the service: what requests do, and how the processes are."""

from typing import Any

from grafana.build.panels import DOWN_OR_UP, RED, YELLOW, Query, Section, board, figure, lines
from grafana.build.queries import percentile, rate, series, shared

REQUESTS = "http_requests_total"
SECONDS = "http_request_duration_seconds"
# Prometheus and probes ask all the time; what applications meet would be lost among them.
ASKED = 'endpoint!~"/metrics|/v1/admin/(live|health|readiness)"'
# 499 is a caller who gave up waiting.
FAILED = 'status=~"5..|499"'


def service() -> Any:
    """Requests, refusals, servers and processes."""
    return board(
        "service",
        "service",
        "What the API answers and how quickly, who is refused, and how its processes are.",
        Section("At a glance", GLANCE),
        Section("Requests", ANSWERS),
        Section("Refusals", REFUSALS),
        Section("Servers and processes", PARTS),
    )


def share_of_errors() -> str:
    """The share of requests that failed; 0 where none did."""
    failed = f"({rate(REQUESTS, where=f'{FAILED}, {ASKED}')} or vector(0))"
    return f"{failed} / {rate(REQUESTS, where=ASKED)}"


SLOW = percentile(0.95, SECONDS, where=ASKED)
# Figures for who has a second.
GLANCE = [
    figure(
        "Requests",
        "Answered a second, probes aside.",
        "reqps",
        Query(rate(REQUESTS, where=ASKED), ""),
    ),
    figure(
        "Error share",
        "Requests answered with 5xx or given up by their callers (499); over 5% ErrorRate fires.",
        "percentunit",
        Query(share_of_errors(), ""),
        (0.01, YELLOW),
        (0.05, RED),
    ),
    figure(
        "p95",
        "95% of the requests were answered within this time.",
        "s",
        Query(SLOW, ""),
        (0.5, YELLOW),
        (1, RED),
    ),
    figure(
        "Requests in flight",
        "Being answered now, by all processes.",
        "short",
        Query(f"sum({series('http_requests_in_flight')})", ""),
    ),
    figure(
        "Database",
        "Whether PostgreSQL answers the API.",
        "short",
        Query(shared("database_up"), ""),
        words=DOWN_OR_UP,
    ),
    figure(
        "Redis",
        "Whether Redis answers the API; not known where none is used.",
        "short",
        Query(shared("redis_up"), ""),
        words=DOWN_OR_UP,
    ),
]

BY_ENDPOINT = "{{method}} {{endpoint}}"
# Requests by endpoint, and how long they took.
ANSWERS = [
    lines(
        "Requests by endpoint",
        "Answered a second.",
        "reqps",
        Query(rate(REQUESTS, "method, endpoint"), BY_ENDPOINT),
    ),
    lines(
        "Requests by status",
        "Answered a second; 499 are callers who went away.",
        "reqps",
        Query(rate(REQUESTS, "status"), "{{status}}"),
        stacked=True,
    ),
    lines(
        "Errors by endpoint",
        "The share of an endpoint's requests that were answered with 5xx, or given up (499).",
        "percentunit",
        Query(
            f"{rate(REQUESTS, 'endpoint', FAILED)} / {rate(REQUESTS, 'endpoint')}",
            "{{endpoint}}",
        ),
        limit=0.05,
    ),
    *(
        lines(
            f"Latency by endpoint, p{share * 100:.0f}",
            f"{share:.0%} of the requests were answered, to the last byte, within this time.",
            "s",
            Query(percentile(share, SECONDS, "method, endpoint", ASKED), BY_ENDPOINT),
        )
        for share in (0.5, 0.95, 0.99)
    ),
]

# Who was not let in.
REFUSALS = [
    lines(
        "Refused by limit",
        "Answered with 429 a second; `auth` are addresses that sent too many wrong keys.",
        "reqps",
        Query(rate("rate_limit_refused_total", "limit"), "{{limit}}"),
        stacked=True,
    ),
    lines(
        "Wrong keys (401)",
        "Requests a second without a key that is good.",
        "reqps",
        Query(rate(REQUESTS, "endpoint", 'status="401"'), "{{endpoint}}"),
    ),
    lines(
        "Limits without Redis",
        "Admissions a second that a process judged alone, for Redis did not answer.",
        "reqps",
        Query(rate("rate_limit_local_total"), "admissions"),
        Query(f"max({series('rate_limiter_degraded')})", "1 while it is so"),
    ),
]

CPU = f"rate({series('process_cpu_seconds_total')}[$__rate_interval])"
# Connections, processors, memory, versions.
PARTS = [
    lines(
        "Database connections",
        "At work, and how many there may be; who gets none within 5 s is answered 503.",
        "short",
        Query(series("database_connections_in_use"), "{{instance}} {{pool}}"),
        Query(series("database_connections_max"), "{{instance}} {{pool}}, most"),
    ),
    lines(
        "Processor time",
        "Processors that a process keeps busy; of a worker, its parent alone.",
        "short",
        Query(CPU, "{{job}} {{instance}}"),
    ),
    lines(
        "Memory",
        "Resident memory; of a worker, its parent alone.",
        "bytes",
        Query(series("process_resident_memory_bytes"), "{{job}} {{instance}}"),
    ),
    lines(
        "Open files",
        "Files and connections that a process has open.",
        "short",
        Query(series("process_open_fds"), "{{job}} {{instance}}"),
    ),
    figure(
        "Processes that answer",
        "By Prometheus's own reckoning.",
        "short",
        Query(f"sum by (job) ({series('up')})", "{{job}}"),
        names=False,
    ),
    figure(
        "Started",
        "How long each process runs.",
        "s",
        Query(f"time() - {series('process_start_time_seconds')}", "{{job}} {{instance}}"),
    ),
    figure(
        "Versions",
        "What runs: the service's version and Python's.",
        "short",
        Query(series("memory_build_info"), "{{job}} {{instance}}: {{version}}, Python {{python}}"),
        names=True,
    ),
]
