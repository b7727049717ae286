"""What deletion has left in a file comes back as it was."""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, text

from cli.main import main
from memory.errors import ArchiveFileError
from memory.retention_runs import Run
from memory.settings import Settings
from tasks.archive_files import read_file, write_file
from tasks.embedding import claim, embed_claimed
from tasks.file_format import ArchivedMessage
from tasks.resources import Resources
from tests.api.speaking import Speaker, contents
from tests.contexts import at
from tests.tasks.ageing import expire, grow_old, live
from tests.workers import environment

HEADER = b'{"format":"ai-memory-layer/messages","version":1}\n'
MESSAGE = ArchivedMessage(
    id=UUID(int=7),
    tenant_id="acme",
    conversation_id="c",
    role="user",
    content="hello",
    created_at=datetime(2024, 1, 1, tzinfo=UTC),
)


def test_what_was_deleted_comes_back(
    api: httpx.Client, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    changed = msgspec.structs.replace(settings, archive_dir=str(tmp_path / "archive"))
    resources = Resources(changed)
    speaker = Speaker(api, "acme")
    ids = [
        speaker.say(f"said{n}", created_at=at(n), importance_override=0.1, metadata={"n": n})
        for n in range(3)
    ]
    before = [api.get(f"/v1/messages/{each}").json() for each in ids]
    for days in (31, 91):
        grow_old(owner, days)
        expire(resources, Run(as_of=datetime.now(UTC)))
    assert owner.scalar(text("select count(*) from messages")) == 0
    files = [str(path) for path in (tmp_path / "archive").rglob("*.gz")]
    for outcome in ("3 brought back, 0 were", "0 brought back, 3 were"):
        done = CliRunner().invoke(
            main, ["import", *files], env=environment(changed), catch_exceptions=False
        )
        assert outcome in done.output
    resources.check_model()
    embed_claimed(resources, "acme", claim(resources, "acme", [], False))
    after = [api.get(f"/v1/messages/{each}").json() for each in ids]
    same = ("id", "content", "metadata", "conversation_id", "role", "importance_score")
    assert [[each[name] for name in same] for each in after] == [
        [each[name] for name in same] for each in before
    ]
    assert contents(speaker.finds("said1", mode="lexical")) == ["said1", "said2"]
    # However old they are, they are not put away again at once.
    owner.execute(
        text("insert into retention_policies (tenant_id, age_from) values ('acme', 'created')")
    )
    expire(resources, Run(as_of=datetime.now(UTC)))
    assert live(owner) == ["said0", "said1", "said2"]
    resources.engine.dispose()


def zipped(content: bytes) -> bytes:
    """A file without the time of its making, which would stand in the name of the test."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"not gzip", "no header"),
        (zipped(b'{"id": 1}\n'), "no header"),
        (zipped(HEADER.replace(b":1", b":3")), "version 3"),
        (zipped(HEADER + b'{"id": 1}\n'), "line 2"),
        (zipped(HEADER + b"[" * 100_000), "line 2"),
        (zipped(HEADER + b'{"id": 1}\n')[:-6], "line"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(ArchiveFileError, match=said) as caught:
        list(read_file(file))
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": "a\0b"}, "NUL"),
        ({"created_at": datetime(2024, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"metadata": {"a": 2**70}}, "64 bits"),
    ],
)
def test_a_message_that_cannot_be_stored_is_named(
    settings: Settings, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    file = tmp_path / "a.jsonl.gz"
    write_file(file, [MESSAGE, msgspec.structs.replace(MESSAGE, **changes)], "acme")
    done = CliRunner().invoke(main, ["import", str(file)], env=environment(settings))
    assert done.exit_code == 2
    assert str(MESSAGE.id) in done.stderr
    assert said in done.stderr


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "tenant" / "a.jsonl.gz"

    def broken() -> object:
        yield MESSAGE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(file, broken(), "acme")  # type: ignore[arg-type]
    assert not file.exists()
    write_file(file, [MESSAGE], "acme")
    assert list(read_file(file)) == [MESSAGE]
    assert file.stat().st_mode & 0o077 == 0
