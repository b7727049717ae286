"""hit@k as a picture: by configuration, and by category."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import HIT_AT, Scored
from bench.report import Report

BAR_WIDTH = 0.8 / len(HIT_AT)
GROUP_INCHES = 1.1


def draw(report: Report, path: Path) -> None:
    """Write the PNG: one panel by configuration, and one by category for the first of them."""
    first = report.results[0]
    panels = {
        "hit@k by configuration": {each.name: each.overall for each in report.results},
        f"hit@k by category ({first.name})": first.by_category,
    }
    widths = [max(3, len(groups)) for groups in panels.values()]
    # A Figure of its own instead of pyplot's: it needs no screen and keeps no global state.
    figure = Figure(figsize=(GROUP_INCHES * sum(widths) + 2, 5), layout="constrained")
    columns = figure.subplots(1, len(panels), sharey=True, width_ratios=widths)
    for axes, (title, groups) in zip(columns, panels.items(), strict=True):
        _draw_groups(axes, title, groups)
    columns[0].set_ylabel("share of questions")
    labelled = columns[0].get_legend_handles_labels()
    figure.legend(*labelled, loc="outside lower center", ncols=len(HIT_AT))
    figure.suptitle(f"{report.dataset}: {report.questions} questions, {report.messages} messages")
    figure.savefig(path, dpi=120)


def _draw_groups(axes: Axes, title: str, groups: Mapping[str, Scored]) -> None:
    for place, k in enumerate(HIT_AT):
        offset = (place - (len(HIT_AT) - 1) / 2) * BAR_WIDTH
        positions = [group + offset for group in range(len(groups))]
        heights = [scored.hit[k] for scored in groups.values()]
        bars = axes.bar(positions, heights, BAR_WIDTH, label=f"hit@{k}")
        axes.bar_label(bars, fmt="%.2f", fontsize=6)
    axes.set_title(title)
    axes.set_xticks(range(len(groups)), list(groups), rotation=20, ha="right")
    # Room for the figure above a bar that reaches 1.
    axes.set_ylim(0, 1.05)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
