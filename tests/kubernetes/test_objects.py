"""The manifests are what a cluster takes, and name each other rightly."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from memory.version import VERSION
from tests.kubernetes.manifests import (
    COMPONENT,
    FOLDER,
    NAME,
    ROOT,
    deployments,
    documents,
    objects,
    selects,
    workloads,
)

# The oldest that docs/deployment.md promises, and the newest that is known.
VERSIONS = ("1.27", "1.37")
# Of no Kubernetes: what KEDA brings.
FOREIGN = {"ScaledObject"}
NAMED = [(f"{file}: {each['kind']} {each['metadata']['name']}", each) for file, each in documents()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("each", [pytest.param(each, id=name) for name, each in NAMED])
def test_a_cluster_takes_it(each: dict[str, Any], version: str) -> None:
    if each["kind"] not in FOREIGN:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    wrong = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"prots": []},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_page_says_which_versions() -> None:
    assert f"Kubernetes {VERSIONS[0]} or newer" in (ROOT / "docs" / "deployment.md").read_text()


def test_all_of_it_lies_in_one_namespace() -> None:
    assert {
        each["metadata"].get("namespace") for _, each in documents() if each["kind"] != "Namespace"
    } == {"memory"}
    names = [(each["kind"], each["metadata"]["name"]) for _, each in documents()]
    assert len(set(names)) == len(names)


def test_kustomize_is_given_each_file_but_those_for_a_choice() -> None:
    read = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    by_hand = {
        "secret.example.yaml",
        "provider-egress.yaml",
        "keda.yaml",
        "prometheus-adapter.yaml",
    }
    assert set(read["resources"]) == files - by_hand
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert {name for name in by_hand if name not in page} == set()


def test_one_image_runs_it_all_in_this_version() -> None:
    assert {each.container["image"] for each in workloads()} == {f"ai-memory-layer:{VERSION}"}
    (image,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["images"]
    assert image["name"] == "ai-memory-layer"
    assert image["newTag"] == VERSION


def test_labels_say_which_part_it_is() -> None:
    for each in workloads():
        assert each.labels == {NAME: "ai-memory-layer", COMPONENT: each.name}
    for each in deployments():
        assert each.spec["selector"]["matchLabels"] == each.labels


def test_services_lead_to_ports_that_are_there() -> None:
    for service in objects("Service"):
        (behind,) = [
            each
            for each in workloads()
            if service["spec"]["selector"].items() <= each.labels.items()
        ]
        ports = {port["name"]: port["containerPort"] for port in behind.container["ports"]}
        for port in service["spec"]["ports"]:
            assert port["port"] == ports[port["targetPort"]]


def test_a_drained_node_takes_one_pod_at_a_time() -> None:
    budgets = objects("PodDisruptionBudget")
    for each in deployments():
        found = [budget for budget in budgets if selects(budget["spec"]["selector"], each.labels)]
        # Of Flower there is one, and nobody misses it for a minute.
        assert len(found) == (0 if each.name == "flower" else 1), each.name
        assert all(budget["spec"]["maxUnavailable"] == 1 for budget in found)
    assert len(budgets) == len(deployments()) - 1


def test_policies_that_are_said_to_be_of_a_namespace_are_on_the_page() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    written = (FOLDER / "network-policies.yaml").read_text()
    for label in set(re.findall(r"ai-memory-layer/[a-z-]+", written)):
        assert f"{label}=true" in page
