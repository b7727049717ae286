"""Clocks of single processes, set apart from the machine's while they run."""

import mmap
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from importlib import import_module
from pathlib import Path
from uuid import UUID

import uuid_utils.compat

FORM = struct.Struct("<d")
# Whose clocks: ours, and those of the libraries that our tasks are sent, kept and run by.
PACKAGES = frozenset({"api", "celery", "cli", "db", "kombu", "memory", "redbeat", "tasks"})
# What reads a clock and is imported late.
LATE = {
    "api": ("api.server",),
    "worker": ("tasks.celery", "celery.worker.request", "kombu.transport.redis"),
    "beat": ("tasks.celery", "tasks.beat", "kombu.transport.redis"),
}


class Clock:
    """How far the clock of a process is from the machine's, kept in a file that it looks into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(FORM.pack(0.0))

    def set_apart(self, seconds: float) -> None:
        """Put it `seconds` ahead, or behind where that is negative."""
        with self.path.open("r+b") as file:
            file.write(FORM.pack(seconds))


def follow(path: Path) -> Callable[[], float]:
    """Gives the seconds that the clock at `path` is ahead now."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), FORM.size, access=mmap.ACCESS_READ)
    return lambda: float(FORM.unpack_from(shared)[0])


def set_by(path: Path, part: str) -> None:
    """Have this process, which is to be such a part, tell the time by the clock at `path`.

    Only what Python code of `PACKAGES` reads is set apart; sleeping and timeouts go by another
    clock, which nobody can set.
    """
    ahead = follow(path)
    seconds, precise, uuid7 = time.time, time.time_ns, uuid_utils.compat.uuid7

    class AnyDatetime(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Shifted(datetime, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=ahead())

        @classmethod
        def utcnow(cls) -> datetime:  # type: ignore[override]
            return cls.now(UTC).replace(tzinfo=None)

    def shifted_uuid7(*, nanoseconds: int | None = None) -> UUID:
        return uuid7(nanoseconds=time.time_ns() if nanoseconds is None else nanoseconds)

    time.time = lambda: seconds() + ahead()
    time.time_ns = lambda: precise() + int(ahead() * 1e9)
    uuid_utils.compat.uuid7 = shifted_uuid7
    for name in LATE.get(part, ()):
        import_module(name)
    # Afterwards, so that what a class's fields are said to be is read as it stands.
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PACKAGES and vars(module).get("datetime") is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
