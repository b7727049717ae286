"""Lines that are gathered are lines like the others, and none is lost when a process ends."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, structlog
from memory import logs
logs.configure_logging({level!r}, "api")
log = structlog.get_logger("api")
async def main():
    structlog.contextvars.bind_contextvars(request_id="r-1")
    for number in range(3):
        logs.info(log, "api", "request", number=number)
    log.info("by structlog's own way")
asyncio.run(main())
"""


def said(level: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)],
        stderr=subprocess.PIPE,
        check=True,
        text=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_all_are_there_when_the_process_has_ended() -> None:
    lines = said("INFO")
    gathered = [line for line in lines if line["event"] == "request"]
    (other,) = (line for line in lines if line["event"] != "request")
    assert [line.pop("number") for line in gathered] == [0, 1, 2]
    for line in gathered:
        assert line.keys() == other.keys()
        assert {name: line[name] for name in ("process", "level", "logger", "request_id")} == {
            "process": "api",
            "level": "info",
            "logger": "api",
            "request_id": "r-1",
        }


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_a_log_without_lines_of_info_has_none(level: str) -> None:
    assert said(level) == []
