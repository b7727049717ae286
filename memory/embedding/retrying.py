"""Trying again when a remote provider is busy or gone, within a bounded time."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import tenacity

from memory.errors import EmbeddingUnavailableError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """How long a remote provider is waited for; all in seconds."""

    budget: float
    """No try begins later than this after the first."""
    timeout: float
    """How long one try may be silent."""
    first_wait: float = 0.5
    longest_wait: float = 8.0


# Documents are a task's, which must end within a minute; a person waits for a query.
DOCUMENT_PATIENCE = Patience(budget=20.0, timeout=20.0)
QUERY_PATIENCE = Patience(budget=3.0, timeout=3.0)


class TemporaryFailureError(EmbeddingUnavailableError):
    """The provider was busy or did not answer; `retry_after` is the wait it asked for, if any."""

    def __init__(self, message: str, said: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, said)
        self.retry_after = retry_after


def with_retries(
    request: Callable[[], Answer], patience: Patience, deadline: float | None = None
) -> Answer:
    """The answer of `request`, tried again after each `TemporaryFailureError`.

    Waits grow by doubling, with jitter, and are at least what the provider asks for. The last
    failure is raised when the next try would begin after `deadline` (of `time.monotonic()`;
    default: now and the budget).
    """
    last_start = time.monotonic() + patience.budget if deadline is None else deadline

    def wait(state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.retry_after if isinstance(failure, TemporaryFailureError) else None
        doubled = patience.first_wait * 2.0 ** (state.attempt_number - 1)
        own = min(doubled, patience.longest_wait) * random.uniform(0.5, 1.0)  # noqa: S311
        return max(asked or 0.0, own)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TemporaryFailureError),
        wait=wait,
        stop=lambda state: time.monotonic() + state.upcoming_sleep > last_start,
        reraise=True,
    )
    return retrying(request)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a `Retry-After` header asks to wait, in either of its two forms."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
