"""Leaving a provider alone for a while that has failed again and again."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pybreaker
import structlog

from memory.embedding.retrying import TemporaryFailureError
from memory.errors import (
    EmbeddingError,
    EmbeddingRejectedError,
    EmbeddingSetupError,
    EmbeddingUnavailableError,
)

log = structlog.get_logger(__name__)

CLOSED, TRYING, OPEN = 0, 1, 2
NUMBERS = {
    pybreaker.STATE_CLOSED: CLOSED,
    pybreaker.STATE_HALF_OPEN: TRYING,
    pybreaker.STATE_OPEN: OPEN,
}
# A provider that refuses is there.
ANSWERS = (EmbeddingRejectedError, EmbeddingSetupError)
# What was answered this long ago still says that the provider is there.
ANSWER_SECONDS = 10.0

Answer = TypeVar("Answer")
# Hears the provider's name and the state that its breaker is in from now on.
Listener = Callable[[str, int], None]


@dataclass(frozen=True)
class Caution:
    """When a provider is left alone, and for how long."""

    failures: int = 5
    """So many tries without an answer in a row."""
    seconds: float = 30.0
    """Then one try goes through; after a failure it is left alone as long again."""
    clock: Callable[[], float] = time.monotonic


CAUTION = Caution()


class Breaker(pybreaker.CircuitBreakerListener):
    """Stands before one provider; safe from several threads, whose tries go on side by side.

    pybreaker counts and changes the state. Its `call` holds a lock for as long as the call takes,
    and it looks at the wall's clock, which may be put back: so it is only told how a try ended,
    and whether one may begin is seen to here.
    """

    def __init__(self, provider: str, caution: Caution = CAUTION) -> None:
        self._provider = provider
        self._caution = caution
        self._lock = threading.RLock()
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=caution.failures, exclude=ANSWERS, listeners=[self]
        )
        self._listeners: list[Listener] = []
        self._opened = self._failing_since = 0.0
        self._answered = -math.inf
        self._trial: object = None

    @property
    def state(self) -> int:
        """0 closed, 1 trying again, 2 open. An open one stays so until somebody tries."""
        return NUMBERS[self._breaker.current_state]

    @property
    def in_doubt(self) -> bool:
        """Whether the last try failed."""
        return self.state != CLOSED or self._breaker.fail_counter > 0

    @property
    def answered_lately(self) -> bool:
        """Whether an answer came in the last ten seconds, whatever it was."""
        return self._caution.clock() - self._answered < ANSWER_SECONDS

    @property
    def obstacle(self) -> str:
        """Why no try may begin now; empty when one may."""
        with self._lock:
            left = self._opened + self._caution.seconds - self._caution.clock()
            since = f"it failed {self._breaker.fail_counter} times in a row"
            if self.state == OPEN and left > 0:
                return f"{self._provider} is left alone for {math.ceil(left)} s: {since}"
            if self.state == TRYING and self._trial is self._breaker.state:
                return f"{self._provider} is left alone while one call tries it again: {since}"
            return ""

    def listen(self, listener: Listener) -> None:
        """Tell `listener` the state, now and whenever it changes; it must be quick."""
        with self._lock:
            self._listeners.append(listener)
            listener(self._provider, self.state)

    def call(self, request: Callable[[], Answer]) -> Answer:
        """The answer of `request`, whose errors are raised as they are.

        Raises `EmbeddingUnavailableError`, which says so, when the provider is left alone, or is
        from this try on.
        """
        began_in = self._admit()
        try:
            answer = request()
        except (TemporaryFailureError, *ANSWERS) as error:
            self._note(began_in, error)
            raise
        else:
            self._note(began_in)
        finally:
            # Whatever else ended it, such as the end of a task's time, says nothing of a provider.
            with self._lock:
                if self._trial is began_in:
                    self._trial = None
        return answer

    def _admit(self) -> object:
        """The state that a try begins in."""
        with self._lock:
            if obstacle := self.obstacle:
                raise EmbeddingUnavailableError(obstacle)
            if self.state == OPEN:
                self._breaker.half_open()
            if self.state == TRYING:
                self._trial = self._breaker.state
            return self._breaker.state

    def _note(self, began_in: object, error: EmbeddingError | None = None) -> None:
        """Count how a try ended; one that began before the last change says nothing of now."""

        def end() -> None:
            if error:
                raise error

        with self._lock:
            if self._breaker.state is not began_in:
                return
            if not isinstance(error, TemporaryFailureError):
                self._answered = self._caution.clock()
            try:
                self._breaker.call(end)
            except pybreaker.CircuitBreakerError:
                said = error.said if error else ""
                raise EmbeddingUnavailableError(f"{error}; {self.obstacle}", said) from None

    def _tell_of_a_pause(self, opened: float) -> None:
        """From here on a try may begin."""
        with self._lock:
            if self.state == OPEN and self._opened == opened:
                for listener in self._listeners:
                    listener(self._provider, TRYING)

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        """Pass on what pybreaker says."""
        state, now = NUMBERS[new_state.name], self._caution.clock()
        if state == OPEN:
            self._opened = now
            # Or who has nothing to ask would tell of an open one for ever.
            pause = threading.Timer(self._caution.seconds, self._tell_of_a_pause, [now])
            pause.daemon = True
            pause.start()
            if old_state.name == pybreaker.STATE_CLOSED:
                self._failing_since = now
                log.warning(
                    "provider_left_alone", provider=self._provider, failures=cb.fail_counter
                )
        elif state == CLOSED:
            seconds = round(now - self._failing_since, 1)
            log.info("provider_answers_again", provider=self._provider, seconds=seconds)
        for listener in self._listeners:
            listener(self._provider, state)
