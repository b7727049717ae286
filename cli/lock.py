"""One instance a data folder."""

import fcntl
import os
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.errors import StartError

FILE = "lock"
# `holder` takes the lock for a moment to see whether it is free.
PATIENCE_SECONDS = 0.5


class FolderLock:
    """Held by the process that uses the embedded servers of `folder`; freed by its death."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Raises `StartError` when the folder is in use or cannot be written."""
        try:
            prepare_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
            descriptor = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(
                f"The data folder {self.folder} cannot be written: {error.strerror}."
                " Set MEMORY_DATA_DIR to another one."
            ) from None
        if not _taken(descriptor):
            os.close(descriptor)
            raise StartError(
                f"The data folder {self.folder} is in use by process {_pid(self.folder)}:"
                " stop that one first, or set MEMORY_DATA_DIR to another folder."
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def holder(folder: Path) -> str | None:
    """The id of the process that holds the lock of `folder`, None when nobody does."""
    try:
        with (folder / FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(folder)
    except OSError:
        return None
    return None


def prepare_folder(folder: Path) -> None:
    """Make `folder`; root's may be passed through, because the database is not root."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir()
            path.chmod(mode)  # whatever the umask says


def _taken(descriptor: int) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def _pid(folder: Path) -> str:
    return (folder / FILE).read_text(encoding="utf-8") or "unknown"
