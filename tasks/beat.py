"""Beat's scheduler: the table of `beat_schedule.py`, kept in Redis, where one beat at a time has
the lock."""

from datetime import timedelta
from typing import Any, ClassVar

import celery
from celery.signals import beat_init, setup_logging
from prometheus_client import CollectorRegistry, Gauge
from redbeat.schedulers import RedBeatScheduler, get_redis, to_timestamp

from beat_schedule import beat_schedule
from memory import tracing
from memory.queues import MAINTENANCE
from memory.settings import Settings
from tasks.exposing import describe_process, serve_metrics
from tasks.metrics import counter
from tasks.sending import queue_depths
from tasks.tracing import about

# Where so much waits, one more of what comes again soon would only wait, too.
MOST_WAITING = 100
SOON = timedelta(hours=1)


class BeatMetrics:
    """What a beat shows of itself."""

    def __init__(self, settings: Settings) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge(
            "beat_leader", "1 while this beat has the lock.", registry=self.registry
        )
        self.tick = Gauge(
            "beat_last_tick_timestamp_seconds",
            "When it looked at its schedule last.",
            registry=self.registry,
        )
        tasks = [entry["task"] for entry in beat_schedule(settings).values()]
        self.sent = counter(
            self.registry, "beat_tasks_sent_total", "Tasks it has sent.", task=tasks
        )
        describe_process(self.registry, settings)


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """RedBeat's, whose table is written by the beat that has the lock.

    A beat that has lost its lock, as when Redis was emptied, ends: whoever runs it starts it again.
    """

    metrics: ClassVar[BeatMetrics | None] = None

    def __init__(self, app: Any, **named: Any) -> None:
        # Celery makes another one only to say at the start what it is.
        Scheduler.metrics = Scheduler.metrics or BeatMetrics(app.resources.settings)
        self._metrics = Scheduler.metrics
        super().__init__(app, **named)

    def tick(self, *args: Any, **named: Any) -> Any:
        """Send what is due; the seconds until the next look."""
        self._bring_back()
        wait = super().tick(*args, **named)
        self._metrics.leader.set(1)
        self._metrics.tick.set_to_current_time()
        return wait

    def apply_async(self, entry: Any, *args: Any, **named: Any) -> Any:
        """Send the task of `entry`, unless it comes again soon and much waits already."""
        if self._can_wait(entry) and self._much_waits():
            self.reserve(entry)
            return None
        name, known = f"publish {entry.task}", about(entry.task, "send")
        with tracing.begin(name, "producer", attributes=known):
            sent = super().apply_async(entry, *args, **named)
        self._metrics.sent.labels(entry.task).inc()
        return sent

    def _bring_back(self) -> None:
        """Have what ran in the future, by a clock that was ahead, be due as if it had run now."""
        now = self.app.now()
        after = to_timestamp(now) + self.max_interval
        key = self.app.redbeat_conf.schedule_key
        for late in get_redis(self.app).zrangebyscore(key, after, "+inf"):
            try:
                entry = self.Entry.from_key(late, app=self.app)
            except KeyError:
                continue
            if entry.last_run_at and entry.last_run_at > now:
                entry.reschedule(now)

    @staticmethod
    def _can_wait(entry: Any) -> bool:
        every = getattr(entry.schedule, "run_every", SOON)
        return bool(every < SOON)

    def _much_waits(self) -> bool:
        return queue_depths(self.app, [MAINTENANCE])[MAINTENANCE] >= MOST_WAITING


# After the logs are set up, which is done in the same way, and before it waits for the lock.
@setup_logging.connect
def serve(**_: Any) -> None:
    """Serve what this beat shows of itself."""
    settings: Settings = celery.current_app.resources.settings
    if settings.metrics_enabled and Scheduler.metrics:
        registry = Scheduler.metrics.registry
        serve_metrics(registry, settings.metrics_host, settings.beat_metrics_port)


# After RedBeat's own receiver, which waits for the lock: receivers are called as they came.
@beat_init.connect
def write_the_table_again(sender: Any, **_: Any) -> None:
    """Put the table into Redis, which may have been emptied, or written to, during the wait."""
    sender.scheduler.setup_schedule()
