"""What `aiml up` shows: a moving line for what takes time, plain lines where nobody looks on."""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console


class Terminal(Console):
    """A console that outlives its reader: nobody may be left to read when the terminal is gone."""

    def on_broken_pipe(self) -> None:
        """Go on without output."""


class Progress:
    """Prints to standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Terminal(highlight=False, markup=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Print a line as it is."""
        with contextlib.suppress(OSError):
            self._console.print(line)

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Show that `what` is being done, and then how long it took."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(what):
                yield
        else:
            self.say(f"{what} ...")
            yield
        self.say(f"{what}: done in {time.monotonic() - started:.1f} s")
