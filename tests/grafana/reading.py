"""What the files in grafana/ hold: the queries of panels and alerts, and what is in a query."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import yaml

from tests.grafana.programs import ROOT

GRAFANA = ROOT / "grafana"
GROUPING = re.compile(r"\b(?:by|on|ignoring|group_left|without)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"(?<![\w$:])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*[\w(:])")
WORDS = {"and", "or", "unless", "offset", "bool"}
# What Prometheus and its client libraries add to the metrics that are documented.
ADDED = {"job", "instance", "le"}
OF_PROMETHEUS = {"up": set[str]()}
OF_PROCESSES = {
    f"process_{name}": set[str]()
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds")
}


class Asked(NamedTuple):
    """A query, and where it stands."""

    where: str
    expr: str

    @property
    def metrics(self) -> dict[str, set[str]]:
        """The metrics that are named, each with the labels that it must have then."""
        found: dict[str, set[str]] = {}
        for name, matchers in SELECTOR.findall(re.sub(r"\[.*?\]", "", self._ungrouped)):
            if name not in WORDS:
                found.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
        return found

    @property
    def grouped_by(self) -> set[str]:
        """The labels that series are put together by."""
        return {
            label for group in GROUPING.findall(self.expr) for label in re.findall(r"\w+", group)
        }

    @property
    def _ungrouped(self) -> str:
        return GROUPING.sub(" ", self.expr)


@cache
def dashboards() -> dict[str, Any]:
    """The dashboards as Grafana gets them, by name."""
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in files}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each panel that shows something, with the name of its dashboard."""
    for name, dashboard in dashboards().items():
        yield from ((name, panel) for panel in dashboard["panels"] if panel["type"] != "row")


def alerts() -> list[dict[str, Any]]:
    """The alerts."""
    groups = yaml.safe_load((GRAFANA / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[Asked]:
    """All that Prometheus is asked for."""
    found = [
        Asked(f"{name}: {panel['title']}", target["expr"])
        for name, panel in panels()
        for target in panel["targets"]
    ]
    return found + [Asked(f"alert {rule['alert']}", rule["expr"]) for rule in alerts()]


@cache
def contract() -> dict[str, set[str]]:
    """The metrics that docs/monitoring.md promises, each with its labels."""
    page = (ROOT / "docs" / "monitoring.md").read_text()
    found: dict[str, set[str]] = {}
    for cell in re.findall(
        r"^\| (`[a-z]\w+(?:\{.*?\})?`.*?) \| (?:API|all|worker|beat)", page, re.MULTILINE
    ):
        for name, labels in re.findall(r"`(\w+)(?:\{(.*?)\})?`", cell):
            found[name] = set(re.findall(r"\w+", labels))
    return found


def documented(metric: str) -> set[str] | None:
    """The labels that `metric` may have, None when nobody promises it."""
    known = {**contract(), **OF_PROCESSES, **OF_PROMETHEUS}
    for name in (metric, re.sub(r"_(bucket|count|sum)$", "", metric)):
        if name in known:
            return known[name] | ADDED
    return None
