"""Panels as pictures: lines over time, figures, and bars of a histogram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

COLUMNS = 3
WIDTH, HEIGHT, MARGIN = 5.5, 3.2, 0.8
MOST_NAMES = 8
# From each size on, what a value is divided by and called.
SIZES = {
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (0, "B")),
    "s": ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"), (0, "ms")),
}
PER_SECOND = {"reqps": " req/s", "cps": "/s"}


@dataclass(frozen=True)
class Line:
    """A series: its name, the upper edge of its bucket, and times with values."""

    name: str
    edge: str
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The last value that is a number."""
        numbers = [value for _, value in self.points if not math.isnan(value)]
        return numbers[-1] if numbers else math.nan


@dataclass(frozen=True)
class Drawn:
    """A panel and what was found for it."""

    panel: dict[str, Any]
    lines: Sequence[Line]

    @property
    def unit(self) -> str:
        """What its values are."""
        return str(self.panel["fieldConfig"]["defaults"]["unit"])

    @property
    def words(self) -> list[str]:
        """Its last values, or the names of its series where they are all that is shown."""
        named = self.panel["options"].get("textMode") == "name"
        values = ((each, "" if named else shown(each.last, self.unit)) for each in self.lines)
        return [f"{each.name} {value}" for each, value in values]


def shown(value: float, unit: str) -> str:
    """A value for people."""
    if math.isnan(value):
        return "no number"
    if unit == "percentunit":
        return f"{value:.1%}"
    for size, name in SIZES.get(unit, ()):
        if abs(value) >= size:
            return f"{value / (size or (0.001 if name == 'ms' else 1)):.3g} {name}"
    number = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return number + PER_SECOND.get(unit, "")


def draw(title: str, panels: Sequence[Drawn], path: Path) -> None:
    """Write a picture of all panels of a dashboard."""
    rows = math.ceil(len(panels) / COLUMNS)
    # With margins of ours: to have them found takes longer than to draw.
    height = HEIGHT * rows + MARGIN
    figure = Figure(figsize=(WIDTH * COLUMNS, height))
    inner = {"bottom": MARGIN / 2 / height, "top": 1 - MARGIN / height}
    figure.subplots_adjust(left=0.05, right=0.98, hspace=0.3, wspace=0.25, **inner)
    places = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for panel, axes in zip(panels, places, strict=False):
        kind = panel.panel["type"]
        axes.set_title(panel.panel["title"], fontsize=10)
        if not panel.lines:
            say(axes, "nothing")
        elif kind == "timeseries":
            draw_lines(axes, panel)
        elif kind == "bargauge":
            draw_buckets(axes, panel)
        else:
            size = 20 if len(panel.lines) == 1 else 9
            say(axes, "\n".join(panel.words[:MOST_NAMES]), size)
    for axes in list(places):
        axes.axis("off")
    figure.suptitle(title, y=1 - MARGIN / 4 / height)
    figure.savefig(path, dpi=80)


def draw_lines(axes: Axes, panel: Drawn) -> None:
    """Values over time, in seconds before the last."""
    end = max(each.points[-1][0] for each in panel.lines)
    for place, each in enumerate(panel.lines):
        name = each.name if place < MOST_NAMES else None
        axes.plot([at - end for at, _ in each.points], [v for _, v in each.points], label=name)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, panel.unit)))
    axes.tick_params(labelsize=7)
    highest = max(
        (v for each in panel.lines for _, v in each.points if not math.isnan(v)), default=0
    )
    axes.set_ylim(0, 1.05 * highest or 1)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, loc="upper left")


def draw_buckets(axes: Axes, panel: Drawn) -> None:
    """What is in each bucket of a cumulative histogram."""
    buckets = sorted(panel.lines, key=lambda each: float(each.edge.replace("+Inf", "inf")))
    before = [0.0, *(each.last for each in buckets)]
    heights = [each.last - below for each, below in zip(buckets, before, strict=False)]
    axes.bar([each.edge for each in buckets], heights)
    axes.tick_params(labelsize=7)


def say(axes: Axes, words: str, size: int = 12) -> None:
    """Words in the place of a graph."""
    axes.axis("off")
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=size)
