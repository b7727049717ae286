"""What one count, one log line and one span cost, each by itself; as JSON, in microseconds.

    python -m bench.instruments http://127.0.0.1:4318 2>lines

Spans are sent to that collector. In a process of its own: it sets up metrics, logs and traces as
the service's processes do, each of which may be done once.
"""

import gc
import os
import shutil
import sys
import time
from collections.abc import Callable
from timeit import Timer

import msgspec
import prometheus_client.values
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from api.metrics import Metrics
from memory import tracing
from memory.logs import configure_logging
from memory.settings import Settings
from tasks.counting import TaskMetrics
from tasks.exposing import Pool, share_values
from tasks.metrics import WorkMetrics

REPEATS = 5
RUNS = 2_000
RENDERINGS = 20
# No more than wait in line to be sent: those that find no room would cost less.
SPANS = 1_500
STOP_SECONDS = 10
ROUTES = 30
STATUSES = ("200", "400", "404", "422")
TASKS = 12
PROCESSES = 4


def best_us(work: Callable[[], object], runs: int = RUNS) -> float:
    """The microseconds of processor time of `work` in the best of some runs."""
    taken = Timer(work, timer=time.process_time).repeat(REPEATS, runs)
    return 1_000_000 * min(taken) / runs


def counting(metrics: Metrics) -> dict[str, float]:
    """Counters and histograms, with the look-up of their labels and without."""
    labels = ("POST", "/v1/messages")
    child = metrics.requests.labels(*labels, "202")
    seconds = metrics.request_seconds.labels(*labels)
    return {
        "labels() of three": best_us(lambda: metrics.requests.labels(*labels, "202")),
        "Counter.labels().inc()": best_us(lambda: metrics.requests.labels(*labels, "202").inc()),
        "Counter.inc(), labels looked up before": best_us(child.inc),
        "Histogram.labels().observe()": best_us(
            lambda: metrics.request_seconds.labels(*labels).observe(0.012)
        ),
        "Histogram.observe(), labels looked up before": best_us(lambda: seconds.observe(0.012)),
    }


def sharing() -> dict[str, float]:
    """The same in the process of a worker, which counts in files, and the page of all of them."""
    folder = share_values()
    try:
        registry = CollectorRegistry()
        tasks, work = TaskMetrics(registry), WorkMetrics(registry)
        figures = {
            "Counter.inc() in a worker": best_us(work.embedded.inc),
            "Histogram.observe() in a worker": best_us(lambda: work.lag.observe(0.4)),
        }
        fill(tasks)
        for number in range(1, PROCESSES):
            as_process(number)
            registry = CollectorRegistry()
            WorkMetrics(registry).note_embedded([0.4] * 10)
            fill(TaskMetrics(registry))
        pages = CollectorRegistry()
        pages.register(Pool(folder))
        what = f"rendering of {PROCESSES} processes of a worker, {TASKS} tasks with 2 outcomes"
        return figures | {what: best_us(lambda: generate_latest(pages), RENDERINGS)}
    finally:
        shutil.rmtree(folder)


def fill(tasks: TaskMetrics) -> None:
    """Tasks of all kinds ran, well and not so well."""
    for number in range(TASKS):
        for outcome in ("success", "failure"):
            tasks.ended.labels(f"tasks.embedding.number_{number}", outcome).inc()
            tasks.seconds.labels(f"tasks.embedding.number_{number}", outcome).observe(0.3)


def as_process(number: int) -> None:
    """What is counted from here on is counted by another process, which the files are named by."""
    prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue(  # type: ignore[no-untyped-call]
        lambda: os.getpid() + number
    )


def rendering(metrics: Metrics) -> dict[str, float]:
    """The page of an API that has answered on all its routes."""
    for number in range(ROUTES):
        route = f"/v1/route-{number}/{{id}}"
        metrics.request_seconds.labels("GET", route).observe(0.012)
        for status in STATUSES:
            metrics.requests.labels("GET", route, status).inc()
    what = f"rendering of an API's counts, {ROUTES} routes with {len(STATUSES)} statuses"
    return {what: best_us(lambda: generate_latest(metrics.registry), RENDERINGS)}


def line(level: str) -> float:
    """The line that each request writes, where lines are shown from `level` on."""
    configure_logging(level, "api")
    # Each time anew: it keeps what logging was set up with when it was first used.
    log = structlog.get_logger("api")
    structlog.contextvars.bind_contextvars(request_id="0193d9c3-7b1e-7c55-9d5a-0d6f3c1a2b4e")
    return best_us(
        lambda: log.info(
            "request",
            method="POST",
            endpoint="/v1/messages",
            status=202,
            milliseconds=3.2,
            tenant_id="acme",
            bytes=214,
        )
    )


def one_span() -> None:
    """A span such as one of a statement."""
    with tracing.child("messages_by_id", "client", {"db.system.name": "postgresql"}) as span:
        span.note({"db.response.returned_rows": 1})


def spans(collector: str) -> dict[str, float]:
    """A span that is recorded, alone and with its sending, and a line that names it."""
    without = {"a span where tracing is off": best_us(one_span)}
    tracing.start(collector, "bench")
    with tracing.begin("POST", "server"):
        traced_line = line("INFO")
        gc.collect()
        started = time.process_time()
        for _ in range(SPANS):
            one_span()
        made = time.process_time() - started
    tracing.stop(STOP_SECONDS)
    sent = time.process_time() - started
    million = 1_000_000 / SPANS
    return without | {
        "a span, recorded": made * million,
        "a span, recorded and sent": sent * million,
        "a log line at INFO within a span": traced_line,
    }


def main() -> None:
    """Measure all, and print it."""
    metrics = Metrics(Settings())
    figures = counting(metrics) | rendering(metrics) | sharing()
    figures |= {
        "a log line at INFO": line("INFO"),
        "a log line at INFO where only errors are shown": line("ERROR"),
    }
    figures |= spans(sys.argv[1])
    print(msgspec.json.encode(figures).decode())


if __name__ == "__main__":
    main()
