"""The figures as a table and as JSON."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.speed.outcome import Outcome
from bench.speed.plan import IDS, Plan
from bench.speed.report import figures, shown, table, write
from bench.speed.texts import Texts

POSTS = Outcome("post-16", "requests/s", [300.0, 100.04, 200.0], [1000.0, 400.0, 800.0])
WITHOUT = Outcome("growth-1m", "times", said="only with BENCH_LARGE=1")


def test_the_figures_are_medians_and_their_ratio() -> None:
    assert figures([POSTS]) == [
        {"id": "post-16", "value": 200.0, "unit": "requests/s", "floor": 800.0, "ratio": 0.25}
    ]


def test_what_was_not_measured_is_null(tmp_path: Path) -> None:
    write([POSTS, WITHOUT], tmp_path / "latest.json")
    read = json.loads((tmp_path / "latest.json").read_text())
    assert read[1] == {
        "id": "growth-1m",
        "value": None,
        "unit": "times",
        "floor": None,
        "ratio": None,
    }


def test_the_table_has_median_least_and_most() -> None:
    printed = io.StringIO()
    Console(width=100, file=printed).print(table([POSTS, WITHOUT]))
    lines = printed.getvalue().splitlines()
    (row,) = [line for line in lines if "post-16" in line]
    assert [each.strip() for each in row.strip("│ ").split("│")] == [
        *("post-16", "200", "100", "300", "requests/s", "800", "0.25")
    ]
    assert any("growth-1m" in line and "-" in line for line in lines)


@pytest.mark.parametrize(
    ("figure", "text"), [(None, "-"), (12345.6, "12,346"), (99.44, "99.4"), (1.234, "1.23")]
)
def test_a_figure_has_as_many_digits_as_it_is_worth(figure: float | None, text: str) -> None:
    assert shown(figure) == text


def test_outcomes_come_in_the_order_of_the_ids() -> None:
    plan = Plan(Texts([], [], ""), frozenset(IDS), rounds=1, seconds=1, large=False)
    plan.note("start", 3.0, said="warm")
    plan.note("post-16", 10.0, 20.0)
    found = plan.outcomes(dict.fromkeys(IDS, "x"))
    assert [each.id for each in found] == list(IDS)
    assert (found[0].ratio, found[-1].value, found[-1].said) == (0.5, 3.0, "warm")
