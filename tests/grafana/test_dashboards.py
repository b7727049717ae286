"""The dashboards are those of grafana/build, and ask for what there is."""

import re

import pytest

from grafana.build.files import written
from tests.grafana.reading import GRAFANA, Asked, contract, dashboards, documented, panels, queries

COUNTER = re.compile(r"\w+_(?:total|bucket|count|sum)\b(?:\{[^}]*\})?(\[\S+?\])?")
QUERIES = pytest.mark.parametrize("asked", queries(), ids=lambda asked: asked.where)
PANELS = pytest.mark.parametrize(
    "panel", [panel for _, panel in panels()], ids=[f"{name}: {p['title']}" for name, p in panels()]
)


def test_the_files_are_what_the_code_writes() -> None:
    found = {path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()}
    assert found == written(), "run `make dashboards`"


@PANELS
def test_a_panel_says_what_it_shows(panel: dict) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]


def test_ids_are_nobody_elses() -> None:
    assert len({dashboard["uid"] for dashboard in dashboards().values()}) == len(dashboards()) == 4
    for dashboard in dashboards().values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]
        assert len(set(titles)) == len(titles)


def test_no_panel_covers_another() -> None:
    for dashboard in dashboards().values():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (place["x"] + column, place["y"] + row)
                for column in range(place["w"])
                for row in range(place["h"])
            }
            assert place["x"] + place["w"] <= 24
            assert not taken & cells, panel["title"]
            taken |= cells


@QUERIES
def test_a_query_asks_for_metrics_and_labels_that_are_documented(asked: Asked) -> None:
    allowed: set[str] = set()
    for metric, labels in asked.metrics.items():
        known = documented(metric)
        assert known is not None, metric
        assert labels <= known, metric
        allowed |= known
    assert asked.grouped_by <= allowed
    assert asked.metrics


@QUERIES
def test_counters_are_read_as_rates(asked: Asked) -> None:
    gauges = asked.expr.replace("memory_store_importance_bucket", "gauge")
    for window in COUNTER.findall(gauges):
        wanted = r"\[\d+m\]" if asked.where.startswith("alert") else r"\[\$__rate_interval\]"
        assert re.fullmatch(wanted, window)


def test_each_documented_metric_is_shown_or_watched() -> None:
    """`http_requests_in_flight` and all others; what nobody looks at need not be counted."""
    seen = {
        re.sub(r"_(bucket|count|sum)$", "", name) for each in queries() for name in each.metrics
    }
    shown = seen | {name for each in queries() for name in each.metrics}
    assert contract().keys() - shown == set()
