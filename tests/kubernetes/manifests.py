"""What the files in docker/kubernetes/ hold, as the tests ask for it."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from memory.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
# No objects of a cluster: what kustomize, Prometheus and its adapter read.
OTHERS = {"kustomization.yaml", "prometheus-adapter.yaml"}
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"


class Workload(NamedTuple):
    """A Deployment or a Job, and its one container."""

    name: str
    kind: str
    spec: dict[str, Any]

    @property
    def template(self) -> dict[str, Any]:
        """Labels and the pods' own spec."""
        found: dict[str, Any] = self.spec["template"]
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of its pods."""
        found: dict[str, Any] = self.template["spec"]
        return found

    @property
    def container(self) -> dict[str, Any]:
        """The container of its pods."""
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods."""
        return dict(self.template["metadata"]["labels"])

    @property
    def secrets(self) -> dict[str, dict[str, Any]]:
        """The variables that come of a Secret, each with where it stands."""
        return {each["name"]: each["valueFrom"]["secretKeyRef"] for each in self.container["env"]}

    @property
    def settings(self) -> Settings:
        """What its process reads, with the values of the example in place of the Secret's."""
        return load_settings(self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its process, likewise."""
        (config,), (secret,) = objects("ConfigMap"), objects("Secret")
        given = {
            name: secret["stringData"].get(where["key"], "") for name, where in self.secrets.items()
        }
        return {**config["data"], **given}


@cache
def documents() -> list[tuple[str, dict[str, Any]]]:
    """Each object with the name of its file."""
    files = sorted(path for path in FOLDER.glob("*.yaml") if path.name not in OTHERS)
    return [
        (path.name, each) for path in files for each in yaml.safe_load_all(path.read_text()) if each
    ]


def objects(kind: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    return [each for _, each in documents() if each["kind"] == kind]


def workloads() -> list[Workload]:
    """All that runs."""
    return [
        Workload(each["metadata"]["name"], each["kind"], each["spec"])
        for each in objects("Deployment") + objects("Job")
    ]


def deployments() -> list[Workload]:
    """All that runs on."""
    return [each for each in workloads() if each.kind == "Deployment"]


def workload(name: str) -> Workload:
    """One of them."""
    (found,) = [each for each in workloads() if each.name == name]
    return found


def autoscaler(name: str) -> dict[str, Any]:
    """The spec of a HorizontalPodAutoscaler."""
    (found,) = [
        each["spec"]
        for each in objects("HorizontalPodAutoscaler")
        if each["metadata"]["name"] == name
    ]
    return dict(found)


def adapter_rules() -> list[dict[str, Any]]:
    """What prometheus-adapter is told to pass on."""
    read = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())
    return list(read["externalRules"])


def adapter_query(rule: dict[str, Any], series: str, matchers: str) -> str:
    """The query that the adapter makes of a rule for one series."""
    query: str = rule["metricsQuery"]
    return query.replace("<<.Series>>", series).replace("<<.LabelMatchers>>", matchers)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector takes a pod with these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    rules = selector.get("matchExpressions", [])
    assert {rule["operator"] for rule in rules} <= {"In"}
    return wanted and all(labels.get(rule["key"]) in rule["values"] for rule in rules)
