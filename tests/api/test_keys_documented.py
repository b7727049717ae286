"""What `docs/api.md` says of keys is true: its lines run, in their order."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from memory.settings import Settings
from tests.api.issuing import OPERATOR_KEY, closed
from tests.conftest import serving

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTION = PAGE.partition("\n## Keys\n")[2].partition("\n## ")[0]


@pytest.fixture
def commands() -> list[str]:
    """The commands of the section."""
    return re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


def test_the_lines_run(settings: Settings, commands: list[str]) -> None:
    asking, making, listing, rotating, revoking, standing = commands
    limited = msgspec.structs.replace(closed(settings), global_rate_limit="200/minute")
    with serving(limited) as api:
        here = str(api.base_url).rstrip("/")

        def run(command: str, **variables: str) -> str:
            environment = {**os.environ, "OPERATOR_KEY": OPERATOR_KEY, **variables}
            line = command.replace("http://127.0.0.1:8000", here)
            shell = ["sh", "-c", line]
            return subprocess.run(
                shell, env=environment, capture_output=True, text=True, timeout=30, check=True
            ).stdout

        def answer(command: str, **variables: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(run(command, **variables))
            return found

        assert answer(asking) == {"items": [], "next": None}
        made = answer(making)
        assert (made["label"], made["state"], made["key"][:5]) == ("chat", "live", "aiml_")
        assert [key["id"] for key in answer(listing)["items"]] == [made["id"]]
        new = answer(rotating, KEY_ID=made["id"])
        assert new["rate_limit"] == "10/second"
        assert answer(revoking, KEY_ID=made["id"])["state"] == "revoked"
        assert answer(listing)["items"][0]["id"] == new["id"]
        names = re.findall(r"^x-ratelimit-(\w+): (\d+)\r?$", run(standing), re.MULTILINE)
        assert [name for name, _ in names] == ["limit", "remaining", "reset"]
        assert names[0][1] == "200"
        assert 60 <= int(names[2][1]) <= 61
