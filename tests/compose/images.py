"""What the images bring that a container is started with; the programs are those of this machine.

An image of our own is what docker/Dockerfile says, of the others what their makers' files say.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cli.programs import postgres_programs, valkey_program
from tests.compose.reading import ROOT
from tests.grafana import programs as prometheus

DOCKERFILE = ROOT / "docker" / "Dockerfile"
UNPACKED = ROOT / ".programs" / "unpacked" / "usr"
# Where the programs stand in a room, before the machine's own.
PROGRAMS = "/opt/programs"
SYSTEM_PATH = f"{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Image(NamedTuple):
    """What is started when a service says no more than its image."""

    user: int
    entrypoint: list[str]
    environment: dict[str, str]
    # Folders that the image has for this user; a new volume takes their owner.
    folders: list[str]


OTHERS = {
    "pgvector/pgvector": Image(
        999,
        ["image-postgres"],
        {"PGDATA": "/var/lib/postgresql/18/docker"},
        ["/var/lib/postgresql"],
    ),
    "valkey/valkey": Image(999, [], {}, ["/data"]),
    "prom/prometheus": Image(65534, ["prometheus"], {}, ["/prometheus"]),
    "prom/alertmanager": Image(65534, ["alertmanager"], {}, ["/alertmanager"]),
}


def image(reference: str) -> Image | None:
    """The image of a reference, None for one whose program is not to be had here."""
    name = reference.partition(":")[0]
    if name == "ai-memory-layer":
        return our_own()
    found = OTHERS.get(name)
    return found if found and (not found.entrypoint or program_of(found.entrypoint[0])) else None


def our_own() -> Image:
    """Ours, as the last stages of the Dockerfile make it."""
    bare = DOCKERFILE.read_text().partition(" AS bare\n")[2].partition("\nFROM")[0]
    (variables,) = re.findall(r"^ENV (.*?[^\\])$", bare, re.MULTILINE | re.DOTALL)
    environment = dict(pair.split("=", 1) for pair in variables.replace("\\\n", " ").split())
    environment["PATH"] = environment["PATH"].replace("$PATH", SYSTEM_PATH)
    (user,) = re.findall(r"^USER (\d+):", bare, re.MULTILINE)
    (owner, folders) = re.findall(r"install --directory --owner=(\d+) .*? --mode=0700 (.+)", bare)[
        0
    ]
    assert owner == user
    return Image(int(user), [], environment, folders.split())


def programs() -> Iterator[tuple[str, Path]]:
    """The programs that this machine has for the images, by the names that they have there."""
    yield "healthy", ROOT / "docker" / "healthy"
    yield "valkey-server", valkey_program()
    own = Path(__file__).parent / "programs"
    yield from ((path.name, path) for path in own.iterdir())
    postgres = postgres_programs(None)
    yield from ((name, postgres / name) for name in ("postgres", "initdb", "pg_isready"))
    for name in ("prometheus", "alertmanager"):
        if found := program_of(name):
            yield name, found


def program_of(name: str) -> Path | None:
    """Where this machine has a program, None when it has none."""
    if name.startswith("image-"):
        return Path(__file__).parent / "programs" / name
    # Debian's Alertmanager under `make prometheus` is a script that makes a view of its own, which
    # a room is already.
    unpacked = UNPACKED / "bin" / f"prometheus-{name}"
    fetched = unpacked if unpacked.exists() else prometheus.FOLDER / name
    found = str(fetched) if fetched.exists() else shutil.which(name)
    return Path(found) if found else None
