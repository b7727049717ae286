"""The end of a log, short enough for an error message."""

import json
import re
from collections.abc import Iterable

LINE_CHARACTERS = 300
# The last line of a traceback names the error; inside a group it is drawn with bars before it.
RAISED = re.compile(r"^[\s|]*(?:\w+\.)*(\w*Error: .+)$", re.MULTILINE)


def excerpt(said: Iterable[bytes], lines: int) -> str:
    """The last of the lines that a process has said, each readable as it is."""
    last = [line.decode("utf-8", "replace").rstrip("\n") for line in said][-lines:]
    return "\n".join(readable(line)[:LINE_CHARACTERS] for line in last)


def readable(line: str) -> str:
    """A line as it is, or what a JSON line says happened and why."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    said = [str(record[key]) for key in ("event", "reason", "exception") if key in record]
    raised = RAISED.findall("\n".join(said))
    return str(raised[-1]) if raised else " ".join(": ".join(said).split())
