"""Where parts wait with their code loaded, until what they need is there.

Most of a start is the loading of code, which needs neither the servers nor the schema.
"""

import os
import sys
from collections.abc import MutableMapping

# Names, for a part that is to wait, the descriptor that it reads from.
START_LINE = "AIML_START_LINE"
BEGIN = b"."


class StartLine:
    """A pipe: each part takes a byte of it. Without this process there will be none."""

    def __init__(self) -> None:
        self.waiting, self._starter = os.pipe()

    def begin(self, parts: int) -> None:
        """Have so many parts begin, those that come to the line later too."""
        os.write(self._starter, BEGIN * parts)

    def close(self) -> None:
        """Who still waits ends."""
        os.close(self.waiting)
        os.close(self._starter)


def wait_at_line(environ: MutableMapping[str, str] = os.environ) -> None:
    """Wait for the start, if this process was given a line to wait at; end when there is none."""
    named = environ.pop(START_LINE, "")
    if not named:
        return
    descriptor = int(named)
    begun = os.read(descriptor, len(BEGIN))
    os.close(descriptor)
    if not begun:
        sys.exit("Whoever started this process has ended.")
