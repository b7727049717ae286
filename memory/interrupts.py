"""What ends work from outside, such as the time of a task that is up: no fault of what it was at.

A library's client that it comes through may take it for a lost connection. Who interrupts work
registers the class of its exception here, so that it is told from a fault.
"""

from abc import ABC


class Interrupt(ABC):  # noqa: B024 - its members have nothing in common
    """An exception that ends work from outside; `Interrupt.register` names a class of them."""


def interrupt_behind(error: BaseException | None) -> BaseException | None:
    """The interrupt that `error` is, or was made of on the way, if any."""
    seen: set[int] = set()
    # Who raises the first of a chain again closes it to a ring.
    while error is not None and id(error) not in seen:
        if isinstance(error, Interrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
