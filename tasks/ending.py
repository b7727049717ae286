"""Whether the worker that this process belongs to is to end, for tasks to heed."""

import mmap

from celery.exceptions import SoftTimeLimitExceeded

# One byte that the processes of a worker share, for it is there before they are forked.
TOLD = mmap.mmap(-1, 1)


def ending() -> bool:
    """Whether this process is a worker's, and that is to end."""
    return TOLD[0] == 1


def cut_short(error: BaseException) -> bool:
    """Whether it is the worker's end that interrupts a task with `error`."""
    return ending() and is_late(error)


def is_late(error: BaseException | None) -> bool:
    """Whether a task's time was up, whatever was made of that on the way: psycopg wraps it."""
    while error is not None:
        if isinstance(error, SoftTimeLimitExceeded):
            return True
        error = error.__cause__ or error.__context__
    return False
