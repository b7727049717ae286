"""A Prometheus and an Alertmanager that run with our files, only quicker."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.grafana.programs import FOLDER
from tests.grafana.reading import GRAFANA
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until

# What the panels' rates look back on: some scrapes, of one a second.
RATE_INTERVAL = "30s"
MORE = "more.json"


class Prometheus:
    """What is asked of a Prometheus."""

    def __init__(self, client: httpx.Client, more: Path) -> None:
        """`more` is the file of further APIs that it reads."""
        self._client = client
        self._more = more
        self.url = str(client.base_url)

    @contextlib.contextmanager
    def reading_too(self, port: int) -> Iterator[None]:
        """Another API is read; it takes up to five seconds to begin."""
        self._more.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"]}]))
        try:
            yield
        finally:
            self._more.write_text("[]")

    def get(self, path: str, **parameters: Any) -> Any:
        """The data of an answer; fails the test when there is none."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query, as they are now."""
        return list(self.get("query", query=chosen(expr))["result"])

    def value(self, expr: str) -> float | None:
        """The value of the one series of a query, None where there is none."""
        found = self.query(expr)
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def waits_for(self, *alerts: str, seconds: float = 30) -> list[dict[str, Any]]:
        """Wait until all of these fire, and give those that do."""
        wait_until(lambda: self.firing() >= set(alerts), f"{alerts} fire", seconds)
        return list(self.get("alerts")["alerts"])

    def waits_for_the_end_of(self, *alerts: str, seconds: float = 45) -> None:
        """Wait until none of these fires."""
        wait_until(lambda: not self.firing() & set(alerts), f"{alerts} are over", seconds)


def chosen(expr: str) -> str:
    """A panel's query with all processes chosen, as Grafana sends it."""
    for name, value in (("__rate_interval", RATE_INTERVAL), ("job", ".*"), ("instance", ".*")):
        expr = expr.replace(f"${name}", value)
    return expr


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[httpx.Client]:
    """Alertmanager with our file; it speaks to no other."""
    port = free_port()
    command = [
        str(FOLDER / "alertmanager"),
        f"--config.file={GRAFANA / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running("alertmanager", command, folder, port) as client:
        yield client


@contextlib.contextmanager
def prometheus(folder: Path, targets: dict[str, int], alertmanager: int) -> Iterator[Prometheus]:
    """Prometheus with our files, its jobs at these ports; it looks once a second."""
    port = free_port()
    command = [
        str(FOLDER / "prometheus"),
        f"--config.file={hurried(folder, targets, alertmanager)}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running("prometheus", command, folder, port) as client:
        yield Prometheus(client, folder / MORE)


def hurried(folder: Path, targets: dict[str, int], alertmanager: int) -> Path:
    """Our files with intervals of a second, alerts that wait for nothing, and these ports."""
    files = GRAFANA / "prometheus"
    configuration = yaml.safe_load((files / "prometheus.yml").read_text())
    configuration["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s"
    )
    for job in configuration["scrape_configs"]:
        if job["job_name"] == "memory-api":
            job["file_sd_configs"] = [{"files": [str(folder / MORE)]}]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets.pop(job['job_name'])}"]}]
    assert not targets
    there = {"targets": [f"127.0.0.1:{alertmanager}"]}
    configuration["alerting"]["alertmanagers"] = [{"static_configs": [there]}]
    rules = yaml.safe_load((files / "alerts.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["for"] = "0s"
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    return folder / "prometheus.yml"


@contextlib.contextmanager
def running(name: str, command: list[str], folder: Path, port: int) -> Iterator[httpx.Client]:
    """A client of a program that answers at `port` of this machine."""
    process = ProcessContainer(name, command, {}, folder / f"{name}.log")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            wait_until(lambda: ready(client) or not process.ready(), f"{name} is ready")
            assert process.ready(), process.logs()
            yield client
    finally:
        process.teardown()


def ready(client: httpx.Client) -> bool:
    """Whether it says that it is."""
    with contextlib.suppress(httpx.TransportError):
        return client.get("/-/ready").status_code == 200
    return False
