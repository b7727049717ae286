"""How fast the service is, beside what its parts can do alone on the same machine.

    python -m bench.speed --only post-16,post-64

Starts servers of its own. `docs/speed.md` says what each figure is, and what its floor.
"""

import os
from pathlib import Path

import click
from rich.console import Console

from bench.conversations import DatasetError
from bench.serving import end_in_order
from bench.speed import embedding, picture, reads, report, starting, writes
from bench.speed.loading import client_alone
from bench.speed.plan import IDS, Plan
from bench.speed.texts import texts

UNITS = {
    **dict.fromkeys(("post-16", "post-64", "post-16-embedding"), "requests/s"),
    "batch-100": "messages/s",
    "drain": "texts/s",
    "searchable-p95": "ms",
    **dict.fromkeys([name for name in IDS if name.startswith("search-")], "requests/s"),
    **dict.fromkeys(("growth-100k", "growth-1m"), "times"),
    **dict.fromkeys(("rss-api", "rss-worker"), "MB"),
    "start": "s",
}
CLIENTS = (16, 64)


def ids(_: click.Context, __: click.Parameter, value: str) -> frozenset[str]:
    """The ids of a list with commas; all for none."""
    given = frozenset(filter(None, value.split(",")))
    if unknown := sorted(given - set(IDS)):
        raise click.BadParameter(f"{unknown[0]}: there are {', '.join(IDS)}")
    return given or frozenset(IDS)


def load() -> str:
    """How busy the machine is, by which one sees whether others had it meanwhile."""
    (average, *_), cores = os.getloadavg(), os.cpu_count()
    return f"load of the machine: {average:.1f} on {cores} processors"


@click.command()
@click.option("--only", "wanted", default="", callback=ids, help="Ids, with commas between them.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement of a round.")
@click.option("--dataset", type=click.Path(exists=True, path_type=Path), help="Conversations.")
@click.option("--large/--no-large", envvar="BENCH_LARGE", help="A million messages, too.")
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path),
    help="Where latest.json and speed.png go.",
)
def main(
    wanted: frozenset[str],
    rounds: int,
    seconds: float,
    dataset: Path | None,
    large: bool,
    folder: Path | None,
) -> None:
    """Measure the service beside its parts, and print a table."""
    end_in_order()
    try:
        plan = Plan(texts(dataset), wanted, rounds, seconds, large)
    except DatasetError as error:
        raise click.ClickException(str(error)) from None
    console = Console(width=100)
    console.print(load())
    for clients in CLIENTS:
        alone = client_alone(clients, min(seconds, 2.0))
        each = alone.microseconds()["client"]
        console.print(
            f"client alone, {clients} connections: {alone.per_second:,.0f} requests/s,"
            f" {each:.0f} us of CPU a request"
        )
    for part in (writes, embedding, reads, starting):
        part.measure(plan)
    console.print(load())
    outcomes = plan.outcomes(UNITS)
    console.print(report.table(outcomes))
    for each_outcome in outcomes:
        console.print(f"{each_outcome.id}: {each_outcome.said}", highlight=False)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        report.write(outcomes, folder / "latest.json")
        picture.draw(outcomes, folder / "speed.png")


if __name__ == "__main__":
    main()
