"""`GET /metrics`: what this process has counted, and what a worker has measured of the store."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import QueuePool, Row

from api.entry import OPERATOR
from api.replica import Replica
from api.runtime import NamedRuntime, Runtime


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
    "job_failed": Described("1 when the last job of its kind that ended has failed.", "kind"),
    "job_completed_timestamp_seconds": Described("When the last one was completed.", "kind"),
    "backup_timestamp_seconds": Described("Of which moment the last backup is."),
    "backup_bytes": Described("The size of the last backup."),
    "backup_duration_seconds": Described("How long the last backup took, without the try of it."),
    "tenants": Described("Tenants."),
    "tenant_messages": Described("Messages of the largest tenants.", "tenant"),
    "bytes": Described("The size of the database."),
    "importance_bucket": Described("Messages by importance, cumulative, from a sample.", "le"),
    "measured_timestamp_seconds": Described("When all this was measured."),
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


class Parts(Collector):
    """How the parts that this process works with are at the moment."""

    def __init__(self, runtime: Runtime, up: Mapping[str, bool], queues: Mapping[str, int]) -> None:
        self._runtime = runtime
        self._up = up
        self._queues = queues

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What answers, how many connections are at work, and what waits in the broker."""
        for part, up in self._up.items():
            yield GaugeMetricFamily(f"{part}_up", "1 while it answers.", value=float(up))
        use = GaugeMetricFamily(
            "database_connections_in_use", "Connections at work.", labels=["pool"]
        )
        most = GaugeMetricFamily("database_connections_max", "How many may be.", labels=["pool"])
        replicas = self._runtime.replicas.all
        engines = {"requests": self._runtime.engine, "side": self._runtime.side_engine}
        engines |= {f"replica {each.number}": each.engine for each in replicas}
        for name, engine in engines.items():
            pool = cast("QueuePool", engine.pool)
            use.add_metric([name], pool.checkedout())
            most.add_metric([name], pool.size() + pool._max_overflow)
        for name, reads in (("searches", self._runtime.reads), ("checks", self._runtime.checks)):
            use.add_metric([name], reads.in_use)
            most.add_metric([name], reads.most)
        yield use
        yield most
        yield from replica_gauges(replicas)
        waiting = GaugeMetricFamily("queue_tasks", "Tasks that wait.", labels=["queue"])
        for queue, tasks in self._queues.items():
            waiting.add_metric([queue], tasks)
        if waiting.samples:
            yield waiting


def replica_gauges(replicas: Sequence[Replica]) -> Iterator[GaugeMetricFamily]:
    """How the replicas are, by their places in the setting; nothing without any."""
    fresh = GaugeMetricFamily(
        "memory_replica_fresh", "1 while searches may go to it.", labels=["replica"]
    )
    lag = GaugeMetricFamily(
        "memory_replica_lag_seconds",
        "How long ago it had all that was committed, as far as is known.",
        labels=["replica"],
    )
    for each in replicas:
        fresh.add_metric([str(each.number)], float(each.fresh))
        if (seconds := each.lag_seconds) is not None:
            lag.add_metric([str(each.number)], seconds)
    yield from (family for family in (fresh, lag) if family.samples)


def metrics_handler(public: bool) -> HTTPRouteHandler:
    """What answers `GET /metrics`: to everybody, or to operators."""
    return get("/metrics", include_in_schema=False, opt=None if public else OPERATOR)(metrics_page)


async def metrics_page(runtime: NamedRuntime) -> Response[bytes]:
    """The page that Prometheus reads."""
    probes = runtime.probes
    latency, redis, gauges = await asyncio.gather(
        probes.latency_ms(), probes.redis(), probes.gauges()
    )
    up = {"database": latency is not None} | ({"redis": redis} if runtime.redis else {})
    queues = await probes.queues() if redis or probes.own_broker else {}
    up |= {"broker": bool(queues)} if probes.own_broker else {}
    parts = Parts(runtime, up, queues)
    registries = (runtime.metrics.registry, parts, StoreGauges(gauges))
    # Some milliseconds, in which requests go on.
    content = await asyncio.to_thread(lambda: b"".join(map(generate_latest, registries)))
    return Response(content, media_type=CONTENT_TYPE_LATEST)
