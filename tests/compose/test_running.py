"""Every service of compose.yaml that can be run here is run, in order, and asked something."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compose.images import image
from tests.compose.reading import ROOT, read
from tests.compose.room import programs_of_rooms

ROOMS = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def no_rooms_because() -> str:
    """Why no rooms can be made here, empty when they can."""
    missing = [name for name in programs_of_rooms() if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)}: not here"
    if os.geteuid() != 0:
        return "rooms are made with mounts, which only root may make"
    made = subprocess.run(
        [*ROOMS, "mount", "--make-rprivate", "/"], capture_output=True, check=False
    )
    return made.stderr.decode() if made.returncode else ""


@pytest.mark.skipif(bool(no_rooms_because()), reason=no_rooms_because())
def test_all_services_run_by_their_own_command_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ROOMS, sys.executable, "-m", "tests.compose"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    seen = json.loads(done.stdout)
    here = {name for name, service in read().items() if image(service.image)}
    assert here == seen["healthy_after_seconds"].keys()
    assert here >= {"postgres", "valkey", "migrate", "api", "worker-embeddings"}
    assert here >= {"worker-maintenance", "beat", "flower"}
    order = list(seen["healthy_after_seconds"])
    assert order.index("postgres") < order.index("migrate") < order.index("api")
    if "prometheus" in here:
        assert len(seen["scraped"]) == 4
        assert seen["alertmanagers"] == ["http://alertmanager:9093/api/v2/alerts"]
    # All ended in order; uvicorn ends by the signal that it got, when all is done.
    assert set(seen["stopped"].values()) <= {0, -15}
