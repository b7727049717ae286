"""Log files that stay small."""

import functools
import os
import threading
from collections import deque
from pathlib import Path
from typing import IO

LIMIT_BYTES = 10 * 1_048_576
KEPT_FILES = 3
LINE_BYTES = 8192


class RotatingFile:
    """Appends lines to `path`; at `limit` bytes it becomes `path.1` and a new file begins.

    `limit` is in bytes, `kept` the number of old files beside the current one.
    """

    def __init__(self, path: Path, limit: int = LIMIT_BYTES, kept: int = KEPT_FILES) -> None:
        self.path = path
        self._limit = limit
        self._kept = kept
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = _opened(path)

    def write(self, line: bytes) -> None:
        """Append `line`, in a new file when it would not fit into this one."""
        if self._file.tell() and self._file.tell() + len(line) > self._limit:
            self._rotate()
        self._file.write(line)

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._kept, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}")
            source = self.path if number == 1 else newer
            if source.exists():
                source.replace(older)
        self._file = _opened(self.path)


def _opened(path: Path) -> IO[bytes]:
    # For its owner only: a log may name tenants.
    private = functools.partial(os.open, mode=0o600)
    return open(path, "ab", buffering=0, opener=private)


def follow(pipe: IO[bytes], path: Path, last: deque[bytes] | None = None) -> threading.Thread:
    """Copy the lines of `pipe` to a rotating file at `path`, and to `last`, until the pipe ends."""
    copied = (pipe, RotatingFile(path), deque[bytes](maxlen=0) if last is None else last)
    thread = threading.Thread(target=_copy, args=copied, daemon=True)
    thread.start()
    return thread


def _copy(pipe: IO[bytes], file: RotatingFile, last: deque[bytes]) -> None:
    with pipe:
        # A line without an end must not fill the memory, hence the limit.
        while line := pipe.readline(LINE_BYTES):
            last.append(line)
            try:
                file.write(line)
            except (OSError, ValueError):
                # A full disk must not block the writer: its lines are lost until there is room.
                continue
    file.close()
