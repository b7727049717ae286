"""`make load` sends what it says and no more, checks the answers, and fails where it should."""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from memory.settings import Settings
from tests.api.issuing import OPERATOR_KEY, closed, issue
from tests.conftest import serving
from tests.load.allowance import Allowance, share_of
from tests.load.talking import exchanges, old_chat, remark
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until

ROOT = Path(__file__).parents[2]
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
BATCH = 100
STORED = text("select tenant_id, count(*) as stored from messages group by tenant_id")


class Run:
    """A load test that has ended: its exit code, what it said, and what it counted."""

    def __init__(self, url: httpx.URL | str, folder: Path, *options: str, key: str = OPERATOR_KEY):
        counted = folder / "counted.json"
        command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless"]
        command += ["--host", str(url), "--json-file", str(counted.with_suffix("")), *options]
        command += ["--spawn-rate", "50", "--run-time", "40s", "--stop-timeout", "10"]
        # A process of its own: locust replaces the sockets of the one that it runs in.
        environment = {"LOAD_KEY": key}
        log = folder / "load.log"
        container = ProcessContainer("load", command, environment, log)
        try:
            wait_until(lambda: not container.ready(), "the run has ended", 70)
        finally:
            # Its workers too.
            container.teardown()
        self.code, self.said = container.process.returncode, container.logs()
        entries = json.loads(counted.read_text())
        self.requests = Counter({each["name"]: each["num_requests"] for each in entries})
        self.failures = sum(each["num_failures"] for each in entries)


def stored(owner: Connection) -> dict[str, int]:
    return {row.tenant_id: row.stored for row in owner.execute(STORED)}


def test_a_run_sends_so_many_requests_and_all_are_right(
    settings: Settings, owner: Connection, tmp_path: Path
) -> None:
    with serving(closed(settings)) as api:
        options = ["--users", "10", "--requests", "70", "--tenants", "acme,umbrella"]
        run = Run(api.base_url, tmp_path, *options)
    assert run.code == 0, run.said
    assert run.requests.total() == 70
    assert run.failures == 0
    paths = {"/v1/messages", "/v1/messages/batch", "/v1/memory/search"}
    assert run.requests.keys() == paths
    found = stored(owner)
    assert found.keys() <= {"acme", "umbrella"}
    assert sum(found.values()) == (
        run.requests["/v1/messages"] + BATCH * run.requests["/v1/messages/batch"]
    )


def test_several_processes_share_the_requests(
    settings: Settings, owner: Connection, tmp_path: Path
) -> None:
    with serving(closed(settings)) as api:
        port = str(free_port())
        options = ["--users", "10", "--requests", "71", "--processes", "2", "--master-port", port]
        options += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        run = Run(api.base_url, tmp_path, *options, "AgentUser", "ChatUser")
    assert run.code == 0, run.said
    assert "2 workers" in run.said
    assert run.requests.total() == 71
    assert sum(stored(owner).values()) == run.requests["/v1/messages"]


def test_a_wrong_key_ends_the_run_and_says_so(settings: Settings, tmp_path: Path) -> None:
    with serving(closed(settings)) as api:
        run = Run(api.base_url, tmp_path, "--users", "3", "--requests", "500", key="wrong" * 5)
    assert run.code == 1
    assert "The run was ended: 401" in run.said
    assert run.requests.total() == run.failures < 30
    assert "wrongwrong" not in run.said


def test_a_key_that_may_not_search_ends_the_run(settings: Settings, tmp_path: Path) -> None:
    with serving(closed(settings)) as api:
        key = issue(api, "acme", scopes=["write"])["key"]
        options = ["--users", "2", "--requests", "500", "--tenants", "acme", "ChatUser"]
        run = Run(api.base_url, tmp_path, *options, key=key)
    assert run.code == 1
    assert "The run was ended: 403 at POST /v1/memory/search" in run.said


def test_who_is_told_to_wait_waits_and_has_not_failed(
    settings: Settings, owner: Connection, tmp_path: Path
) -> None:
    limited = msgspec.structs.replace(closed(settings), tenant_rate_limit="5/second")
    with serving(limited) as api:
        options = ["--users", "6", "--requests", "40", "--tenants", "acme", "AgentUser"]
        run = Run(api.base_url, tmp_path, *options)
    assert run.code == 0, run.said
    assert run.failures == 0
    told = [name for name in run.requests if name.endswith("(429: wait)")]
    assert told
    assert run.requests.total() == 40
    line = re.search(r"40 requests: (\d+) answered, (\d+) told to wait \(429\)", run.said)
    assert line
    assert int(line[2]) == sum(run.requests[name] for name in told)
    assert int(line[1]) + int(line[2]) == 40
    assert stored(owner).get("acme", 0) == run.requests["/v1/messages"]


def test_a_server_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    run = Run(f"http://127.0.0.1:{free_port()}", tmp_path, "--users", "2", "--requests", "6")
    assert run.code == 1
    assert run.requests.total() == run.failures == 6
    assert "6 failed (100.0%)" in run.said


@pytest.mark.parametrize(("total", "makers"), [(70, 1), (71, 2), (10, 3), (2, 4)])
def test_shares_add_up(total: int, makers: int) -> None:
    shares = [share_of(total, index, makers) for index in range(makers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_an_allowance_is_spent_once_and_when_the_last_is_answered() -> None:
    ends: list[str] = []
    allowance = Allowance(2, lambda: ends.append("end"))
    assert [allowance.take() for _ in range(3)] == [True, True, False]
    allowance.done()
    assert ends == []
    allowance.done()
    assert ends == ["end"]


def test_what_is_said_is_hardly_ever_the_same() -> None:
    random, said = Random(1), exchanges(Random(2))
    told = [next(said) for _ in range(500)]
    assert len({each.told for each in told}) > 490
    assert len({each.question for each in told}) > 150
    assert len({remark(random) for _ in range(200)}) == 200
    chat = old_chat(random, "c-1", "acme", BATCH)
    assert len(chat) == BATCH
    assert {(each["tenant_id"], each["conversation_id"]) for each in chat} == {("acme", "c-1")}


def test_the_makefile_has_the_options_that_the_page_names() -> None:
    page, makefile = (ROOT / "docs" / "load.md").read_text(), (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^\| `([A-Z]+)` \|", page, re.MULTILINE))
    recipe = makefile[makefile.index("LOAD = ") : makefile.index("prometheus: ##")]
    used: set[Any] = set(re.findall(r"\$\((?:or |if )?\$?\(?([A-Z]+)\)", recipe)) | {"KEY"}
    assert documented == used - {"VENV", "LOAD"}
