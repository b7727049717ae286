"""The dashboard of search: how many, how quickly, from where, and what they went without."""

from typing import Any

from grafana.build.panels import RED, YELLOW, Query, Section, board, figure, lines
from grafana.build.queries import percentile, rate, series

LEGS = "memory_search_duration_seconds"
REQUEST = "http_request_duration_seconds"
ENDPOINT = 'endpoint="/v1/memory/search"'
SEARCHES = "memory_searches_total"
DEGRADED = "memory_searches_degraded_total"
CACHE = "memory_cache_requests_total"
HIT = 'result!="miss"'


def search() -> Any:
    """Searches, their legs, caches, and what was missing."""
    return board(
        "search",
        "search",
        "How many searches there are, how long each part of them takes, what caches spare.",
        Section("At a glance", GLANCE),
        Section("Time", TIMES),
        Section("Caches, and what was missing", PARTS),
        Section("Read replicas", REPLICAS),
    )


def hits(by: str) -> str:
    """The share of look-ups in a cache that found what they wanted."""
    return f"{rate(CACHE, by, HIT)} / {rate(CACHE, by)}"


DEGRADED_SHARE = f"({rate(DEGRADED)} or vector(0)) / {rate(SEARCHES)}"
# Figures for who has a second.
GLANCE = [
    figure("Searches", "Answered a second.", "reqps", Query(rate(SEARCHES), "")),
    figure(
        "Search, p50",
        "Half of the searches took no longer.",
        "s",
        Query(percentile(0.5, REQUEST, where=ENDPOINT), ""),
    ),
    figure(
        "Search, p95",
        "95% of the searches took no longer; over 500 ms SlowSearch fires.",
        "s",
        Query(percentile(0.95, REQUEST, where=ENDPOINT), ""),
        (0.25, YELLOW),
        (0.5, RED),
    ),
    figure(
        "Query embedding, p95",
        "95% of the queries had their vectors within this time.",
        "s",
        Query(percentile(0.95, LEGS, where='leg="embed"'), ""),
        (0.1, YELLOW),
        (0.3, RED),
    ),
    figure(
        "Cache hits",
        "The share of all look-ups in caches that found what they wanted.",
        "percentunit",
        Query(hits(""), ""),
    ),
    figure(
        "Degraded",
        "The share of searches that went without a part.",
        "percentunit",
        Query(DEGRADED_SHARE, ""),
        (0.001, YELLOW),
        (0.05, RED),
    ),
]

# Searches, their time, and where it goes.
TIMES = [
    lines(
        "Searches a second",
        "By how they were asked.",
        "reqps",
        Query(rate("http_requests_total", "method, status", ENDPOINT), "{{method}} {{status}}"),
        stacked=True,
    ),
    lines(
        "Search: the whole request",
        "To the last byte; p95 should stay below 500 ms.",
        "s",
        *(
            Query(percentile(share, REQUEST, where=ENDPOINT), f"p{share * 100:.0f}")
            for share in (0.5, 0.95, 0.99)
        ),
        limit=0.5,
    ),
    lines(
        "Query embedding",
        "The vector of a query: half, and 95% of them, took no longer.",
        "s",
        *(
            Query(percentile(share, LEGS, where='leg="embed"'), f"p{share * 100:.0f}")
            for share in (0.5, 0.95)
        ),
    ),
    lines(
        "Search legs, p50",
        "`embed` the query's vector, `find` vectors and words, `dress` neighbours, reasons.",
        "s",
        Query(percentile(0.5, LEGS, "leg"), "{{leg}}"),
    ),
    lines(
        "Search legs, p95",
        "95% of the searches spent no longer in this leg.",
        "s",
        Query(percentile(0.95, LEGS, "leg"), "{{leg}}"),
    ),
    lines(
        "Legs: time spent",
        "Seconds that all searches together spend in a leg, each second.",
        "s",
        Query(rate(f"{LEGS}_sum", "leg"), "{{leg}}"),
        stacked=True,
    ),
]

EVERY = rate(CACHE, "cache")
BY_LEVEL = f"{rate(CACHE, 'cache, result', HIT)} / ignoring (result) group_left () {EVERY}"
# What was found in caches, and what was missing.
PARTS = [
    lines(
        "Hits by cache and level",
        "The share of a cache's look-ups that this level answered.",
        "percentunit",
        Query(BY_LEVEL, "{{cache}} {{result}}"),
        stacked=False,
        most=1,
    ),
    lines("Look-ups", "In each cache, a second.", "reqps", Query(EVERY, "{{cache}}")),
    lines(
        "Searches degraded",
        "The share answered without a part: `embedding`, so by words alone, or `reranker`.",
        "percentunit",
        Query(
            f"{rate(DEGRADED, 'reason')} / ignoring (reason) group_left () {rate(SEARCHES)}",
            "without {{reason}}",
        ),
        limit=0.05,
    ),
]

# Empty where MEMORY_DATABASE_REPLICA_URLS is not set, but for the first.
REPLICAS = [
    lines(
        "Searches by database",
        "Which database answered what no cache did.",
        "reqps",
        Query(rate("memory_search_database_total", "database"), "{{database}}"),
        stacked=True,
    ),
    lines(
        "Replicas in use",
        "1 where a replica is fresh enough; ReplicaStale fires after ten minutes at 0.",
        "none",
        Query(f"min by (replica) ({series('memory_replica_fresh')})", "replica {{replica}}"),
        most=1,
    ),
    lines(
        "Replica lag",
        "How far the one that is furthest behind is, as API processes see it.",
        "s",
        Query(f"max by (replica) ({series('memory_replica_lag_seconds')})", "replica {{replica}}"),
    ),
    lines(
        "Searches that a replica failed",
        "The primary answered them.",
        "reqps",
        Query(rate("memory_replica_failures_total"), "failed"),
    ),
]
