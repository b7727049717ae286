"""Figures of turns: by turns several variants were measured, again and again, and are compared.

A machine is not as fast in one minute as in the next, so what one variant costs more than another
is the median of what it has cost more in each round, not a difference of medians.
"""

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.latency import percentile

Key = tuple[str, int]
"""What is asked, and by how many clients at once."""


class Turn(NamedTuple):
    """Of the requests of one round: processor time of the API for each, and how long they took."""

    api_us: float
    p50_ms: float
    p95_ms: float


class Added(NamedTuple):
    """What one variant costs more than another: the median over the rounds, and the quartiles."""

    median: float
    low: float
    high: float


def turn_of(taken: Sequence[float], busy: float) -> Turn:
    """The figures of a round whose answers took so many seconds, and the API so many of a CPU."""
    return Turn(
        1_000_000 * busy / len(taken), 1000 * percentile(taken, 0.5), 1000 * percentile(taken, 0.95)
    )


def medians(turns: Sequence[Turn]) -> Turn:
    """The median of each figure."""
    return Turn(*(statistics.median(values) for values in zip(*turns, strict=True)))


def added(turns: Sequence[Turn], others: Sequence[Turn]) -> Added:
    """The processor time that `turns` cost more than `others` of the same rounds."""
    more = [turn.api_us - other.api_us for turn, other in zip(turns, others, strict=True)]
    return Added(statistics.median(more), percentile(more, 0.25), percentile(more, 0.75))


def drawn(count: int, seed: str) -> list[int]:
    """The order of `count` variants in a round, by lot, and the same for the same `seed`.

    Who comes after whom matters: what one leaves in the processor's caches the next pays for.
    """
    return random.Random(seed).sample(range(count), count)


def compared(
    turns: Mapping[Key, Mapping[str, Sequence[Turn]]], beside: Mapping[str, str]
) -> Iterator[list[str]]:
    """A row of cells for each variant; `beside` names the one that each is compared with."""
    for (request, clients), variants in turns.items():
        first = medians(next(iter(variants.values())))
        for name, of_one in variants.items():
            middle = medians(of_one)
            more, share = "", ""
            if name in beside:
                extra = added(of_one, variants[beside[name]])
                more = f"{extra.median:+,.0f} ({extra.low:+,.0f} .. {extra.high:+,.0f})"
                share = f"{extra.median / first.api_us:+.1%}"
            times = [f"{middle.p50_ms:.2f}", f"{middle.p95_ms:.2f}"]
            yield [request, str(clients), name, f"{middle.api_us:,.0f}", more, share, *times]


def markdown(columns: Sequence[str], rows: Iterator[list[str]]) -> str:
    """A table as Markdown has it; columns whose names end in ` ` are of words, all others right."""
    lines = [" | ".join(columns), " | ".join("---" if c[-1] == " " else "--:" for c in columns)]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])
