"""What Grafana's panels show, drawn without Grafana.

    python -m bench.panels [--prometheus URL] [--report FOLDER] [--seconds N]

Sends each panel's queries to a Prometheus and writes a picture of each dashboard and a table of
what was found. Without a URL it starts a service, puts it under load and reads that.
"""

import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import click
import httpx

from bench.panels_drawing import Drawn, Line, draw, shown
from bench.panels_service import ROOT, SCRAPE_SECONDS, loaded_service

POINTS = 120
MOST_VALUES = 4


class Window(NamedTuple):
    """From when to when, and how many seconds a rate looks back."""

    start: float
    end: float
    rate_seconds: float


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those that show something."""
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def found(client: httpx.Client, panel: dict[str, Any], window: Window) -> Iterator[list[Line]]:
    """The series of each of a panel's queries."""
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", f"{window.rate_seconds:g}s")
        expr = re.sub(r"\$(job|instance)\b", ".*", expr)
        step = max(1.0, (window.end - window.start) / POINTS)
        asked: dict[str, str | float] = {"query": expr, "step": step}
        asked |= {"start": window.start, "end": window.end}
        answer = client.get("/api/v1/query_range", params=asked)
        if answer.status_code != 200:
            raise click.ClickException(f"{panel['title']}: {answer.text}")
        yield [line(target["legendFormat"], each) for each in answer.json()["data"]["result"]]


def line(legend: str, series: dict[str, Any]) -> Line:
    """A series with its name, as Grafana makes it."""
    labels = series["metric"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), legend)
    points = [(float(at), float(value)) for at, value in series["values"]]
    return Line(name, labels.get("le", ""), points)


@click.command()
@click.option("--prometheus", help="Its URL; without, a service of its own is read.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("bench/results/panels"))
@click.option("--seconds", default=120.0, show_default=True, help="Load, and what is drawn.")
def main(prometheus: str | None, report: Path, seconds: float) -> None:
    """Draw the dashboards, and write a table of what their queries find."""
    report.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory-panels-") as folder:
        Path(folder).chmod(0o755)
        own = loaded_service(Path(folder), seconds)
        with nullcontext(prometheus) if prometheus else own as url:
            write(url, report, seconds)
    click.echo(f"{report}: a picture of each dashboard, and table.md")


def write(url: str, report: Path, seconds: float) -> None:
    """The pictures and the table, of the last seconds that the Prometheus at `url` knows."""
    rate_seconds = 4 * SCRAPE_SECONDS if seconds < 900 else 60
    window = Window(time.time() - seconds, time.time(), rate_seconds)
    rows = ["| panel | query | series | last value |", "| --- | --- | --- | --- |"]
    with httpx.Client(base_url=url, timeout=60) as client:
        for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
            dashboard = json.loads(path.read_text())
            drawn = []
            for panel in panels(dashboard):
                lines = list(found(client, panel, window))
                rows += table_rows(path.stem, panel, lines)
                drawn.append(Drawn(panel, [one for each in lines for one in each]))
            draw(dashboard["title"], drawn, report / f"{path.stem}.png")
    (report / "table.md").write_text("\n".join(rows) + "\n", encoding="utf-8")


def table_rows(name: str, panel: dict[str, Any], lines: Sequence[Sequence[Line]]) -> Iterator[str]:
    """A row for each query of a panel: how many series it finds, and their last values."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for target, each in zip(panel["targets"], lines, strict=True):
        last = ", ".join(dict.fromkeys(shown(one.last, unit) for one in each[:MOST_VALUES]))
        query = target["expr"].replace("|", "\\|")
        yield f"| {name}: {panel['title']} | `{query}` | {len(each)} | {last or 'nothing'} |"


if __name__ == "__main__":
    main()
