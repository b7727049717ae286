"""The end of a log, short enough for an error message."""

import json
import re
from pathlib import Path

TAIL_BYTES = 65_536
LINE_CHARACTERS = 300
# The last line of a traceback names the error; inside a group it is drawn with bars before it.
RAISED = re.compile(r"^[\s|]*(?:\w+\.)*(\w*Error: .+)$", re.MULTILINE)


def excerpt(log: Path, since: int, lines: int) -> str:
    """The last lines that came after the first `since` bytes of a log, each readable as it is."""
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            # A smaller file than before is a new one.
            start = since if since <= size else 0
            file.seek(max(start, size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(readable(line)[:LINE_CHARACTERS] for line in text.splitlines()[-lines:])


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
