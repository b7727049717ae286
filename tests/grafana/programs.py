"""Prometheus's programs, where `make prometheus` has put them."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".programs" / "bin"
NEEDED = ("prometheus", "promtool", "alertmanager", "amtool")

has_prometheus = pytest.mark.skipif(
    not all((FOLDER / name).exists() for name in NEEDED),
    reason="Prometheus is not here: `make prometheus` gets it, where apt is or it is on PATH",
)


def run(program: str, *arguments: str, folder: Path = ROOT / "grafana") -> str:
    """What the program says; fails the test when it does not end well."""
    done = subprocess.run(
        [FOLDER / program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
