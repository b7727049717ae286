"""The lines of the page, each with how much it matters: a small terminal shows what does most."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from cli.watching.reading import Endpoint, Figures, Process
from cli.watching.words import UNKNOWN, amount, duration, percent, place, rate, size

Side = Literal["left", "right"]
BREAKER = {0: "closed", 1: "trying again", 2: "open"}
FIGURE_WIDTH = 9
# Endpoints and tasks after the first few matter less than all else.
LAST = 30


class Line(NamedTuple):
    """A line: `label` is empty where it goes on with the one before. 1 matters most.

    `cells` are columns behind the text, of the same width in each line that has such.
    """

    matters: int
    side: Side
    label: str
    text: str
    cells: tuple[str, ...] = ()
    bad: bool = False


def lines(figures: Figures) -> Iterator[Line]:
    """All that there is to show, in the order that it is shown in."""
    yield from _requests(figures)
    yield from _searches(figures)
    yield from _messages(figures)
    yield from _tasks(figures)
    yield from _parts(figures)
    for process in figures.processes:
        yield _process(process, first=process is figures.processes[0])


def _requests(figures: Figures) -> Iterator[Line]:
    asked = figures.requests
    in_flight = f"{amount(asked.in_flight)} in flight"
    yield Line(2, "left", "requests", in_flight, ("each s", "failed", "p50", "p95"))
    yield Line(1, "left", "", "all", _cells(asked.all), bad=bool(asked.all.error_share))
    for at, each in enumerate(asked.endpoints):
        matters = (8, 9, 15)[at] if at < 3 else LAST + at
        yield Line(matters, "left", "", each.name, _cells(each), bad=bool(each.error_share))


def _cells(each: Endpoint) -> tuple[str, ...]:
    times = (duration(each.p50), duration(each.p95))
    return (rate(each.per_second).removesuffix("/s"), percent(each.error_share), *times)


def _searches(figures: Figures) -> Iterator[Line]:
    asked = figures.requests
    legs = ", ".join(f"{leg} {duration(p95)}" for leg, p95 in asked.legs_p95.items() if p95)
    text = f"{rate(asked.searches_per_second)}   p95: {legs or UNKNOWN}"
    degraded = {why: count for why, count in asked.degraded.items() if count}
    if degraded:
        text += f"   degraded: {_listed(degraded)}"
    yield Line(6, "left", "searches", text, bad=bool(degraded))
    none = UNKNOWN if asked.all.per_second is None else "none"
    hits = ", ".join(f"{name} {percent(hits)}" for name, hits in asked.cache_hits.items())
    yield Line(14, "left", "caches", f"hits: {hits or UNKNOWN}")
    yield Line(17, "left", "refused", _listed(asked.refused) or none)


def _messages(figures: Figures) -> Iterator[Line]:
    way, store = figures.pipeline, figures.store
    stored, embedded = rate(way.stored_per_second), rate(way.embedded_per_second)
    lag = duration(way.lag_p95)
    text = f"stored {stored}   embedded {embedded}   lag p95 {lag}"
    yield Line(3, "right", "messages", text)
    text = (
        f"{amount(store.pending)} pending   oldest {duration(store.oldest_pending_seconds)}"
        f"   {amount(store.failed)} failed   ({duration(store.measured_seconds_ago)} ago)"
    )
    text = text if store.measured_seconds_ago is not None else "what waits is not known"
    yield Line(4, "right", "", text, bad=bool(store.failed))
    yield Line(10, "right", "queues", _listed(way.queues, zeros=True) or UNKNOWN)


def _tasks(figures: Figures) -> Iterator[Line]:
    way, store = figures.pipeline, figures.store
    for at, (task, outcomes) in enumerate(way.tasks.items()):
        matters = (12, 18)[at] if at < 2 else LAST + at
        said = ", ".join(f"{amount(count)} {outcome}" for outcome, count in outcomes.items())
        bad = bool(outcomes.keys() - {"success"})
        yield Line(matters, "right", "" if at else "tasks", f"{task}: {said}", bad=bad)
    if not way.tasks:
        ended = UNKNOWN if way.embedded_per_second is None else "none ended"
        yield Line(12, "right", "tasks", ended)
    ago = store.retention_completed_seconds_ago
    run = "no run known" if ago is None else f"last run completed {duration(ago)} ago"
    text = f"{amount(way.archived)} archived   {amount(way.deleted)} deleted   {run}"
    yield Line(19, "right", "retention", text, bad=store.retention_failed)
    archived = f"{amount(store.archived)} archived"
    text = f"{amount(store.messages)} messages   {archived}   {size(store.bytes)}"
    yield Line(20, "right", "store", text)


def _parts(figures: Figures) -> Iterator[Line]:
    parts = figures.parts
    pools = ", ".join(f"{used:.0f} of {most:.0f}" for used, most in parts.pools.values())
    database = f"database {_up(parts.database_up)}, connections {pools or UNKNOWN}"
    redis = "" if parts.redis_up is None else f"   redis {_up(parts.redis_up)}"
    broker = "" if parts.broker_up is None else f"   broker {_up(parts.broker_up)}"
    down = False in (parts.database_up, parts.redis_up, parts.broker_up)
    yield Line(7, "right", "parts", database + redis + broker, bad=down)
    if parts.breakers:
        states = {name: BREAKER.get(int(state), "?") for name, state in parts.breakers.items()}
        said = ", ".join(f"{name} {state}" for name, state in states.items())
        yield Line(13, "right", "breakers", said, bad=any(parts.breakers.values()))
    disks = ", ".join(f"{name} {percent(free)} free" for name, free in parts.disks.items())
    yield Line(16, "right", "disk", disks or UNKNOWN)
    if parts.beat_ticked_seconds_ago is not None:
        ago = duration(parts.beat_ticked_seconds_ago)
        leads = f"has the lock   looked at its schedule {ago} ago"
        yield Line(11, "right", "beat", leads if parts.beat_leaders else "waits for the lock")


def _process(process: Process, *, first: bool) -> Line:
    text = f"{process.part:<7} {place(process.url)}"
    label = "processes" if first else ""
    if not process.answers:
        return Line(5, "right", label, f"{text}   {process.why_not}", bad=True)
    memory, up = size(process.memory_bytes), duration(process.up_seconds)
    cpu = "" if process.part == "worker" else f"   cpu {percent(process.cpu_share)}"
    again = f"   restarts {process.restarts:.0f}" if process.restarts else ""
    return Line(5, "right", label, f"{text:<28}   {memory:>7}   up {up}{cpu}{again}")


def _listed(counts: Mapping[str, float], *, zeros: bool = False) -> str:
    """The counts that there are, by name."""
    return ", ".join(f"{name} {amount(n)}" for name, n in counts.items() if n or zeros)


def _up(answers: bool | None) -> str:
    return UNKNOWN if answers is None else "up" if answers else "DOWN"
