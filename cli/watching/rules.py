"""What finds each thing that is wrong: what the alert rules of `grafana/` look at, as of now.

An alert waits until a thing has been so for a while; who looks at the page sees it at once.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from cli.watching.pages import Part
from cli.watching.reading import Endpoint, Figures, Process
from cli.watching.servers import (
    broker_down,
    database_down,
    database_unreachable,
    disk_critical,
    disk_low,
    pool_exhausted,
    redis_down,
    replica_stale,
)
from cli.watching.words import amount, duration, percent, place

Severity = Literal["critical", "warning"]
STORING, SEARCHING = "POST /v1/messages", "/v1/memory/search"
SLOW_STORAGE_SECONDS, SLOW_SEARCH_SECONDS = 0.1, 0.5
ERROR_SHARE = 0.05
# Of no more failures a share says nothing, of no more requests a percentile.
FEW_ERRORS, FEW_REQUESTS = 3, 20
LONG_PENDING_SECONDS = 300
LATE_TICK_SECONDS = 60
OLD_MEASURE_SECONDS = 180
OVERDUE_RETENTION_SECONDS = 2 * 86_400
OLD_BACKUP_SECONDS = 2 * 86_400
FEW_RESTARTS = 3
OPEN = 2


class Rule(NamedTuple):
    """What finds a thing that is wrong; it has the name and the severity of an alert."""

    alert: str
    severity: Severity
    find: Callable[[Figures], Iterator[str]]


def api_down(figures: Figures) -> Iterator[str]:
    """Nobody serves."""
    yield from away(figures, "api", "No API answers")


def worker_down(figures: Figures) -> Iterator[str]:
    """Nobody embeds."""
    yield from away(figures, "worker", "No worker answers")


def beat_not_beating(figures: Figures) -> Iterator[str]:
    """Nobody sends the periodic tasks."""
    yield from away(figures, "beat", "No beat answers")
    ticked = figures.parts.beat_ticked_seconds_ago
    if ticked is not None and ticked > LATE_TICK_SECONDS:
        yield f"Beat has not looked at its schedule for {duration(ticked)}"


def instance_down(figures: Figures) -> Iterator[str]:
    """One of several is away."""
    for each in figures.processes:
        if not each.answers and any(other.answers for other in of_part(figures, each.part)):
            yield f"One {each.part} does not answer at {place(each.url)}: {each.why_not}"


def restart_loop(figures: Figures) -> Iterator[str]:
    """A process ends again and again, and is started each time."""
    for each in figures.processes:
        if each.restarts > FEW_RESTARTS:
            often = f"{amount(each.restarts)} times in 15 minutes"
            yield f"The {each.part} at {place(each.url)} was started {often}"


def error_rate(figures: Figures) -> Iterator[str]:
    """Requests fail."""
    failed, asked = figures.events.requests_failed, figures.events.requests
    if failed > FEW_ERRORS and failed / asked > ERROR_SHARE:
        yield f"{percent(failed / asked)} of the requests fail (5xx, or the caller gave up)"


def slow_storage(figures: Figures) -> Iterator[str]:
    """Messages are stored slowly."""
    for each in slow(figures, SLOW_STORAGE_SECONDS):
        if each.name == STORING:
            yield f"Storing a message takes {duration(each.p95)} (p95)"


def slow_search(figures: Figures) -> Iterator[str]:
    """Searches are slow."""
    for each in slow(figures, SLOW_SEARCH_SECONDS):
        if each.name.endswith(f" {SEARCHING}"):
            yield f"A search takes {duration(each.p95)} (p95)"


def abuse_blocked(figures: Figures) -> Iterator[str]:
    """Somebody guesses keys."""
    if count := figures.events.wrong_keys_refused:
        yield f"{amount(count)} requests refused: their addresses sent too many wrong keys"


def publish_dropped(figures: Figures) -> Iterator[str]:
    """The broker takes no tasks."""
    if count := figures.events.publish_dropped:
        yield f"The broker did not take the tasks of {amount(count)} messages"


def pending_lag(figures: Figures) -> Iterator[str]:
    """Messages wait long for their vectors."""
    oldest = figures.store.oldest_pending_seconds or 0
    if oldest > LONG_PENDING_SECONDS:
        yield f"A message has waited for its vector for {duration(oldest)}"


def embeddings_failed(figures: Figures) -> Iterator[str]:
    """Messages were given up, now or some time ago."""
    failed = figures.store.failed or 0
    if count := max(failed, figures.events.given_up):
        yield f"Messages that could not be embedded and are not tried again: {amount(count)}"


def breaker_open(figures: Figures) -> Iterator[str]:
    """A provider is left alone. When that is over nobody may try it for long: that is no fault."""
    for provider, state in figures.parts.breakers.items():
        if state == OPEN:
            yield f"{provider} has failed time and again, and is left alone"


def store_not_measured(figures: Figures) -> Iterator[str]:
    """The figures of the store are old, or left out."""
    measured = figures.store.measured_seconds_ago
    up = max((each.up_seconds or 0 for each in of_part(figures, "api")), default=0)
    if measured is None and up > OLD_MEASURE_SECONDS:
        yield "The store is not measured: what waits and what has failed is not known"
    elif measured is not None and measured > OLD_MEASURE_SECONDS:
        yield f"The store was last measured {duration(measured)} ago"


def retention_failed(figures: Figures) -> Iterator[str]:
    """Retention has given up."""
    if figures.store.retention_failed:
        yield "The last retention run for all tenants has failed"


def retention_overdue(figures: Figures) -> Iterator[str]:
    """Retention has not run for long, though it did once."""
    ago = figures.store.retention_completed_seconds_ago
    if ago is not None and ago > OVERDUE_RETENTION_SECONDS:
        yield f"Retention was last completed {duration(ago)} ago"


def backup_failed(figures: Figures) -> Iterator[str]:
    """The schedule's backup was given up."""
    if figures.store.backup_failed:
        yield "The last backup of the schedule has failed"


def backup_too_old(figures: Figures) -> Iterator[str]:
    """There is no new backup, though there was one, or is to be one."""
    ago = figures.store.backup_seconds_ago
    if ago is not None and ago > OLD_BACKUP_SECONDS:
        yield f"The newest backup is {duration(ago)} old"


def away(figures: Figures, part: Part, what: str) -> Iterator[str]:
    """`what`, when there is to be such a process, and none answers."""
    processes = of_part(figures, part)
    if processes and not any(each.answers for each in processes):
        yield f"{what} at {place(processes[0].url)}: {processes[0].why_not}"


def of_part(figures: Figures, part: Part) -> list[Process]:
    """The processes of a kind."""
    return [each for each in figures.processes if each.part == part]


def slow(figures: Figures, seconds: float) -> Iterator[Endpoint]:
    """The routes whose 95th percentile is over `seconds`."""
    for each in figures.requests.endpoints:
        if each.count > FEW_REQUESTS and (each.p95 or 0) > seconds:
            yield each


RULES = (
    Rule("APIDown", "critical", api_down),
    Rule("DatabaseDown", "critical", database_down),
    Rule("RedisDown", "critical", redis_down),
    Rule("BrokerDown", "critical", broker_down),
    Rule("WorkerDown", "critical", worker_down),
    Rule("BeatNotBeating", "critical", beat_not_beating),
    Rule("DiskCritical", "critical", disk_critical),
    Rule("ErrorRate", "critical", error_rate),
    Rule("BreakerOpen", "critical", breaker_open),
    Rule("InstanceDown", "warning", instance_down),
    Rule("RestartLoop", "warning", restart_loop),
    Rule("DatabaseUnreachable", "warning", database_unreachable),
    Rule("PoolExhausted", "warning", pool_exhausted),
    Rule("ReplicaStale", "warning", replica_stale),
    Rule("DiskLow", "warning", disk_low),
    Rule("SlowStorage", "warning", slow_storage),
    Rule("SlowSearch", "warning", slow_search),
    Rule("PendingLag", "warning", pending_lag),
    Rule("EmbeddingsFailed", "warning", embeddings_failed),
    Rule("PublishDropped", "warning", publish_dropped),
    Rule("AbuseBlocked", "warning", abuse_blocked),
    Rule("StoreNotMeasured", "warning", store_not_measured),
    Rule("RetentionFailed", "warning", retention_failed),
    Rule("RetentionOverdue", "warning", retention_overdue),
    Rule("BackupFailed", "warning", backup_failed),
    Rule("BackupTooOld", "warning", backup_too_old),
)
