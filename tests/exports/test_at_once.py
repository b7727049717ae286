"""Imports beside others: of the same file, of who posts, of who clears away."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, text

from cli.exporting import Export
from cli.importing import FileImport, Options
from cli.main import main
from db.queries.transfers import begin_transfer
from memory.settings import Settings
from tasks.embedding import claim, embed_claimed
from tasks.importing import Imported
from tasks.resources import Resources
from tasks.stalled import purge
from tests.api.speaking import Speaker
from tests.contexts import as_it_was, at, contexts
from tests.exports.tenants import another_model, embed_all, erase
from tests.workers import environment

MESSAGES = 600
CONVERSATIONS = 5


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    resources = Resources(settings)
    yield resources
    resources.close()


def say(speaker: Speaker, name: str, count: int, offset: int) -> None:
    """Messages of all conversations, in between those of others."""
    said = [
        {
            "conversation_id": f"c-{n % CONVERSATIONS}",
            "role": "user",
            "content": f"{name} {n}",
            "created_at": at(2 * n + offset),
        }
        for n in range(count)
    ]
    for start in range(0, count, 100):
        speaker.say_all(said[start : start + 100])


def exported(resources: Resources, path: Path, *, vectors: bool) -> Path:
    with path.open("wb") as file:
        Export(resources, "acme", vectors=vectors).write(file.write)
    return path


def test_two_imports_of_a_file_while_the_tenant_posts(
    api: httpx.Client, owner: Connection, settings: Settings, resources: Resources, tmp_path: Path
) -> None:
    speaker = Speaker(api, "acme")
    say(speaker, "earlier", MESSAGES, 0)
    embed_all(resources, "acme")
    file = exported(resources, tmp_path / "acme.jsonl", vectors=True)
    erase(owner, "acme")
    begun = threading.Barrier(3)

    def bring_back(_: int) -> Imported:
        own = Resources(settings)
        begun.wait(30)
        try:
            return FileImport(own, file, Options(None, False, False)).run()
        finally:
            own.close()

    def post() -> None:
        begun.wait(30)
        say(speaker, "meanwhile", 300, 1)

    with ThreadPoolExecutor(3) as others:
        posting = others.submit(post)
        outcomes = list(others.map(bring_back, range(2)))
        posting.result(60)
    assert sum(each.stored for each in outcomes) == MESSAGES
    assert sum(each.there for each in outcomes) == MESSAGES
    assert sum(each.conflicts for each in outcomes) == 0
    while claimed := claim(resources, "acme", [], False):
        embed_claimed(resources, "acme", claimed)
    assert len(contexts(owner)) == MESSAGES + 300 - CONVERSATIONS
    assert contexts(owner) == as_it_was(owner)


def test_vectors_of_another_model_are_made_anew(
    api: httpx.Client, owner: Connection, settings: Settings, resources: Resources, tmp_path: Path
) -> None:
    say(Speaker(api, "acme"), "said", 10, 0)
    embed_all(resources, "acme")
    file = exported(resources, tmp_path / "acme.jsonl", vectors=True)
    erase(owner, "acme")
    another_model(owner)
    done = CliRunner().invoke(main, ["import", str(file)], env=environment(settings))
    assert "10 brought back, 0 were there already; 10 are to be embedded" in done.output
    assert owner.scalar(text("select count(*) from message_embeddings")) == 0


def test_files_that_nobody_wants_any_more_are_cleared_away(
    owner: Connection, resources: Resources
) -> None:
    ages = {"new": 1, "left": 3, "old": 25}
    for tenant_id, hours in ages.items():
        for kind in ("export", "import"):
            begin_transfer(owner, tenant_id, owner.scalar(text("select uuidv7()")), kind)
        owner.execute(
            text(
                "update transfers set created_at = now() - make_interval(hours => :hours)"
                " where tenant_id = :tenant_id"
            ),
            {"tenant_id": tenant_id, "hours": hours},
        )
    purge(resources)
    left = owner.execute(text("select tenant_id, kind from transfers order by 1, 2")).all()
    assert list(map(tuple, left)) == [("left", "export"), ("new", "export"), ("new", "import")]
