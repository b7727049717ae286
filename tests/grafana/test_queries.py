"""A running service that is well: no alert fires, each query of a panel or an alert is answered."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from bench.panels import write
from tests.grafana.programs import has_prometheus
from tests.grafana.reading import Asked, dashboards, documented, queries
from tests.grafana.watching import Prometheus
from tests.kubernetes.manifests import adapter_query, adapter_rules
from tests.processes import wait_until

pytestmark = has_prometheus

# These queries find nothing in a service that is well and young.
MAY_BE_EMPTY = {
    "service: Errors by endpoint": "no request has failed",
    "pipeline: Tasks that did not succeed": "none has failed",
    "memory: Growth": "it looks back for an hour, a minute at a time",
    "memory: Largest tenants": "they are counted every 15 minutes",
}


def test_a_service_that_is_well_makes_no_alert_fire(watch: Prometheus) -> None:
    wait_until(lambda: not watch.firing(), "nothing fires")
    time.sleep(3)
    assert watch.firing() == set()


def test_each_query_is_answered(watch: Prometheus) -> None:
    empty = set()
    for asked in queries():
        found = watch.query(asked.expr)
        if not found and not asked.where.startswith("alert "):
            empty.add(asked.where)
    assert empty <= MAY_BE_EMPTY.keys()


@pytest.mark.parametrize("asked", queries(), ids=lambda asked: asked.where)
def test_prometheus_knows_the_metrics_of_each_query(watch: Prometheus, asked: Asked) -> None:
    with_samples = set(watch.get("label/__name__/values"))
    for metric, labels in asked.metrics.items():
        # What has no series yet is known by its description.
        described = watch.get("metadata", metric=metric).keys()
        assert metric in with_samples | described | {"memory_store_tenant_messages"}
        if metric in with_samples:
            known = set(watch.get("labels", **{"match[]": metric}))
            assert labels <= known
            assert known - {"__name__"} <= (documented(metric) or set())


@pytest.mark.parametrize("rule", adapter_rules(), ids=lambda rule: rule["name"]["as"])
def test_the_autoscaler_is_given_one_figure(watch: Prometheus, rule: dict[str, Any]) -> None:
    (series,) = Asked("", rule["seriesQuery"].replace('namespace!=""', "")).metrics
    for matchers in ('job="memory-api"', ""):
        (found,) = watch.query(adapter_query(rule, series, matchers))
        assert float(found["value"][1]) >= 0
    assert watch.query(adapter_query(rule, series, 'namespace="another"')) == []


def test_the_panels_can_be_drawn_without_grafana(watch: Prometheus, tmp_path: Path) -> None:
    write(watch.url, tmp_path, 30)
    assert {path.stem for path in tmp_path.glob("*.png")} == dashboards().keys()
    table = (tmp_path / "table.md").read_text().splitlines()[2:]
    assert len(table) == len([each for each in queries() if not each.where.startswith("alert ")])
    rows = [row for row in table if row.startswith("| service: Requests | ")]
    assert re.fullmatch(r".* \| 1 \| [\d.]+ req/s \|", rows[0])
