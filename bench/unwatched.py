"""The `aiml` command with nothing in it that watches: it counts nothing, and logs no INFO.

    python -m bench.unwatched api

No setting does that; it is what watching is compared with.
"""

from contextlib import nullcontext
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

from cli.main import main

COUNTING: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Counter, ("inc",)),
    (Gauge, ("inc", "dec", "set")),
    (Histogram, ("observe",)),
)


def do_nothing(*_: Any, **__: Any) -> None:
    """In the place of what counts and logs."""


def itself(metric: Any, *_: Any, **__: Any) -> Any:
    """In the place of looking up a metric by its labels."""
    return metric


def unwatch() -> None:
    """Take out of this process what counts, and what makes lines that nobody would see."""
    for metric, names in COUNTING:
        replace(metric, labels=itself, **dict.fromkeys(names, do_nothing))
    replace(Histogram, time=lambda _: nullcontext())
    replace(structlog.stdlib.BoundLogger, info=do_nothing)
    replace(structlog.contextvars, bind_contextvars=do_nothing, clear_contextvars=do_nothing)


def replace(owner: Any, **named: Any) -> None:
    """Put others in the place of what `owner` has by these names."""
    for name, other in named.items():
        setattr(owner, name, other)


if __name__ == "__main__":
    unwatch()
    main(prog_name="aiml")
