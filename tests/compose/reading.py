"""compose.yaml as an engine reads it: anchors, variables, secrets and conditions resolved."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
# $$, ${NAME}, ${NAME:-default}
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::-([^}]*))?\})")
SIZES = {"K": 2**10, "M": 2**20, "G": 2**30}


class Mount(NamedTuple):
    """What a container finds at `target`: a named volume, or a file or folder of this project."""

    source: str
    target: str
    read_only: bool

    @property
    def is_volume(self) -> bool:
        return not self.source.startswith((".", "/"))


class Service(NamedTuple):
    """One service, with what an engine would make of its lines."""

    name: str
    image: str
    user: str | None
    entrypoint: list[str]
    command: list[str]
    environment: dict[str, str]
    secrets: dict[str, Path]
    mounts: list[Mount]
    tmpfs: list[str]
    after: dict[str, str]
    healthcheck: list[str] | None
    stop_seconds: float
    memory_bytes: int
    processes: int
    profiles: list[str]
    raw: dict[str, Any]


def read(variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """The services of compose.yaml by name, with `variables` for what it takes from outside."""
    document = filled(yaml.safe_load(COMPOSE.read_text()), variables or {})
    files = {name: Path(secret["file"]) for name, secret in document["secrets"].items()}
    return {name: service(name, raw, files) for name, raw in document["services"].items()}


def service(name: str, raw: dict[str, Any], files: Mapping[str, Path]) -> Service:
    """A service, of its lines and of the files of the secrets."""
    limits = raw["deploy"]["resources"]["limits"]
    return Service(
        name,
        raw["image"],
        raw.get("user"),
        raw.get("entrypoint", []),
        raw.get("command", []),
        {key: str(value) for key, value in raw.get("environment", {}).items()},
        {secret: files[secret] for secret in raw.get("secrets", [])},
        [mount(line) for line in raw.get("volumes", [])],
        [line.partition(":")[0] for line in raw.get("tmpfs", [])],
        {other: entry["condition"] for other, entry in raw.get("depends_on", {}).items()},
        asked(raw["healthcheck"]) if "healthcheck" in raw else None,
        float(raw.get("stop_grace_period", "10s").removesuffix("s")),
        int(limits["memory"][:-1]) * SIZES[limits["memory"][-1]],
        int(limits["pids"]),
        raw.get("profiles", []),
        raw,
    )


def mount(line: str) -> Mount:
    """A mount in its short form, `source:target[:ro]`."""
    source, target, *options = line.split(":")
    return Mount(source, target, options == ["ro"])


def asked(check: dict[str, Any]) -> list[str] | None:
    """The command of a health check, None where there is to be none."""
    if check.get("disable"):
        return None
    kind, *command = check["test"]
    return ["/bin/sh", "-c", *command] if kind == "CMD-SHELL" else command


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """`value` with its variables put in."""
    if isinstance(value, dict):
        return {key: filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def put(found: re.Match[str]) -> str:
        dollar, name, default = found.groups()
        return dollar or variables.get(name) or default or ""

    return VARIABLE.sub(put, value)
