"""From metrics pages to the figures of a reading."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from cli.watching.counts import (
    RESTARTS,
    STARTED,
    Counts,
    History,
    Window,
    by_label,
    free_disks,
    highest,
    highest_by,
    lowest_by,
    named,
    quantile,
    share,
    total,
)
from cli.watching.pages import Answer, Part
from cli.watching.reading import (
    Endpoint,
    Events,
    Figures,
    Parts,
    Pipeline,
    Process,
    Requests,
    Store,
)

# What a line of the page looks back at, what single events are told of for, and what starts are.
SHOWN_SECONDS = 60.0
EVENT_SECONDS = 300.0
REMEMBERED_SECONDS = 900.0
# Prometheus, probes and this page ask all the time, and would hide what applications meet.
UNSEEN = ("/metrics", "/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness")
LEGS = ("embed", "find", "rerank", "dress")
IN_USE, MOST = "database_connections_in_use", "database_connections_max"
POOLS = ("requests", "searches")
MEMORY = ("process_resident_memory_bytes", "worker_pool_memory_bytes")
REQUESTS, REQUEST_SECONDS = "http_requests_total", "http_request_duration_seconds"


def figures(answers: Sequence[Answer], history: History, now: float) -> Figures:
    """What `answers`, the last that `history` has taken, say at the time `now`."""
    window, remembered = history.lately(SHOWN_SECONDS), history.lately(REMEMBERED_SECONDS)
    pages = [answer.page.gauges for answer in answers if answer.page]
    apis = gauges_of(answers, "api")
    return Figures(
        time=datetime.fromtimestamp(now, UTC),
        seconds=window.seconds,
        processes=[process(answer, window, remembered, now) for answer in answers],
        requests=requests(of_part(window, answers, "api"), apis),
        pipeline=pipeline(window, answers, apis),
        store=store(apis, now),
        parts=parts(answers, pages, now),
        events=events(history.lately(EVENT_SECONDS)),
    )


def process(answer: Answer, window: Window, remembered: Window, now: float) -> Process:
    """How a process is, and how often it was started lately. A worker's processor time is not
    known: its pool's processes do the work, and show none."""
    part, url = answer.address
    restarts = total(remembered.by_url.get(url, {}), RESTARTS)
    if not answer.page:
        return Process(part, url, answers=False, why_not=answer.reason, restarts=restarts)
    gauges = answer.page.gauges
    cpu_share = None if part == "worker" else window.of([url]).rate("process_cpu_seconds_total")
    memory = [value for name in MEMORY for _, value in named(gauges, name)]
    started = highest([gauges], STARTED)
    return Process(
        part,
        url,
        answers=True,
        memory_bytes=sum(memory) if memory else None,
        cpu_share=cpu_share,
        up_seconds=None if started is None else max(0.0, now - started),
        restarts=restarts,
    )


def requests(window: Window, apis: Sequence[Counts]) -> Requests:
    """What the API was asked, without the questions of those who watch it."""
    counts = window.all
    seen = of_applications(counts)
    routes = {
        (series.label("method"), series.label("endpoint")) for series, _ in named(seen, REQUESTS)
    }
    endpoints = [endpoint(seen, window.seconds, *route) for route in routes]
    caches = by_label(counts, "memory_cache_requests_total", "cache")
    missed = by_label(counts, "memory_cache_requests_total", "cache", result="miss")
    return Requests(
        all=endpoint(seen, window.seconds),
        endpoints=sorted(endpoints, key=lambda each: (-each.count, each.name)),
        in_flight=sum(total(g, "http_requests_in_flight") for g in apis) if apis else None,
        searches_per_second=window.rate("memory_searches_total"),
        degraded=by_label(counts, "memory_searches_degraded_total", "reason"),
        legs_p95={
            leg: quantile(counts, 0.95, "memory_search_duration_seconds", leg=leg) for leg in LEGS
        },
        cache_hits={
            name: share(asked - missed.get(name, 0.0), asked)
            for name, asked in sorted(caches.items())
        },
        refused=by_label(counts, "rate_limit_refused_total", "limit"),
    )


def of_applications(counts: Counts) -> Counts:
    """What is counted, without what those who watch have asked."""
    return {
        series: value for series, value in counts.items() if series.label("endpoint") not in UNSEEN
    }


def endpoint(counts: Counts, seconds: float, method: str = "", route: str = "") -> Endpoint:
    """The requests to a route, or to all."""
    labels = {"method": method, "endpoint": route} if method else {}
    statuses = by_label(counts, REQUESTS, "status", **labels)
    count = sum(statuses.values())
    errors = sum(value for status, value in statuses.items() if failed(status))
    return Endpoint(
        name=f"{method} {route}" if method else "all",
        count=count,
        per_second=count / seconds if seconds else None,
        error_share=share(errors, count),
        p50=quantile(counts, 0.5, REQUEST_SECONDS, **labels),
        p95=quantile(counts, 0.95, REQUEST_SECONDS, **labels),
    )


def failed(status: str) -> bool:
    """Whether a request has had no good answer: 499 is of a caller who gave up waiting."""
    return status.startswith("5") or status == "499"


def pipeline(window: Window, answers: Sequence[Answer], apis: Sequence[Counts]) -> Pipeline:
    """What became of messages. Where no worker is looked at, the API does the work."""
    part: Part = "worker" if any(each.address.part == "worker" for each in answers) else "api"
    work = of_part(window, answers, part)
    counts = work.all
    tasks: dict[str, dict[str, float]] = {}
    for series, value in sorted(named(counts, "celery_tasks_total"), key=lambda each: -each[1]):
        tasks.setdefault(series.label("task"), {})[series.label("outcome")] = value
    queues = {name for gauges in apis for name in by_label(gauges, "queue_tasks", "queue")}
    return Pipeline(
        stored_per_second=of_part(window, answers, "api").rate("messages_created_total"),
        embedded_per_second=work.rate("messages_embedded_total"),
        lag_p95=quantile(counts, 0.95, "message_embedding_lag_seconds"),
        queues={name: highest(apis, "queue_tasks", queue=name) or 0 for name in sorted(queues)},
        tasks=tasks,
        archived=work.counted("retention_messages_total", action="archived"),
        deleted=work.counted("retention_messages_total", action="deleted"),
    )


def store(apis: Sequence[Counts], now: float) -> Store:
    """What all API processes show alike: hence the highest, not the sum."""

    def ago(name: str, **labels: str) -> float | None:
        moment = highest(apis, name, **labels)
        return None if moment is None else max(0.0, now - moment)

    return Store(
        messages=highest(apis, "memory_store_messages"),
        pending=highest(apis, "memory_store_pending_messages"),
        oldest_pending_seconds=highest(apis, "memory_store_oldest_pending_seconds"),
        failed=highest(apis, "memory_store_failed_messages"),
        archived=highest(apis, "memory_store_archived_messages"),
        bytes=highest(apis, "memory_store_bytes"),
        measured_seconds_ago=ago("memory_store_measured_timestamp_seconds"),
        retention_completed_seconds_ago=ago(
            "memory_store_job_completed_timestamp_seconds", kind="retention"
        ),
        retention_failed=bool(highest(apis, "memory_store_job_failed", kind="retention")),
        backup_seconds_ago=ago("memory_store_backup_timestamp_seconds"),
        backup_failed=bool(highest(apis, "memory_store_job_failed", kind="backup")),
    )


def parts(answers: Sequence[Answer], pages: Sequence[Counts], now: float) -> Parts:
    """What answers, and how much of it is taken."""
    database, redis = highest(pages, "database_up"), highest(pages, "redis_up")
    broker = highest(pages, "broker_up")
    ticks = [
        # One that stands by, or has just been started, has not ticked at all.
        max(total(gauges, "beat_last_tick_timestamp_seconds"), total(gauges, STARTED))
        for gauges in gauges_of(answers, "beat")
    ]
    return Parts(
        database_up=None if database is None else bool(database),
        redis_up=None if redis is None else bool(redis),
        broker_up=None if broker is None else bool(broker),
        without_database=[
            each.address.url
            for each in answers
            if each.page and highest([each.page.gauges], "database_up") == 0
        ],
        pools=dict(pools(answers)),
        breakers=highest_by(pages, "embedding_breaker_state", "provider"),
        replicas=lowest_by(pages, "memory_replica_fresh", "replica"),
        disks=free_disks(pages),
        beat_leaders=sum(total(gauges, "beat_leader") for gauges in gauges_of(answers, "beat")),
        beat_ticked_seconds_ago=max(0.0, now - max(ticks)) if ticks else None,
    )


def events(window: Window) -> Events:
    """What is to be told of for a while."""
    counts = window.all
    statuses = by_label(of_applications(counts), REQUESTS, "status")
    return Events(
        seconds=window.seconds,
        requests=sum(statuses.values()),
        requests_failed=sum(count for status, count in statuses.items() if failed(status)),
        publish_dropped=total(counts, "publish_dropped_total"),
        given_up=total(counts, "messages_embedding_failed_total", outcome="given_up"),
        wrong_keys_refused=total(counts, "rate_limit_refused_total", limit="auth"),
    )


def of_part(window: Window, answers: Sequence[Answer], part: Part) -> Window:
    """What those processes of a kind have counted that answer."""
    return window.of(
        {each.address.url for each in answers if each.page and each.address.part == part}
    )


def gauges_of(answers: Sequence[Answer], part: Part) -> list[Counts]:
    """The gauges of the processes of a kind that answer."""
    return [each.page.gauges for each in answers if each.page and each.address.part == part]


def pools(answers: Sequence[Answer]) -> Iterator[tuple[str, tuple[float, float]]]:
    """The fuller of what requests and searches have of connections, in use and at most, by API."""
    for answer in answers:
        if answer.page is None:
            continue
        gauges = answer.page.gauges
        found = [
            (total(gauges, IN_USE, pool=pool), most)
            for pool in POOLS
            if (most := highest([gauges], MOST, pool=pool))
        ]
        if found:
            yield answer.address.url, max(found, key=lambda pool: pool[0] / pool[1])
