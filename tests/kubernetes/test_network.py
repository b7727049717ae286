"""Nobody talks to anybody, but those who must: what the policies let through, from both sides."""

from typing import Any

import pytest

from memory.urls import redis_url
from tests.kubernetes.manifests import Workload, objects, selects, workload, workloads

EACH = pytest.mark.parametrize("each", workloads(), ids=lambda each: each.name)
MONITORING = {"kubernetes.io/metadata.name": "monitoring"}
FROM_CLIENTS = {"api": "ai-memory-layer/api-access", "flower": "ai-memory-layer/flower-access"}


def rules(each: Workload, way: str) -> list[dict[str, Any]]:
    """The rules of one direction (`ingress`, `egress`) that hold for the pods of a workload."""
    return [
        rule
        for policy in objects("NetworkPolicy")
        if selects(policy["spec"]["podSelector"], each.labels)
        and way.title() in policy["spec"]["policyTypes"]
        for rule in policy["spec"].get(way, [])
    ]


def reached(each: Workload) -> set[int]:
    """The ports of elsewhere that it may connect to, by our own choice of files."""
    return {port["port"] for rule in rules(each, "egress") for port in rule["ports"]}


def test_what_is_not_allowed_is_forbidden() -> None:
    (denied,) = [
        policy["spec"]
        for policy in objects("NetworkPolicy")
        if policy["metadata"]["name"] == "deny-all"
    ]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@EACH
def test_no_rule_is_for_everybody(each: Workload) -> None:
    for rule in rules(each, "ingress"):
        assert rule["from"]
        assert rule["ports"]
    for rule in rules(each, "egress"):
        assert rule["to"]
        assert rule["ports"]


@EACH
def test_a_port_is_reached_by_those_that_it_is_for(each: Workload) -> None:
    ports = {port["name"] for port in each.container.get("ports", [])}
    by_port = [
        (port["port"], caller["namespaceSelector"]["matchLabels"])
        for rule in rules(each, "ingress")
        for port in rule["ports"]
        for caller in rule["from"]
    ]
    assert {port for port, _ in by_port} == ports
    callers = [caller for _, caller in by_port]
    # Flower's own metrics are read by nobody: they say what the workers' say.
    assert (MONITORING in callers) == (each.name in measured())
    clients = {FROM_CLIENTS[each.name]: "true"} if each.name in FROM_CLIENTS else None
    assert [caller for caller in callers if caller != MONITORING] == ([clients] if clients else [])


def measured() -> set[str]:
    return {"api", "worker-embeddings", "worker-maintenance", "beat"}


@EACH
def test_it_reaches_what_it_works_with_and_no_more(each: Workload) -> None:
    needed = {53, 4318}
    # Beat and Flower are told of the database, as all parts are, and never ask it.
    if each.name not in ("beat", "flower"):
        needed |= {5432}
    if each.name != "migrate":
        needed |= {6379, 6380, 26379, 5671, 5672}
    assert reached(each) - {443} == needed
    # Whose model may be a provider's, behind a file that is applied by hand.
    assert (443 in reached(each)) == (
        each.name in ("api", "worker-embeddings", "worker-maintenance")
    )


def test_the_examples_addresses_are_let_through() -> None:
    settings = workload("api").settings
    assert ":5432/" in settings.database_url
    assert ":6379/" in redis_url(settings.redis_url)
