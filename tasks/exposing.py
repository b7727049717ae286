"""Metrics of processes that serve nothing else, each on a port of its own."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import prometheus_client.values
import psutil  # type: ignore[import-untyped]
import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from memory.settings import Settings
from memory.version import VERSION

log = structlog.get_logger(__name__)

SHARED = "aiml-worker-metrics-"
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def serve_metrics(
    registry: CollectorRegistry, host: str, port: int, *, again: bool = False
) -> WSGIServer | None:
    """Serve `registry` in a thread; a port that is taken costs the metrics, not the process.

    That is logged, but not when it is tried `again`.
    """
    try:
        server: WSGIServer = start_http_server(port, host, registry)[0]
    except OSError as error:
        if not again:
            log.warning("metrics_not_served", host=host, port=port, reason=error.strerror)
        return None
    log.info("metrics_served", host=host, port=server.server_port)
    return server


def describe_process(registry: CollectorRegistry, settings: Settings) -> None:
    """What each process shows of itself: its version, its use of the machine, its disks."""
    ProcessCollector(registry=registry)
    registry.register(Disks(settings))
    registry.register(Build())


class Build(Collector):
    """Which version this is."""

    def collect(self) -> Iterator[Metric]:
        """1, with the versions of the service and of Python."""
        family = GaugeMetricFamily("memory_build_info", "1.", labels=["version", "python"])
        family.add_metric([VERSION, platform.python_version()], 1)
        yield family


class Disks(Collector):
    """How full the file systems are that this process can see of those that the service fills."""

    def __init__(self, settings: Settings) -> None:
        self._folders = {"data": settings.data_folder}
        if settings.archive_dir:
            self._folders["archive"] = Path(settings.archive_dir)

    def collect(self) -> Iterator[Metric]:
        """Free and whole size by folder, without those that are not there."""
        free = GaugeMetricFamily("disk_free_bytes", "Free, for this user.", labels=["folder"])
        size = GaugeMetricFamily("disk_size_bytes", "In all.", labels=["folder"])
        for name, folder in self._folders.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield free
        yield size


class Pool(Collector):
    """What the processes of a worker's pool have counted, those that have died included."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._counted = MultiProcessCollector(None, folder)

    def collect(self) -> Iterator[Metric]:
        """The sums, the present state of those that live, and the memory of the children."""
        for pid in pids_in(Path(self._folder)):
            if not psutil.pid_exists(pid):
                mark_process_dead(pid, self._folder)
        yield from self._counted.collect()
        memory = GaugeMetricFamily("worker_pool_memory_bytes", "Resident memory of the pool.")
        memory.add_metric([], sum(map(resident, psutil.Process().children())))
        yield memory


def share_values() -> str:
    """Have this process and those that it forks count in files of a new folder, and name that.

    Metrics that are made after this are meant. What a worker that was killed has left is removed.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{SHARED}*"):
        pid = left.name.removeprefix(SHARED).partition("-")[0]
        # In a container each start may have the same number.
        gone = pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid)))
        if gone:
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{SHARED}{os.getpid()}-")
    os.environ[FOLDER_VARIABLE] = folder
    prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue()
    return folder


def pids_in(folder: Path) -> set[int]:
    """The processes that have a state in `folder`."""
    return {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}


def resident(process: psutil.Process) -> int:
    """The memory of a process in bytes, 0 when it has just ended."""
    try:
        rss: int = process.memory_info().rss
    except psutil.Error:
        return 0
    return rss
