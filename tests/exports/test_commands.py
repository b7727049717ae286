"""A tenant that is exported, erased and imported is the same again: by the commands."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from cli.main import main
from memory.settings import Settings
from tasks.archive_files import read_file
from tasks.resources import Resources
from tests.exports.tenants import answers_of, embed_all, erase, fill, many, rows_of
from tests.processes import wait_until
from tests.workers import environment


@pytest.fixture
def resources(settings: Settings):
    resources = Resources(settings)
    yield resources
    resources.close()


def run(settings: Settings, *arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(
        main, list(map(str, arguments)), env=environment(settings), input=stdin
    )


def done(result: Result) -> Result:
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def test_exported_erased_and_imported_it_is_equal(
    api: httpx.Client, owner: Connection, settings: Settings, resources: Resources, tmp_path: Path
) -> None:
    speaker = fill(api, owner, resources, "acme")
    before, found = rows_of(owner, "acme"), answers_of(speaker)
    assert all(before.values())
    assert any(len(items) > 10 for items in found)
    bare, whole = tmp_path / "bare.jsonl", tmp_path / "whole.jsonl.gz"
    done(run(settings, "export", "acme", bare))
    done(run(settings, "export", "acme", whole, "--vectors"))
    assert whole.stat().st_mode & 0o077 == 0
    erase(owner, "acme")
    assert not any(rows_of(owner, "acme").values())
    said = done(run(settings, "import", whole)).output
    assert "241 brought back, 0 were there already" in said
    assert "embedded by" not in said
    assert rows_of(owner, "acme") == before
    assert answers_of(speaker) == found
    # What is there is left; so an import that was interrupted can be begun again.
    assert "0 brought back, 241 were there" in done(run(settings, "import", whole)).output
    assert rows_of(owner, "acme") == before
    erase(owner, "acme")
    said = done(run(settings, "import", bare)).output
    assert "211 are to be embedded by the workers" in said
    embed_all(resources, "acme")
    after = rows_of(owner, "acme")
    for rows in (before, after):
        for row in rows["messages"]:
            row.pop("updated_at")
    assert after == before
    assert answers_of(speaker) == found


def test_it_goes_to_another_tenant_too(
    api: httpx.Client, owner: Connection, settings: Settings, resources: Resources
) -> None:
    fill(api, owner, resources, "acme")
    file = done(run(settings, "export", "acme", "-", "--vectors")).stdout_bytes
    assert (
        done(run(settings, "export", "acme", "-", "--vectors")).stdout_bytes.split(b"\n")[1:-2]
        == file.split(b"\n")[1:-2]
    )
    done(run(settings, "import", "-", "--tenant", "globex", stdin=file))
    theirs, ours = rows_of(owner, "globex"), rows_of(owner, "acme")
    for rows in (*theirs.values(), *ours.values()):
        for row in rows:
            # Salted with the tenant's name.
            row.pop("keys", None)
    assert theirs == ours


def kill_when(process: subprocess.Popen[bytes], reached: Any) -> None:
    """SIGKILL a process when `reached` says so."""
    wait_until(lambda: reached() or process.poll() is not None, "it is under way")
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


def begin(settings: Settings, *arguments: object) -> subprocess.Popen[bytes]:
    """A process of a command."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    variables = {**os.environ, **environment(settings)}
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, env=variables, stdout=silent, stderr=silent)


@pytest.mark.parametrize(("name", "size"), [("acme.jsonl.gz", 10_000), ("acme.jsonl", 150_000)])
def test_a_killed_export_goes_on(
    owner: Connection, settings: Settings, tmp_path: Path, name: str, size: int
) -> None:
    many(owner, 12_000)
    file, unfinished = tmp_path / name, tmp_path / f"{name}.unfinished"
    process = begin(settings, "export", "acme", file)
    kill_when(process, lambda: unfinished.exists() and unfinished.stat().st_size > size)
    assert not file.exists()
    kept = unfinished.read_bytes()[:size]
    with unfinished.open("ab") as torn:
        torn.write(b"\x1f\x8b half of")
    wrong = run(settings, "export", "acme", file, "--resume", "--vectors")
    assert "begun with vectors False" in wrong.stderr
    done(run(settings, "export", "acme", file, "--resume"))
    assert file.read_bytes()[:size] == kept
    assert not unfinished.exists()
    assert len({message.id for message in read_file(file)}) == 12_000


def test_a_killed_import_goes_on(owner: Connection, settings: Settings, tmp_path: Path) -> None:
    many(owner, 4_000)
    file = tmp_path / "acme.jsonl.gz"
    done(run(settings, "export", "acme", file))
    erase(owner, "acme")
    count = text("select count(*) from messages")
    kill_when(begin(settings, "import", file), lambda: owner.scalar(count))
    there = owner.scalar(count) or 0
    assert 0 < there < 4_000
    said = done(run(settings, "import", file)).output
    assert f"{4_000 - there} brought back, {there} were there already" in said
    assert owner.scalar(count) == 4_000
    assert owner.scalar(text("select count(*) from message_terms where kind = 'content'")) == 4_000


def test_what_differs_is_named_and_left_or_replaced(
    api: httpx.Client, owner: Connection, settings: Settings, resources: Resources, tmp_path: Path
) -> None:
    speaker = fill(api, owner, resources, "acme")
    before = rows_of(owner, "acme")
    file = tmp_path / "acme.jsonl"
    done(run(settings, "export", "acme", file, "--vectors"))
    changed = [json.loads(line)["id"] for line in file.read_text().split("\n")[100:103]]
    owner.execute(
        text("update messages set content = 'another' where id = any(cast(:ids as uuid[]))"),
        {"ids": changed},
    )
    api.put("/v1/admin/tenants/acme/policy", json={"max_age_days": 5})
    result = run(settings, "import", file)
    assert result.exit_code == 1
    assert "4 differ here and were left" in result.output
    for each in (*changed, "policy"):
        assert f"left as it is: {each}" in result.stderr
    assert owner.scalar(text("select count(*) from messages where content = 'another'")) == 3
    result = done(run(settings, "import", file, "--overwrite"))
    assert "0 brought back, 238 were there already, 3 replaced" in result.output
    assert rows_of(owner, "acme") == before
    versions = text("select count(*) from messages where content_version = 2")
    assert owner.scalar(versions) == 3
    assert len(speaker.finds("another", mode="lexical")) == 0


def test_under_a_hold_nothing_is_replaced(
    api: httpx.Client, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    hold = {"legal_hold": True}
    assert api.put("/v1/admin/tenants/acme/policy", json=hold).is_success
    many(owner, 3)
    file = tmp_path / "acme.jsonl"
    done(run(settings, "export", "acme", file))
    owner.execute(text("update messages set content = 'another'"))
    result = run(settings, "import", file, "--overwrite")
    assert result.exit_code == 2
    assert "legal hold" in result.stderr
    assert owner.scalar(text("select count(*) from messages where content = 'another'")) == 3


def test_a_hold_is_not_lifted_by_a_file_of_before_it(
    api: httpx.Client, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    path = "/v1/admin/tenants/acme/policy"
    assert api.put(path, json={"max_age_days": 9}).is_success
    many(owner, 3)
    file = tmp_path / "acme.jsonl"
    done(run(settings, "export", "acme", file))
    assert api.put(path, json={"legal_hold": True}).is_success
    result = run(settings, "import", file, "--overwrite")
    assert result.exit_code == 1
    assert "left as it is: policy" in result.stderr
    owner.execute(text("update messages set content = 'another'"))
    assert "legal hold" in run(settings, "import", file, "--overwrite").stderr
    assert owner.scalar(text("select count(*) from messages where content = 'another'")) == 3
    assert api.get(path).json()["effective"]["legal_hold"] is True


def test_a_file_without_a_language_takes_it_back_and_has_all_indexed_anew(
    api: httpx.Client, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    path = "/v1/admin/tenants/acme/settings"
    assert api.put(path, json={"w_recency": 0.1}).is_success
    many(owner, 3)
    file = tmp_path / "acme.jsonl"
    done(run(settings, "export", "acme", file))
    assert api.put(path, json={"language": "german"}).is_success
    owner.execute(text("delete from term_reindexing"))
    done(run(settings, "import", file, "--overwrite"))
    assert owner.scalar(text("select count(*) from term_reindexing where tenant_id = 'acme'")) == 1


def test_a_command_that_cannot_be_right_says_so(settings: Settings, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_bytes(gzip.compress(b""))
    for arguments, said in (
        (("export", "acme", tmp_path / "a.jsonl"), "there is nothing of acme"),
        (("export", "a b", tmp_path / "a.jsonl"), "tenant_id"),
        (("export", "acme", there), "is there already"),
        (("export", "acme", "-", "--resume"), "goes with a file"),
        (("export", "acme", tmp_path / "no" / "a.jsonl"), "cannot be written"),
        (("import", there, "--tenant", "a b"), "tenant_id"),
        (("import", there), "is empty"),
    ):
        result = run(settings, *arguments)
        assert result.exit_code == 2, arguments
        assert said in result.stderr
