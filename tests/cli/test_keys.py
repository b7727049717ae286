"""`aiml keys`: made, listed, replaced and revoked beside a service, or without one."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from cli.keys import COLUMNS
from cli.main import main
from memory.settings import Settings
from tests.conftest import serving
from tests.db.rows import add_key
from tests.processes import wait_until
from tests.workers import environment

KEY = re.compile(r"aiml_[A-Za-z0-9_-]{43}")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NOBODYS = "01a1fd3d-0a8d-7280-8000-000000000000"


@pytest.fixture
def alone(settings: Settings) -> Settings:
    """Settings of a service that embeds within the request and knows of no Redis."""
    return msgspec.structs.replace(settings, async_embeddings=False, redis_url="")


def run(settings: Settings, *arguments: str) -> Result:
    """What `aiml keys` says."""
    command = ["keys", *arguments]
    return CliRunner().invoke(main, command, env=environment(settings), catch_exceptions=False)


def done(settings: Settings, *arguments: str) -> str:
    """What it prints when it has done what it was told to."""
    result = run(settings, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(settings: Settings, *arguments: str) -> str:
    """The last line that it refuses with."""
    result = run(settings, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def made(settings: Settings, *arguments: str) -> tuple[str, str]:
    """A new key and its id."""
    result = run(settings, "create", *arguments)
    assert result.exit_code == 0, result.output
    key = result.stdout.removesuffix("\n")
    assert KEY.fullmatch(key)
    assert key not in result.stderr
    found = ID.search(result.stderr)
    assert found
    return key, found[0]


def status(api: httpx.Client, key: str = "", method: str = "GET", path: str = "/v1/jobs") -> int:
    """How the service answers to a key."""
    return api.request(method, path, headers={"x-api-key": key} if key else {}).status_code


def test_the_life_of_a_key(alone: Settings) -> None:
    assert done(alone, "list") == "None.\n"
    key, id_ = made(alone, "--tenant", "acme", "--tenant", "globex", "--label", "chat")
    lines = done(alone, "list").splitlines()
    assert re.split(" {2,}", lines[0].rstrip()) == list(COLUMNS)
    assert lines[1].startswith(id_)
    for part in ("chat", "acme, globex", "read, write", "live", "never"):
        assert part in lines[1]
    assert key not in "".join(lines)
    with serving(msgspec.structs.replace(alone)) as api:
        assert status(api) == 401
        assert status(api, key) == 200
        assert status(api, key, path="/v1/admin/keys") == 403
        successor = done(alone, "rotate", id_, "--grace-hours", "0", "--days", "1").strip()
        wait_until(lambda: status(api, key) == 401, "it has ended")
        assert status(api, successor) == 200
        new_id = done(alone, "list").splitlines()[1].split()[0]
        assert done(alone, "revoke", new_id) == f"Revoked: {name_of(alone, new_id)} chat\n"
        wait_until(lambda: status(api, successor) == 401, "it has ended")
        assert done(alone, "list") == "None.\n"
        ended = done(alone, "list", "--ended").splitlines()[1:]
        assert [("revoked" in line, "expired" in line) for line in ended] == [
            (True, False),
            (False, True),
        ]


def name_of(settings: Settings, id_: str) -> str:
    """The name of the key with this id, as the list shows it."""
    found = re.search(rf"{id_} +(key [0-9a-f]{{8}})", done(settings, "list", "--ended"))
    assert found
    return found[1]


def test_the_first_key_closes_a_service_that_runs(alone: Settings) -> None:
    with serving(alone) as api:
        assert status(api) == 200
        key, _ = made(alone, "--all-tenants", "--scope", "admin")
        wait_until(lambda: status(api) == 401, "it has closed")
        assert status(api, key, path="/v1/admin/keys") == 200
        audit = api.get("/v1/admin/audit", headers={"x-api-key": key}).json()["items"]
        assert [(each["action"], each["actor"]) for each in audit] == [("create_key", "aiml")]
        assert key not in str(audit)


def test_what_is_chosen_is_what_it_may(alone: Settings, owner: Connection) -> None:
    made(alone, "--all-tenants", "--scope", "read", "--rate-limit", "9/second", "--days", "0.5")
    row = owner.execute(
        text("""
            select tenants, scopes, rate_limit, created_by,
              extract(epoch from expires_at - created_at) / 3600 from api_keys
        """)
    ).one()
    assert row[:4] == (None, ["read"], "9/second", "aiml")
    assert 11.9 < row[4] < 12.1


def test_a_list_of_one_tenant(alone: Settings) -> None:
    _, everywhere = made(alone, "--all-tenants")
    _, acme = made(alone, "--tenant", "acme")
    _, globex = made(alone, *(f"--tenant={name}" for name in ("globex", *"abcd")))

    def ids(*arguments: str) -> list[str]:
        return [line.split()[0] for line in done(alone, "list", *arguments).splitlines()[1:]]

    assert ids() == [globex, acme, everywhere]
    assert ids("--tenant", "acme") == [acme, everywhere]
    assert ids("--tenant", "*") == [everywhere]
    assert " a, b, c and 2 more " in done(alone, "list", "--tenant", "globex")


@pytest.mark.parametrize("label", ["[/x]", "[red]", ":key:", "日本 🗝", "a" * 128, "'; --", "%s"])
def test_a_label_is_shown_to_the_letter(alone: Settings, label: str) -> None:
    _, id_ = made(alone, "--tenant", "acme", "--label", label)
    (line,) = done(alone, "list").splitlines()[1:]
    assert f" {label} " in line
    assert line.startswith(id_)
    assert done(alone, "revoke", id_).endswith(f" {label}\n")


def test_more_than_a_page(alone: Settings, owner: Connection) -> None:
    for _ in range(401):
        add_key(owner)
    ids = [line.split()[0] for line in done(alone, "list").splitlines()[1:]]
    assert len(set(ids)) == 401
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Give --tenant"),
        (("--tenant", "a", "--all-tenants"), "Give --tenant"),
        (("--tenant", "a b"), "$.tenants"),
        (("--tenant", "*", "--tenant", "a"), "tenants: are all with *"),
        (("--tenant", "a", "--scope", "root"), "'root'"),
        (("--tenant", "a", "--label", "a\nb"), "$.label"),
        (("--tenant", "a", "--label", "\udcff"), "label: has a lone surrogate"),
        (("--tenant", "a", "--rate-limit", "fast"), "rate_limit: "),
        (("--tenant", "a", "--days", "0"), "--days"),
        (("--tenant", "a", "--days", "nan"), "--days"),
        (("--tenant", "a", "--days", "1e300"), "--days"),
        (("--tenant", "a", "--days", "40000"), "within a century"),
    ],
)
def test_a_key_that_cannot_be(alone: Settings, arguments: tuple[str, ...], reason: str) -> None:
    assert reason in refused(alone, "create", *arguments)
    assert done(alone, "list", "--ended") == "None.\n"


def test_what_cannot_be_done(alone: Settings) -> None:
    for action in ("revoke", "rotate"):
        assert refused(alone, action, NOBODYS) == "No such key."
        assert "'x'" in refused(alone, action, "x")
    _, id_ = made(alone, "--tenant", "acme")
    for hours in ("-1", "721", "nan", "x"):
        assert "--grace-hours" in refused(alone, "rotate", id_, "--grace-hours", hours)
    assert done(alone, "revoke", id_)
    assert refused(alone, "rotate", id_) == "The key is revoked: there is nothing to rotate."
    # To revoke it again changes nothing.
    assert done(alone, "revoke", id_)
    assert refused(alone, "list", "--tenant", "a b")


def test_without_a_store_it_says_so(alone: Settings, empty_database: str) -> None:
    empty = msgspec.structs.replace(alone, database_url=empty_database)
    assert "run `aiml migrate`" in refused(empty, "list")
    away = "postgresql://me:hunter2@127.0.0.1:1/memory"
    said = refused(msgspec.structs.replace(alone, database_url=away), "list")
    assert said.startswith("The database does not do it: ")
    assert "hunter2" not in said


def test_the_embedded_database_is_started_for_it(place: Path) -> None:
    def aiml(*arguments: str) -> str:
        variables = {"MEMORY_DATA_DIR": str(place), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = [sys.executable, "-m", "cli.main", *arguments]
        root = Path(__file__).parents[2]
        found = subprocess.run(
            command, env=variables, cwd=root, capture_output=True, text=True, timeout=60, check=True
        )
        return found.stdout

    aiml("migrate")
    key = aiml("keys", "create", "--all-tenants")
    assert KEY.fullmatch(key.strip())
    listed = aiml("keys", "list").splitlines()
    assert len(listed) == 2
    assert aiml("keys", "revoke", listed[1].split()[0]).startswith("Revoked: key ")
