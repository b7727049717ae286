"""`GET /metrics`: what this process has counted, and what a worker has measured of the store."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Row

from api.entry import OPERATOR
from api.runtime import NamedRuntime


class Described(NamedTuple):
    """What a figure of the store means, and what its label is called, where it has one."""

    meaning: str
    label: str | None = None


DESCRIBED = {
    "messages": Described("Messages, archived ones included, as the planner estimates them."),
    "pending_messages": Described("Messages that wait for their vectors."),
    "oldest_pending_seconds": Described("How long the message that has waited longest waits."),
    "failed_messages": Described("Messages that could not be embedded and are not tried again."),
    "archived_messages": Described("Messages in the archive."),
    "active_jobs": Described("Jobs that wait for a worker or are worked on.", "state"),
}


class StoreGauges(Collector):
    """Rows of `FRESH_GAUGES` as Prometheus reads them."""

    def __init__(self, rows: Sequence[Row[Any]]) -> None:
        self._rows = rows

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A family for each figure that is described; an older API passes over newer ones."""
        for name, described in DESCRIBED.items():
            labels = [described.label] if described.label else []
            family = GaugeMetricFamily(f"memory_store_{name}", described.meaning, labels=labels)
            for row in self._rows:
                if row.name == name:
                    family.add_metric([row.label] if labels else [], row.value)
            if family.samples:
                yield family


def metrics_handler(public: bool) -> HTTPRouteHandler:
    """What answers `GET /metrics`: to everybody, or to operators."""
    return get("/metrics", include_in_schema=False, opt=None if public else OPERATOR)(metrics_page)


async def metrics_page(runtime: NamedRuntime) -> Response[bytes]:
    """The page that Prometheus reads."""
    store = StoreGauges(await runtime.probes.gauges())
    content = generate_latest(runtime.metrics.registry) + generate_latest(store)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
