"""What a run is to measure, how long, and with what."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import click

from bench.speed.loading import Answered
from bench.speed.outcome import Outcome
from bench.speed.texts import Texts

IDS = (
    "post-16",
    "post-64",
    "post-16-embedding",
    "batch-100",
    "drain",
    "searchable-p95",
    "search-10k-1",
    "search-10k-16",
    "search-100k-1",
    "search-100k-16",
    "search-repeat",
    "growth-100k",
    "growth-1m",
    "rss-api",
    "rss-worker",
    "start",
)


@dataclass
class Plan:
    """The run: `wanted` ids, so many `rounds` of so many `seconds` each.

    Figures are gathered in `values` and `floors` by id; `said` has what the table tells beside
    them, the last round's.
    """

    texts: Texts
    wanted: frozenset[str]
    rounds: int
    seconds: float
    large: bool
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    floors: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    said: dict[str, str] = field(default_factory=dict)

    def among(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that are wanted, in their order."""
        return [each for each in ids if each in self.wanted]

    def note(self, name: str, value: float, floor: float | None = None, said: str = "") -> None:
        """What one round has found, told at once on standard error."""
        self.values[name].append(value)
        if floor is not None:
            self.floors[name].append(floor)
        self.said[name] = said
        beside = "" if floor is None else f", floor {floor:,.1f}, ratio {value / floor:.3f}"
        click.echo(f"{name}: {value:,.1f}{beside}; {said}", err=True)

    def outcomes(self, units: Mapping[str, str]) -> list[Outcome]:
        """What was found for each id that was wanted, in the order of `IDS`."""
        return [
            Outcome(
                name,
                units[name],
                self.values.get(name, []),
                self.floors.get(name, []),
                self.said.get(name, ""),
            )
            for name in self.among(IDS)
        ]


def told(answered: Answered) -> str:
    """The times of the answers, and what each process spent on one."""
    busy = ", ".join(f"{name} {value:,.0f}" for name, value in answered.microseconds().items())
    p50, p95 = (answered.milliseconds(share) for share in (0.5, 0.95))
    return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms; CPU us each: {busy}"
