"""What processes show at their metrics pages."""

import re
from typing import Any

import httpx

from tests.processes import wait_until


def series(page: str) -> dict[str, float]:
    """The series of a page, by name and labels as they are written."""
    lines = page.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def own_port(process: Any) -> int:
    """Where a worker or a beat (a process, or pytest-celery's node) serves its page."""
    wait_until(lambda: "metrics_served" in process.logs(), "it serves its metrics")
    return int(re.findall(r'"port": (\d+)', process.logs())[-1])


def own_url(process: Any) -> str:
    """The address of the page of a worker or a beat."""
    return f"http://127.0.0.1:{own_port(process)}/metrics"


def own_page(process: Any) -> str:
    """The page of a worker or a beat."""
    return httpx.get(own_url(process), timeout=60).text
