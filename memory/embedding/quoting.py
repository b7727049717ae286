"""What providers say of a text may quote it, and logs must not."""

import re
from collections.abc import Iterable

# So many characters in a row are no accident.
RUN = 16
CUT_OFF = 8
WITHHELD = "(the rest quotes a message)"


def without_quotes(reason: str, texts: Iterable[str]) -> str:
    """`reason`, which ends where it begins to have words of `texts`."""
    end = min((_quoted_from(reason, text) for text in texts), default=len(reason))
    return reason if end == len(reason) else f"{reason[:end].rstrip()} {WITHHELD}"


def _quoted_from(reason: str, text: str) -> int:
    """Where `reason` first has words of `text`; its length when it has none."""
    text = text.strip()
    if len(text) < RUN:
        # A message like "no" is in many a sentence; quoted it is the message.
        found = re.search(rf"""['"`]{re.escape(text)}['"`]""", reason) if text else None
        return found.start() if found else len(reason)
    # What is cut off at the end may be the beginning of a quotation.
    starts = range(len(reason) - CUT_OFF + 1)
    quoted = (start for start in starts if reason[start : start + RUN] in text)
    return next(quoted, len(reason))
