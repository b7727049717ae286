"""The figures of a run as a table, as JSON and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from bench.speed.outcome import Outcome

COLUMNS = ("median", "min", "max", "unit", "floor", "ratio")


def table(outcomes: Sequence[Outcome]) -> Table:
    """A row an id: the median of its rounds, least and most of them, and the floor's median."""
    made = Table("id", title="As fast as the parts allow")
    for column in COLUMNS:
        made.add_column(column, justify="left" if column == "unit" else "right")
    for each in outcomes:
        spread = [shown(min(each.values)), shown(max(each.values))] if each.values else ["", ""]
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        made.add_row(each.id, shown(each.value), *spread, each.unit, shown(each.floor), ratio)
    return made


def shown(figure: float | None) -> str:
    """A figure in as many digits as it is worth."""
    if figure is None:
        return "-"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def figures(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """What programs read: of each id value, unit, floor and ratio, null where there is none."""
    return [
        {
            "id": each.id,
            "value": rounded(each.value),
            "unit": each.unit,
            "floor": rounded(each.floor),
            "ratio": rounded(each.ratio),
        }
        for each in outcomes
    ]


def rounded(figure: float | None) -> float | None:
    """Four digits; more would be chance."""
    return None if figure is None else float(f"{figure:.4g}")


def write(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the figures to a JSON file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures(outcomes)), indent=2) + b"\n")
