"""Beat's scheduler: the table of `beat_schedule.py`, kept in Redis, where one beat at a time has
the lock."""

from typing import Any

from celery.signals import beat_init
from redbeat.schedulers import RedBeatScheduler


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """RedBeat's, whose table is written by the beat that has the lock.

    A beat that has lost its lock, as when Redis was emptied, ends: whoever runs it starts it again.
    """


# After RedBeat's own receiver, which waits for the lock: receivers are called as they came.
@beat_init.connect
def write_the_table_again(sender: Any, **_: Any) -> None:
    """Put the table into Redis, which may have been emptied, or written to, during the wait."""
    sender.scheduler.setup_schedule()
