"""What ends a call to a provider from outside."""

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from memory.embedding.breaker import Caution
from memory.embedding.retrying import Patience
from memory.interrupts import Interrupt, interrupt_behind
from tests.memory.embedding.conftest import Remote
from tests.memory.embedding.fake_api import DIMENSIONS, Answer, FakeApi
from tests.processes import wait_until


@Interrupt.register
class Stopped(Exception):  # noqa: N818 - it stands for what a task is told by
    """Time is up."""


def stop(*_: object) -> None:
    raise Stopped


def lose_the_connection(*_: object) -> None:
    """What a client may make of it."""
    try:
        raise Stopped
    except Stopped as error:
        raise ConnectionError("lost") from error


@pytest.fixture
def on_signal() -> Iterator[Callable[..., object]]:
    """Sets what a signal does in this thread, whatever it waits for."""
    before = signal.getsignal(signal.SIGUSR2)
    yield lambda handler: signal.signal(signal.SIGUSR2, handler)
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("handler", [stop, lose_the_connection])
def test_an_interrupt_is_no_fault_of_the_provider_and_ends_the_call(
    api: FakeApi,
    make_remote: Callable[..., Remote],
    on_signal: Callable[..., object],
    handler: object,
) -> None:
    remote = make_remote(patience=Patience(5, 20, first_wait=0.001), caution=Caution(failures=1))
    api.answers = [Answer(silent=30)]
    on_signal(handler)

    def interrupt() -> None:
        wait_until(lambda: api.requests, "it was asked")
        os.kill(os.getpid(), signal.SIGUSR2)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(Stopped):
        remote.embed(["text 1"])
    interrupter.join()
    assert len(api.requests) == 1
    assert not remote.obstacle
    assert remote.embed(["text 1"]).shape == (1, DIMENSIONS)


def test_a_chain_that_is_a_ring_is_looked_through_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert interrupt_behind(first) is None
    second.__cause__ = stopped = Stopped()
    assert interrupt_behind(first) is stopped
    assert interrupt_behind(None) is None
