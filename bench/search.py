"""How well and how fast search finds what a question is about, over REST.

    python -m bench.search --dataset PATH --url http://127.0.0.1:8000

Posts each conversation as a tenant of its own, waits until all is embedded, asks every question in
each configuration of search, measures latency, and prints the figures. All of them go to a JSON
file too, and hit@k to a picture.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.asking import CONFIGURATIONS, DEFAULT, Asked, Configuration, ask
from bench.conversations import Conversation, Dataset, DatasetError, tenants
from bench.datasets.reading import FORMATS, Format, read_dataset
from bench.figures import summarise
from bench.importing import import_conversations, wait_until_embedded
from bench.latency import distinct_queries, measure_latency
from bench.plot import draw
from bench.report import Report, groups_table, latency_table, overall_table, remarks, write_json
from bench.rest import Service, ServiceError

BY_GROUP = (DEFAULT, "fusion context=2")
# Wide enough for the tables where there is no terminal to ask.
CONSOLE_WIDTH = 110


@dataclass(frozen=True)
class Plan:
    """What to measure: each conversation by its tenant, and how."""

    conversations: dict[str, Conversation]
    configurations: list[Configuration]
    latency_requests: int


async def measure(service: Service, plan: Plan, report: Report, progress: Progress) -> None:
    """Fill `report`; raises `ServiceError` when the service cannot be measured."""
    held = await import_conversations(service, plan.conversations, progress)
    replayed = sum(each.replayed for each in held.values())
    if replayed:
        report.notes.append(f"{replayed} batches were there from an earlier run")
    failed = await wait_until_embedded(service, held, progress)
    if failed:
        report.notes.append(f"{failed} messages could not be embedded")
    for configuration in plan.configurations:
        asked = await ask(service, configuration, plan.conversations, held, progress)
        add_result(report, asked)
    if report.result(DEFAULT) is None:
        raise ServiceError(f"search is refused: {report.skipped[DEFAULT]}")
    if plan.latency_requests:
        # The questions have all been asked by now, in the default configuration too.
        used = {
            (tenant, q.text) for tenant, one in plan.conversations.items() for q in one.questions
        }
        queries = distinct_queries(plan.conversations, used)
        try:
            report.latency = await measure_latency(
                service, queries, plan.latency_requests, progress
            )
        except ServiceError as error:
            report.skipped["latency"] = str(error)


def add_result(report: Report, asked: Asked) -> None:
    """Add the figures of one configuration, and what to know about them."""
    name = asked.configuration.name
    if asked.skipped is not None:
        report.skipped[name] = asked.skipped
        return
    report.results.append(summarise(name, asked.configuration.parameters, asked.answers))
    if asked.degraded:
        report.notes.append(f"{name}: {asked.degraded} answers were degraded")
    if asked.strange:
        report.notes.append(
            f"{name}: {asked.strange} answers had messages that this run did not post:"
            " the tenant holds more than the data set; take another --tenant-prefix"
        )


def begin_report(dataset: Dataset) -> Report:
    """A report with what is known before anything is measured."""
    return Report(
        dataset=dataset.name,
        format=dataset.format,
        at=datetime.now(UTC),
        conversations=len(dataset.conversations),
        messages=sum(len(each.turns) for each in dataset.conversations),
        questions=sum(len(each.questions) for each in dataset.conversations),
        notes=list(dataset.notes),
    )


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    for name in BY_GROUP:
        result = report.result(name)
        if result:
            console.print(groups_table(result))
    console.print(overall_table(report))
    if report.latency:
        console.print(latency_table(report))
    for remark in remarks(report):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)


def write(report: Report, folder: Path) -> list[Path]:
    """Write the JSON and the picture into `folder`; gives where they are."""
    figures, picture = (folder / f"search-{report.dataset}.{end}" for end in ("json", "png"))
    write_json(report, figures)
    draw(report, picture)
    return [figures, picture]


async def run(url: str, key: str | None, plan: Plan, report: Report) -> None:
    """Fill `report` from the service at `url`, with bars on the error stream meanwhile."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    async with Service(url, key) as service:
        with bars as progress:
            await measure(service, plan, report, progress)


@click.command()
@click.option("--dataset", "path", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Told by the file if not given.")
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--key", envvar="MEMORY_API_KEY", help="Sent as x-api-key.")
@click.option("--tenant-prefix", default="bench-", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many conversations.")
@click.option("--rerank", multiple=True, help="Measure this reranker too, e.g. cross_encoder.")
@click.option("--latency-requests", default=400, show_default=True, type=click.IntRange(min=0))
@click.option("--report", "folder", default="bench/results", type=click.Path(path_type=Path))
def main(
    path: Path,
    form: str | None,
    url: str,
    key: str | None,
    tenant_prefix: str,
    limit: int | None,
    rerank: tuple[str, ...],
    latency_requests: int,
    folder: Path,
) -> None:
    """Measure search on a data set: LoCoMo, REALTALK (a file or a folder) or LongMemEval."""
    extra = [Configuration(f"rerank {name}", {"rerank": name}) for name in rerank]
    try:
        # Before the work of minutes: whether its figures can be kept.
        folder.mkdir(parents=True, exist_ok=True)
        dataset = read_dataset(path, cast("Format | None", form), limit)
        conversations = tenants(dataset.conversations, tenant_prefix)
        report = begin_report(dataset)
        plan = Plan(conversations, [*CONFIGURATIONS, *extra], latency_requests)
        asyncio.run(run(url, key, plan, report))
    except (DatasetError, ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from None
    console = Console()
    console.width = max(console.width, CONSOLE_WIDTH)
    show(report, console)
    for written in write(report, folder):
        console.print(f"wrote {written}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
