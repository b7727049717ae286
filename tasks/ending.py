"""Whether the worker that this process belongs to is to end, for tasks to heed."""

import mmap
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import SoftTimeLimitExceeded

from memory.interrupts import Interrupt, interrupt_behind

# One byte that the processes of a worker share, for it is there before they are forked.
TOLD = mmap.mmap(-1, 1)
# What a process of the pool takes for the news that the time of its task is up.
INTERRUPT = signal.SIGUSR1

Interrupt.register(SoftTimeLimitExceeded)


def ending() -> bool:
    """Whether this process is a worker's, and that is to end."""
    return TOLD[0] == 1


def cut_short(error: BaseException) -> bool:
    """Whether it is the worker's end that interrupts a task with `error`."""
    return ending() and is_late(error)


def is_late(error: BaseException | None) -> bool:
    """Whether a task's time was up, whatever was made of that on the way: psycopg wraps it."""
    return interrupt_behind(error) is not None


@contextmanager
def undisturbed() -> Iterator[None]:
    """While a task that was interrupted gives back what it began, it is not interrupted again."""
    before = signal.signal(INTERRUPT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(INTERRUPT, before)
