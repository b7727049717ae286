"""What a run of the bench found, as tables for people and as JSON for programs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
from rich.table import Table

from bench.figures import HIT_AT, RECALL_AT, Result, Scored
from bench.latency import Latency

# Beyond this many conversations their figures are in the JSON only.
MOST_ROWS = 30


@dataclass
class Report:
    """The figures of a run; `skipped` has a reason for each configuration without any."""

    dataset: str
    format: str
    at: datetime
    conversations: int
    messages: int
    questions: int
    results: list[Result] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    latency: list[Latency] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def result(self, name: str) -> Result | None:
        """The figures of the configuration `name`, if it was measured."""
        return next((each for each in self.results if each.name == name), None)


def write_json(report: Report, path: Path) -> None:
    """Write all figures to `path`."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def groups_table(result: Result) -> Table:
    """The figures of one configuration by conversation, by category and for all."""
    table = _table(f"{result.name}, by conversation and category")
    if len(result.by_conversation) <= MOST_ROWS:
        _add_rows(table, result.by_conversation)
    _add_rows(table, result.by_category)
    table.add_row("all", *_cells(result.overall))
    return table


def overall_table(report: Report) -> Table:
    """One line a configuration that was measured."""
    table = _table("All questions, by configuration")
    for result in report.results:
        table.add_row(result.name, *_cells(result.overall))
    return table


def latency_table(report: Report) -> Table:
    """The times of a search with the default configuration, by number of clients."""
    columns = ("requests", "p50 ms", "p95 ms", "requests/s", "client busy")
    table = Table("clients", *columns, title="Latency over REST, default configuration")
    for each in report.latency:
        times = (f"{each.p50_ms:.1f}", f"{each.p95_ms:.1f}", f"{each.requests_per_second:.0f}")
        table.add_row(str(each.clients), str(each.requests), *times, f"{each.client_busy:.0%}")
    return table


def remarks(report: Report) -> Iterator[str]:
    """What the tables do not show, a line each."""
    yield from report.notes
    for name, reason in report.skipped.items():
        yield f"skipped {name}: {reason}"


def _table(title: str) -> Table:
    hits, recalls = (f"hit@{k}" for k in HIT_AT), (f"recall@{k}" for k in RECALL_AT)
    return Table("", "questions", *hits, *recalls, "MRR", title=title)


def _add_rows(table: Table, groups: dict[str, Scored]) -> None:
    for name, scored in groups.items():
        table.add_row(name, *_cells(scored))
    table.add_section()


def _cells(scored: Scored) -> list[str]:
    values = [*scored.hit.values(), *scored.recall.values(), scored.mrr]
    return [str(scored.questions), *(f"{value:.3f}" for value in values)]
