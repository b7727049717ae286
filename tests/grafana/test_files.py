"""What Prometheus's own tools say of the files, and that alerts and runbook belong together."""

import re

import pytest
import yaml

from tests.grafana.programs import ROOT, has_prometheus, run
from tests.grafana.reading import GRAFANA, alerts, panels

UNIT_TESTS = sorted((GRAFANA / "prometheus").glob("*_test.yml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


@has_prometheus
def test_prometheus_takes_its_files() -> None:
    assert "26 rules found" in run("promtool", "check", "config", "prometheus/prometheus.yml")
    run("promtool", "check", "rules", "--lint-fatal", "prometheus/alerts.yml")


@has_prometheus
def test_each_alert_fires_at_its_fault_and_recovers() -> None:
    run("promtool", "test", "rules", *map(str, UNIT_TESTS))


def test_each_alert_has_its_unit_test() -> None:
    tested = [yaml.safe_load(path.read_text())["tests"] for path in UNIT_TESTS]
    scenes = [scene["name"] for scenes in tested for scene in scenes]
    for rule in alerts():
        assert any(rule["alert"] in name for name in scenes) or rule["alert"] == "InstanceDown"


@has_prometheus
def test_alertmanager_takes_its_file() -> None:
    run("amtool", "check-config", "alertmanager.yml")


@has_prometheus
@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_alerts_go_to_the_receiver_of_their_severity(severity: str) -> None:
    routing = ("config", "routes", "test", "--config.file=alertmanager.yml")
    receiver = {"critical": "critical", "warning": "warnings"}[severity]
    run("amtool", *routing, f"--verify.receivers={receiver}", f"severity={severity}")


def test_what_inhibits_and_is_inhibited_are_alerts() -> None:
    known = {rule["alert"] for rule in alerts()}
    rules = yaml.safe_load((GRAFANA / "alertmanager.yml").read_text())["inhibit_rules"]
    named = re.findall(r"alertname=~?\"([\w|]+)\"", str(rules))
    assert set("|".join(named).split("|")) <= known


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_when_it_is_over(rule: dict) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "recovery", "runbook"}
    assert rule["annotations"]["recovery"].startswith("Resolves ")
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_each_alert_has_a_section_in_the_runbook_and_each_section_its_alert() -> None:
    assert re.findall(r"^## (.*)$", RUNBOOK, re.MULTILINE) == sorted(
        (rule["alert"] for rule in alerts()), key=lambda name: RUNBOOK.index(f"## {name}\n")
    )


def test_each_section_says_all_there_is_to_know() -> None:
    for section in RUNBOOK.split("\n## ")[1:]:
        steps = re.findall(r"^\*\*(\w+)\*\* ", section, re.MULTILINE)
        assert steps == ["Means", "Look", "Do", "Over"], section.partition("\n")[0]


def test_the_runbook_names_panels_that_there_are() -> None:
    titles = {panel["title"] for _, panel in panels()}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOK.replace("\n", " ")))
    assert named
    assert {name for name in named if not any(title.startswith(name) for title in titles)} == set()
