"""What runs is one of our commands with settings that it takes, and may do no more than it must."""

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from api.ingest import WRITERS
from api.runtime import CHECKS, STOP_SECONDS
from cli.main import main
from db.engine import SIDE_CONNECTIONS
from db.reading import CONNECTIONS
from memory.settings import SECRETS, Settings, unknown_settings, variable
from tasks.configuration import TASK_SECONDS
from tests.api.issuing import closed
from tests.conftest import serving
from tests.kubernetes.manifests import (
    FOLDER,
    Workload,
    autoscaler,
    deployments,
    objects,
    workload,
    workloads,
)

EACH = pytest.mark.parametrize("each", workloads(), ids=lambda each: each.name)
RUNNING = pytest.mark.parametrize("each", deployments(), ids=lambda each: each.name)
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# Where the port of a process comes from.
PORTS = {
    "api": "api_port",
    "worker-embeddings": "worker_metrics_port",
    "worker-maintenance": "worker_metrics_port",
    "beat": "beat_metrics_port",
    "flower": "flower_port",
}


@EACH
def test_it_runs_a_command_that_there_is(each: Workload) -> None:
    program, *arguments = each.container["command"]
    assert program == "aiml"
    done = CliRunner().invoke(main, [*arguments, "--help"], prog_name="aiml")
    assert done.exit_code == 0, done.output
    assert f"Usage: aiml {arguments[0]}" in done.output


@EACH
def test_its_variables_are_settings_with_values_that_they_take(each: Workload) -> None:
    assert unknown_settings(each.environment) == {}
    assert each.settings.database_url


@EACH
def test_secrets_come_of_the_secret_and_of_nowhere_else(each: Workload) -> None:
    secret = {variable(field) for field in SECRETS} - {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    (config,), (example,) = objects("ConfigMap"), objects("Secret")
    assert not secret & config["data"].keys()
    for name, where in each.secrets.items():
        assert name in secret
        assert variable(where["key"].replace("-", "_")) == name
        assert where["name"] == example["metadata"]["name"]
        assert where.get("optional", False) == (where["key"] not in example["stringData"])
    (given,) = each.container["envFrom"]
    assert given == {"configMapRef": {"name": config["metadata"]["name"]}}


def test_each_secret_that_there_is_reaches_a_part() -> None:
    held = {name for each in workloads() for name in each.secrets}
    assert held == {variable(field) for field in SECRETS} - {"OTEL_EXPORTER_OTLP_ENDPOINT"}


def test_a_part_gets_no_secret_that_it_does_not_use() -> None:
    held = {name for each in workloads() for name in each.secrets if each.name != "api"}
    assert "MEMORY_API_KEYS" not in held
    assert workload("migrate").secrets.keys() == {"MEMORY_DATABASE_URL"}
    with_flower = [each.name for each in workloads() if "MEMORY_FLOWER_AUTH" in each.secrets]
    assert with_flower == ["flower"]


@EACH
def test_it_may_do_no_more_than_it_must(each: Workload) -> None:
    security, pod = each.container["securityContext"], each.pod["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == 10001
    assert "--uid 10001" in (FOLDER.parent / "Dockerfile").read_text()
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert each.pod["automountServiceAccountToken"] is False
    (account,) = objects("ServiceAccount")
    assert each.pod["serviceAccountName"] == account["metadata"]["name"]
    # A Service `flower` would otherwise set FLOWER_PORT, which Flower reads as a number.
    assert each.pod["enableServiceLinks"] is False


@EACH
def test_it_can_write_where_it_must(each: Workload) -> None:
    written = {"/tmp"} | ({each.settings.data_dir} if each.name == "flower" else set())
    assert {mount["mountPath"] for mount in each.container["volumeMounts"]} == written
    mounted = {mount["name"] for mount in each.container["volumeMounts"]}
    assert {volume["name"] for volume in each.pod["volumes"]} == mounted
    assert all(volume["emptyDir"]["sizeLimit"] for volume in each.pod["volumes"])


@EACH
def test_its_share_of_a_node_is_said(each: Workload) -> None:
    resources = each.container["resources"]
    assert resources["requests"].keys() == {"cpu", "memory"}
    # Not of the processor: held back, a pod is slow where the node has nothing else to do.
    assert resources["limits"].keys() == {"memory"}
    assert megabytes(resources["requests"]["memory"]) < megabytes(resources["limits"]["memory"])


def megabytes(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi"))


@RUNNING
def test_its_probes_ask_where_it_listens(each: Workload) -> None:
    (port,) = each.container["ports"]
    assert port["containerPort"] == getattr(each.settings, PORTS[each.name])
    for probe in PROBES:
        assert each.container[probe]["httpGet"]["port"] == port["name"]
        assert each.container[probe]["httpGet"]["path"] == paths(each)[probe]
    for host in ("api_host", "metrics_host", "flower_host"):
        assert getattr(each.settings, host) == "0.0.0.0"
    assert each.settings.metrics_enabled


def paths(each: Workload) -> dict[str, str]:
    if each.name == "api":
        live = "/v1/admin/live"
        return dict(zip(PROBES, (live, "/v1/admin/readiness", live), strict=True))
    return dict.fromkeys(PROBES, "/healthcheck" if each.name == "flower" else "/metrics")


def test_the_apis_probes_are_answered_without_a_key(settings: Settings) -> None:
    with serving(closed(settings)) as api:
        assert api.get("/v1/jobs").status_code == 401
        for path in {*paths(workload("api")).values(), "/metrics"}:
            assert api.get(path).status_code == 200


@RUNNING
def test_a_new_version_comes_before_the_old_one_goes(each: Workload) -> None:
    assert each.spec["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert each.spec["minReadySeconds"] > 0


def test_a_pod_has_the_time_that_it_needs_to_stop() -> None:
    api = workload("api")
    stop = api.settings.api_drain_seconds + api.settings.api_stop_seconds + STOP_SECONDS
    assert api.pod["terminationGracePeriodSeconds"] > stop
    # Longer than it takes until a pod that is not ready is asked no more.
    probe = api.container["readinessProbe"]
    assert api.settings.api_drain_seconds >= probe["periodSeconds"] * probe["failureThreshold"]
    for name in ("worker-embeddings", "worker-maintenance"):
        assert workload(name).pod["terminationGracePeriodSeconds"] >= TASK_SECONDS + 10


def test_the_queues_are_served() -> None:
    served = [each.container["command"][-1] for each in deployments() if "worker" in each.name]
    assert sorted(served) == ["embeddings", "maintenance"]


def test_connections_add_up_to_what_is_written() -> None:
    settings = workload("api").settings
    of_api = settings.database_pool_size + settings.database_max_overflow + SIDE_CONNECTIONS
    of_api += WRITERS + CONNECTIONS + CHECKS
    of_worker = 2 + settings.database_max_overflow
    workers = (
        autoscaler("worker-embeddings")["maxReplicas"]
        + workload("worker-maintenance").spec["replicas"]
    )
    connections = autoscaler("api")["maxReplicas"] * of_api + workers * of_worker
    assert f"{connections}, which PostgreSQL's max_connections" in Path(
        FOLDER / "config.yaml"
    ).read_text().replace("\n  # ", " ")


def test_what_probes_ask_is_served_by_flower() -> None:
    # Flower has it for this, and asks for no password there.
    source = Path(httpx.__file__).parents[1] / "flower" / "urls.py"
    assert "/healthcheck" in source.read_text()
