"""What compose.yaml and the Dockerfile promise can be read in them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from memory.settings import SECRETS, file_variable, unknown_settings, variable
from tests.compose.images import DOCKERFILE, our_own
from tests.compose.reading import COMPOSE, ROOT, Service, read

SERVICES = read()
EACH = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))
DEFAULT = {name for name, service in SERVICES.items() if not service.profiles}
RUN_ONCE = {"migrate", "logs-setup"}
# They write beside their programs when they start.
WRITE_AT_HOME = {"opensearch", "opensearch-dashboards"}
# The engine's own files and its socket are root's.
ROOTS = {"fluent-bit", "traefik"}
# Only what is asked from outside the machine listens beyond it.
OPEN_TO_ALL = {"traefik"}
# What an engine has, not this project.
OF_THE_HOST = {"/var/run/docker.sock", "/var/lib/docker/containers"}
FOLDER = Path(sys.executable).parent


def said(*command: str | Path) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_compose_is_of_the_form_that_compose_spec_says() -> None:
    said(FOLDER / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_the_dockerfile_is_linted() -> None:
    assert said(FOLDER / "hadolint", "docker/Dockerfile") == ""


@pytest.mark.parametrize("script", ["docker/make-secrets", "docker/logging/put-templates"])
def test_scripts_are_shell_and_may_be_executed(script: str) -> None:
    said("sh", "-n", script)
    assert (ROOT / script).stat().st_mode & 0o111


def test_every_part_is_there() -> None:
    parts = {"api", "worker-embeddings", "worker-maintenance", "beat", "flower", "migrate"}
    assert parts | {"postgres", "valkey", "prometheus", "alertmanager", "grafana"} == DEFAULT
    profiles = {profile for service in SERVICES.values() for profile in service.profiles}
    assert profiles == {"tracing", "logging", "edge", "tunnel"}


def test_what_it_takes_from_outside_has_a_default_and_is_documented() -> None:
    taken = re.findall(r"(?<!\$)\$\{(\w+)(:-)?", COMPOSE.read_text())
    page = (ROOT / "docs" / "deployment.md").read_text()
    for name, default in taken:
        assert default
        assert f"`{name}" in page, name
        # Such a name in a `.env` would be taken for a misspelt setting of `aiml up`.
        assert not name.startswith("MEMORY_")


@EACH
def test_an_image_is_pinned(service: Service) -> None:
    tag = service.image.rpartition(":")[2]
    assert re.fullmatch(r"v?\d+\.\d+\.\d+(-[\w-]+)?", tag), service.image
    if service.image.startswith("ai-memory-layer:"):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert tag == project["version"]


@EACH
def test_a_container_can_do_no_more_than_it_needs(service: Service) -> None:
    raw = service.raw
    assert raw["read_only"] is (service.name not in WRITE_AT_HOME)
    assert raw["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in raw["security_opt"]
    assert raw.get("cap_add", []) == (["DAC_READ_SEARCH"] if service.name == "fluent-bit" else [])
    assert (service.user or "").startswith("0") is (service.name in ROOTS)
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & raw.keys()
    assert raw["logging"]["options"]["max-size"]
    limits = raw["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} == limits.keys()


@EACH
def test_it_is_started_again_and_looked_at(service: Service) -> None:
    if service.name in RUN_ONCE:
        assert service.raw["restart"] == "on-failure:5"
        return
    assert service.raw["restart"] == "always"
    # The image of Fluent Bit has nothing that could ask.
    assert bool(service.healthcheck) is (service.name != "fluent-bit")


@EACH
def test_what_it_waits_for_is_healthy_or_done(service: Service) -> None:
    for other, condition in service.after.items():
        done = "service_completed_successfully" if other in RUN_ONCE else "service_healthy"
        assert condition == done
        assert set(SERVICES[other].profiles) <= set(service.profiles)


def test_who_waits_for_whom() -> None:
    parts = {"api", "worker-embeddings", "worker-maintenance", "beat", "flower"}
    for name in parts:
        assert SERVICES[name].after.keys() == {"migrate", "valkey"}
    assert SERVICES["migrate"].after.keys() == {"postgres"}
    # `docker compose up --wait` takes a container that has ended for a failure, unless a running
    # one waits for its end.
    waited_for = {other for service in SERVICES.values() for other in service.after}
    assert waited_for >= RUN_ONCE


@EACH
def test_ports_are_open_to_this_machine_only(service: Service) -> None:
    for port in service.raw.get("ports", []):
        assert port.startswith("127.0.0.1:") or service.name in OPEN_TO_ALL, port


def test_few_ports_are_open() -> None:
    assert {name for name in DEFAULT if "ports" in SERVICES[name].raw} == {
        "api",
        "flower",
        "grafana",
    }


@EACH
def test_servers_without_a_password_are_in_a_network_that_leads_nowhere(service: Service) -> None:
    networks = yaml.safe_load(COMPOSE.read_text())["networks"]
    if service.name in {"postgres", "valkey", "prometheus", "opensearch", "beat", "migrate"}:
        assert all(networks[name]["internal"] for name in service.raw["networks"])


@EACH
def test_no_secret_stands_in_an_environment_or_an_argument(service: Service) -> None:
    secret = {variable(field) for field in SECRETS} | {"POSTGRES_PASSWORD"}
    assert not secret & service.environment.keys()
    for name, value in service.environment.items():
        if name.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service.secrets
    assert not re.search(r"://[^/ ]*:[^/ ]*@", " ".join(service.command))


@EACH
def test_every_variable_of_a_part_is_a_setting(service: Service) -> None:
    assert unknown_settings(service.environment) == {}
    files = {file_variable(field) for field in SECRETS}
    assert {
        name for name in service.environment if name.startswith("MEMORY_") if name.endswith("_FILE")
    } <= files


@EACH
def test_every_mounted_file_is_there(service: Service) -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for entry in service.mounts:
        if entry.is_volume:
            assert entry.source in volumes
        elif entry.source not in OF_THE_HOST:
            assert (ROOT / entry.source).exists()
            assert entry.read_only


def test_our_image_is_of_a_user_without_rights() -> None:
    image = our_own()
    assert image.user == 10001
    assert image.environment["PATH"].startswith("/app/bin:")
    stages = re.findall(r"^FROM (\w+) AS (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert stages[-2:] == [("bare", "sentence-transformers"), ("bare", "memory")]


def test_only_what_the_image_needs_is_sent_to_its_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert allowed >= set(wheel["targets"]["wheel"]["only-include"])
    assert all((ROOT / name).exists() for name in allowed)
    assert not {"secrets", ".env", "memory.env", ".git", "tests", ".venv"} & allowed


def test_prometheus_reads_the_same_jobs_in_containers() -> None:
    def jobs(path: str) -> dict[str, list[str]]:
        document = yaml.safe_load((ROOT / path).read_text())
        return {
            job["job_name"]: [
                target for group in job["static_configs"] for target in group["targets"]
            ]
            for job in document["scrape_configs"]
        }

    here, contained = (
        jobs("grafana/prometheus/prometheus.yml"),
        jobs("docker/prometheus/prometheus.yml"),
    )
    assert here.keys() == contained.keys()
    read_from = {target.partition(":")[0] for targets in contained.values() for target in targets}
    assert read_from == {"api", "worker-embeddings", "worker-maintenance", "beat"}
