"""Workers are scaled by figures that the service shows, found and passed on under one name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana.programs import has_prometheus, run
from tests.grafana.reading import Asked, documented
from tests.kubernetes.manifests import (
    COMPONENT,
    FOLDER,
    NAME,
    adapter_query,
    adapter_rules,
    autoscaler,
    deployments,
    objects,
    workload,
)

# What service discovery and the scrape configuration add.
ADDED = {"namespace", "pod"}
LABEL = "__meta_kubernetes_pod_label_app_kubernetes_io_"
JOBS = {
    "memory-api": {"api"},
    "memory-worker": {"worker-embeddings", "worker-maintenance"},
    "memory-beat": {"beat"},
}


def external() -> list[dict[str, Any]]:
    return [each["external"] for each in autoscaler("worker-embeddings")["metrics"]]


def triggers() -> list[dict[str, str]]:
    (scaled,) = objects("ScaledObject")
    return [each["metadata"] for each in scaled["spec"]["triggers"]]


def test_an_autoscaler_scales_what_is_there_and_nobody_else_says_how_many() -> None:
    scaled = set()
    for each in objects("HorizontalPodAutoscaler"):
        target = each["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", each["metadata"]["name"])
        assert 2 <= each["spec"]["minReplicas"] < each["spec"]["maxReplicas"]
        scaled.add(target["name"])
    # Written down as well, each `apply` would undo what the autoscaler has found.
    assert {each.name for each in deployments() if "replicas" not in each.spec} == scaled


def test_the_api_is_scaled_by_a_share_of_what_it_asks_for() -> None:
    (metric,) = autoscaler("api")["metrics"]
    assert metric["resource"]["name"] == "cpu"
    assert workload("api").container["resources"]["requests"]["cpu"]


def test_the_adapter_passes_on_what_the_autoscaler_asks_for() -> None:
    asked = {each["metric"]["name"] for each in external()}
    assert {rule["name"]["as"] for rule in adapter_rules()} == asked


@pytest.mark.parametrize("rule", adapter_rules(), ids=lambda rule: rule["name"]["as"])
def test_a_rule_names_metrics_that_are_promised(rule: dict[str, Any]) -> None:
    for query in (rule["seriesQuery"], adapter_query(rule, series_of(rule), 'namespace="memory"')):
        ((name, labels),) = Asked("the adapter", query).metrics.items()
        assert name == series_of(rule)
        assert labels - ADDED <= (documented(name) or set())


def series_of(rule: dict[str, Any]) -> str:
    pattern: str = rule["name"]["matches"]
    assert pattern.startswith("^")
    assert pattern.endswith("$")
    return pattern[1:-1]


def test_keda_asks_and_reckons_as_the_adapter_and_the_autoscaler_do() -> None:
    rules = {rule["name"]["as"]: rule for rule in adapter_rules()}
    by_adapter = set()
    for each in external():
        rule = rules[each["metric"]["name"]]
        query = adapter_query(rule, series_of(rule), 'namespace="memory"')
        by_adapter.add((query, each["target"]["averageValue"]))
    assert {(trigger["query"], trigger["threshold"]) for trigger in triggers()} == by_adapter
    (scaled,), ours = objects("ScaledObject"), autoscaler("worker-embeddings")
    assert scaled["spec"]["scaleTargetRef"]["name"] == ours["scaleTargetRef"]["name"]
    assert scaled["spec"]["minReplicaCount"] == ours["minReplicas"]
    assert scaled["spec"]["maxReplicaCount"] == ours["maxReplicas"]


def pods() -> list[dict[str, Any]]:
    """Each port of each pod as Prometheus's discovery has it, and one of somebody else."""
    found = [
        {
            "__meta_kubernetes_namespace": "memory",
            "__meta_kubernetes_pod_name": f"{each.name}-1",
            f"{LABEL}name": each.labels[NAME],
            f"{LABEL}component": each.labels[COMPONENT],
            "__meta_kubernetes_pod_container_port_name": port["name"],
            "address": f"{each.name}:{port['containerPort']}",
        }
        for each in deployments()
        for port in each.container["ports"]
    ]
    stranger = {**found[0], f"{LABEL}name": "another", "address": "another:8000"}
    return [*found, stranger]


@has_prometheus
@pytest.mark.parametrize("job", JOBS)
def test_prometheus_finds_the_pods_of_each_job(job: str, tmp_path: Path) -> None:
    read = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [each["job_name"] for each in read["scrape_configs"]] == list(JOBS)
    for each in read["scrape_configs"]:
        # Debian's Prometheus knows of no Kubernetes: what it would say is given by hand.
        (discovery,) = each.pop("kubernetes_sd_configs")
        assert discovery == {"role": "pod", "namespaces": {"names": ["memory"]}}
        each["static_configs"] = [
            {"targets": [pod["address"]], "labels": without_address(pod)} for pod in pods()
        ]
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(read))
    said = json.loads(
        run("promtool", "check", "service-discovery", "--timeout=1s", str(configuration), job)
    )
    kept = [each["labels"] for each in said if each.get("labels")]
    assert {labels["pod"].removesuffix("-1") for labels in kept} == JOBS[job]
    for labels in kept:
        assert labels["job"] == job
        assert labels["namespace"] == "memory"
        (port,) = workload(labels["pod"].removesuffix("-1")).container["ports"]
        assert labels["instance"].endswith(f":{port['containerPort']}")


def without_address(pod: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pod.items() if name != "address"}
