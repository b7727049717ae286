"""What became of the messages of a task, in a line for people: Flower shows it as the result."""

from collections import Counter
from typing import NamedTuple

from memory.errors import NotEmbeddedError
from tasks.sending import first_few


class Failure(NamedTuple):
    """Why messages that were claimed together were not embedded, and what becomes of them."""

    reason: str
    follows: str

    def __str__(self) -> str:
        return f"{self.follows}: {self.reason}"


class Outcome:
    """Notes lot by lot what was embedded and what was not."""

    def __init__(self) -> None:
        self._embedded: Counter[str] = Counter()
        self._failed: Counter[tuple[str, Failure]] = Counter()

    def note(self, tenant_id: str, messages: int, failure: Failure | None) -> None:
        """So many messages of a tenant were embedded, or were not because of `failure`."""
        if failure is None:
            self._embedded[tenant_id] += messages
        else:
            self._failed[tenant_id, failure] += messages

    def told(self) -> str:
        """The line; raises `NotEmbeddedError` with it when something was not embedded."""
        embedded = [f"{tenant}: {count}" for tenant, count in self._embedded.items() if count]
        lines = [f"{first_few(embedded)} embedded"] if embedded else []
        if self._failed:
            # First, for a list shows the beginning of a line.
            failed = [
                f"{tenant}: {count} {failure}"
                for (tenant, failure), count in self._failed.most_common()
            ]
            raise NotEmbeddedError("; ".join([first_few(failed, "; "), *lines]))
        return lines[0] if lines else "nothing left to do"
