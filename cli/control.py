"""Asking a running `aiml up` for something, by files in its data folder.

Who asks writes `restart.asked` with an id of its own. The supervisor takes that away and writes
lines to `restart.said`, each with the id: what it does, and at last how it ended.
"""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import msgspec

from cli.errors import StartError
from cli.lock import holder
from cli.records import recorded, write_private

ASKED, SAID, ASKING = "restart.asked", "restart.said", "restart.lock"
ANSWER_SECONDS = 15.0
POLL_SECONDS = 0.05


class Line(msgspec.Struct, frozen=True):
    """A line of the answer; the last has `ended`, with the reason in `failed` if it has that."""

    id: str
    text: str = ""
    ended: bool = False
    failed: str = ""


class Requests:
    """What is asked of the supervisor that has the lock of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked = folder / ASKED
        # Of another time.
        self._asked.unlink(missing_ok=True)

    def next(self) -> "Answer | None":
        """The answer to give, None when nothing was asked."""
        asked = recorded(self._asked)
        if asked is None:
            return None
        self._asked.unlink(missing_ok=True)
        return Answer(self._folder / SAID, asked)


class Answer:
    """An answer line by line."""

    def __init__(self, path: Path, asked: str) -> None:
        self._path = path
        self._id = asked
        write_private(path, "")
        self.say("")

    def say(self, text: str) -> None:
        """What is being done."""
        self._write(Line(self._id, text))

    def end(self, failed: str = "") -> None:
        """All is done, or has `failed`."""
        self._write(Line(self._id, ended=True, failed=failed))

    def _write(self, line: Line) -> None:
        # A full disk is no reason to leave off in the middle.
        with contextlib.suppress(OSError), self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")


def ask(folder: Path, say: Callable[[str], None]) -> None:
    """Ask the `aiml up` on `folder` for a restart and `say` what it says, to the end.

    Raises `StartError` when none runs, when it does not answer, and when the restart fails.
    """
    if holder(folder) is None:
        raise StartError(f"No `aiml up` runs on {folder}.")
    with one_at_a_time(folder):
        asked = token_hex(8)
        write_private(folder / ASKED, asked)
        try:
            for line in answers(folder, asked):
                if line.failed:
                    raise StartError(line.failed)
                if line.text:
                    say(line.text)
        finally:
            (folder / ASKED).unlink(missing_ok=True)


def answers(folder: Path, asked: str) -> Iterator[Line]:
    """The lines about `asked`, as they come, to the last. Raises `StartError` when they stop."""
    read = 0
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        lines = lines_in(folder / SAID, asked)
        yield from lines[read:]
        read = len(lines)
        if lines and lines[-1].ended:
            return
        if holder(folder) is None:
            raise StartError("`aiml up` has ended before it was done.")
        if not lines and time.monotonic() > until:
            raise StartError(
                f"The `aiml up` on {folder} does not answer: it is starting or stopping, or of a"
                " version that cannot do this."
            )
        time.sleep(POLL_SECONDS)


def lines_in(path: Path, asked: str) -> list[Line]:
    """The whole lines of a file that are about `asked`."""
    written = (recorded(path) or "").splitlines()
    found = []
    for each in written:
        # The last one may be half written.
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(each, type=Line))
    return [line for line in found if line.id == asked]


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Raises `StartError` while another asks."""
    with (folder / ASKING).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError("Another `aiml restart` is at work; wait for it.") from None
        yield
