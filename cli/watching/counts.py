"""What metrics pages count: differences between readings, sums, shares and percentiles."""

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

COUNTED = ("counter", "histogram")
STARTED = "process_start_time_seconds"
# Counted here and shown by nobody: a process cannot know how often it was started.
RESTARTS = "restarts"


class Series(NamedTuple):
    """A line of a metrics page, without its value."""

    name: str
    labels: frozenset[tuple[str, str]]

    def label(self, name: str) -> str:
        """The value of a label, empty when it has none such."""
        return dict(self.labels).get(name, "")


Counts = Mapping[Series, float]


class Page(NamedTuple):
    """What a process shows: what it has counted since its start, and how things are."""

    counters: Counts
    gauges: Counts


class Window(NamedTuple):
    """What was counted in the last `seconds`, by the URL of who counted it."""

    seconds: float
    by_url: Mapping[str, Counts]

    @property
    def all(self) -> Counts:
        """The sums over all processes."""
        return summed(self.by_url.values())

    def rate(self, name: str) -> float | None:
        """What a counter has counted a second; None when nothing is known."""
        risen = self.counted(name)
        return None if risen is None else risen / self.seconds

    def counted(self, name: str, **labels: str) -> float | None:
        """What the counters of a name with these labels have counted; None when nothing is known"""
        return total(self.all, name, **labels) if self.seconds else None

    def of(self, urls: Collection[str]) -> "Window":
        """What these processes alone have counted. Without any, nothing is known."""
        by_url = {url: counts for url, counts in self.by_url.items() if url in urls}
        return Window(self.seconds if by_url else 0.0, by_url)


class History:
    """What has been counted between readings, for as long as `kept` seconds."""

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._last: dict[str, Page] = {}
        self._read_at: float | None = None
        # When each reading was, the seconds since the one before, and what was counted in them.
        self._changes: deque[tuple[float, float, dict[str, Counts]]] = deque()

    def add(self, pages: Mapping[str, Page], now: float) -> None:
        """Take the pages of a reading, by URL; `now` is in seconds of a clock that is never set.

        A process that was silent for a while counts with what it has counted meanwhile.
        """
        known = {url: page for url, page in pages.items() if url in self._last}
        counted = {url: increase(self._last[url], page) for url, page in known.items()}
        if self._read_at is not None:
            self._changes.append((now, now - self._read_at, counted))
        self._last |= pages
        self._read_at = now
        while self._changes and self._changes[0][0] < now - self._kept:
            self._changes.popleft()

    def lately(self, seconds: float) -> Window:
        """What was counted in the last `seconds`, or since there are two readings."""
        now = self._read_at or 0.0
        # Half a second for readings that come a little late.
        changes = [each for each in self._changes if each[0] - each[1] >= now - seconds - 0.5]
        changes = changes or list(self._changes)[-1:]
        urls = {url for _, _, counted in changes for url in counted}
        by_url = {
            url: summed(counted[url] for _, _, counted in changes if url in counted) for url in urls
        }
        return Window(sum(change[1] for change in changes), by_url)


def read_page(text: str) -> Page:
    """The series of a page in Prometheus's format; raises `ValueError` for what is none."""
    counters: dict[Series, float] = {}
    gauges: dict[Series, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            of_kind = counters if family.type in COUNTED else gauges
            for sample in family.samples:
                of_kind[Series(sample.name, frozenset(sample.labels.items()))] = sample.value
    except (ValueError, LookupError) as error:
        # The parser trips over what is no metrics page in one way or another.
        raise ValueError(str(error)) from None
    return Page(counters, gauges)


def increase(before: Page, now: Page) -> Counts:
    """What was counted between two pages of a process, without what has not changed.

    A process that was started anew, or a counter that fell, has counted from 0. Its start counts
    as one of `RESTARTS`.
    """
    anew = total(before.gauges, STARTED) != total(now.gauges, STARTED)
    risen: dict[Series, float] = {Series(RESTARTS, frozenset()): 1.0} if anew else {}
    for series, value in now.counters.items():
        earlier = 0.0 if anew else before.counters.get(series, 0.0)
        more = value - earlier if value >= earlier else value
        if more:
            risen[series] = more
    return risen


def summed(many: Iterable[Counts]) -> Counts:
    """The sums of the same series."""
    sums: dict[Series, float] = {}
    for counts in many:
        for series, value in counts.items():
            sums[series] = sums.get(series, 0.0) + value
    return sums


def named(counts: Counts, name: str, **labels: str) -> Iterator[tuple[Series, float]]:
    """The series of a name that have these labels, perhaps besides others."""
    for series, value in counts.items():
        if series.name == name and labels.items() <= series.labels:
            yield series, value


def total(counts: Counts, name: str, **labels: str) -> float:
    """The sum of the series of a name that have these labels, 0 where there are none."""
    return sum(value for _, value in named(counts, name, **labels))


def by_label(counts: Counts, name: str, label: str, **labels: str) -> dict[str, float]:
    """The sums of the series of a name by the value of a label."""
    sums: dict[str, float] = {}
    for series, value in named(counts, name, **labels):
        sums[series.label(label)] = sums.get(series.label(label), 0.0) + value
    return sums


def highest(pages: Sequence[Counts], name: str, **labels: str) -> float | None:
    """The highest value of a series, None where nobody shows it."""
    values = [value for gauges in pages for _, value in named(gauges, name, **labels)]
    return max(values, default=None)


def highest_by(pages: Sequence[Counts], name: str, label: str) -> dict[str, float]:
    """The highest values by a label."""
    found: dict[str, float] = {}
    for gauges in pages:
        for series, value in named(gauges, name):
            found[series.label(label)] = max(value, found.get(series.label(label), value))
    return found


def lowest_by(pages: Sequence[Counts], name: str, label: str) -> dict[str, float]:
    """The lowest values by a label."""
    found: dict[str, float] = {}
    for gauges in pages:
        for series, value in named(gauges, name):
            found[series.label(label)] = min(value, found.get(series.label(label), value))
    return found


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, None where that is nothing."""
    return part / whole if whole else None


def quantile(counts: Counts, which: float, name: str, **labels: str) -> float | None:
    """The quantile `which` (0 to 1) of a histogram's observations, None when there are none.

    As `histogram_quantile` of Prometheus: linear between a bucket's bounds, and the highest bound
    for what lies beyond.
    """
    bounds = by_label(counts, f"{name}_bucket", "le", **labels)
    buckets = sorted((float(bound), count) for bound, count in bounds.items())
    if not buckets or not (rank := which * buckets[-1][1]):
        return None
    lower = below = 0.0
    for upper, count in buckets:
        if count >= rank and count > below:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - below) / (count - below)
        # Buckets of a page that was written meanwhile may fall; a sum over them never does.
        lower, below = upper, max(below, count)
    return lower


def free_disks(pages: Sequence[Counts]) -> dict[str, float]:
    """The smallest free share of each folder, as the processes see it."""
    free: dict[str, float] = {}
    for gauges in pages:
        for series, size in named(gauges, "disk_size_bytes"):
            folder = series.label("folder")
            left = share(total(gauges, "disk_free_bytes", folder=folder), size)
            free[folder] = min(1.0 if left is None else left, free.get(folder, 1.0))
    return free
