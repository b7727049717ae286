"""The figures of a run as a picture: each as a share of its floor."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench.speed.outcome import Outcome
from bench.speed.report import shown

ROW_INCHES = 0.4


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the PNG: a bar for each rate that has a floor, with the figures of both beside it."""
    rows = [each for each in outcomes if each.ratio is not None and each.unit.endswith("/s")][::-1]
    # A Figure of its own instead of pyplot's: it needs no screen and keeps no global state.
    figure = Figure(figsize=(9, ROW_INCHES * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots()
    ratios = [each.ratio or 0 for each in rows]
    medians = [each.value or 1 for each in rows]
    low = [min(each.values) / median for each, median in zip(rows, medians, strict=True)]
    high = [max(each.values) / median for each, median in zip(rows, medians, strict=True)]
    spread = [
        [ratio * (1 - least) for ratio, least in zip(ratios, low, strict=True)],
        [ratio * (most - 1) for ratio, most in zip(ratios, high, strict=True)],
    ]
    bars = axes.barh([each.id for each in rows], ratios, xerr=spread, capsize=3)
    labels = [f" {shown(each.value)} of {shown(each.floor)} {each.unit}" for each in rows]
    axes.bar_label(bars, labels, fontsize=8, padding=4)
    axes.axvline(1, color="grey", linewidth=1)
    axes.set_xlim(0, max([1.0, *ratios]) * 1.5)
    axes.set_xlabel("share of what the parts can do alone; least and most of the rounds")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=120)
