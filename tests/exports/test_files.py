"""What a file of messages may be, and what is said of one that is none."""

import base64
import gzip
import io
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import FileContentError
from memory.settings import Settings
from tasks.archive_files import read_lines
from tasks.file_format import ArchivedMessage, Header, LineReader, Written
from tasks.file_packing import Unpacker, lines_of, packed
from tasks.imported_lines import check_line
from tasks.unfinished import recovered

HEADER: dict[str, Any] = {
    "format": "ai-memory-layer/messages",
    "version": 2,
    "holds": "tenant",
    "tenant_id": "acme",
    "vectors": True,
    "models": [{"name": "m", "dimensions": 4}],
}
MESSAGE: dict[str, Any] = {
    "id": str(UUID(int=7)),
    "tenant_id": "acme",
    "conversation_id": "c",
    "role": "user",
    "content": "hello",
    "created_at": "2024-01-01T00:00:00Z",
}


def vectors(*numbers: float, model: int = 0) -> dict[str, Any]:
    data = base64.b64encode(np.array(numbers, dtype="<f2").tobytes()).decode()
    return {"vectors": [{"model": model, "data": data}]}


def file_of(*things: dict[str, Any], header: dict[str, Any] = HEADER) -> bytes:
    """A whole file of version 2, digest and all."""
    written = Written()
    reader = LineReader("made")
    lines = [json.dumps(thing).encode() for thing in (header, *things)]
    for line in lines:
        reader.read(line)
    written = reader.written
    return b"\n".join(lines) + b"\n" + written.end()


def read(content: bytes, line_max: int = 1 << 20, *, incomplete: bool = False) -> list[Any]:
    reader = LineReader("file")
    file = io.BytesIO(content)
    found = []
    for thing in read_lines(file, reader, line_max, incomplete=incomplete):
        try:
            check_line(thing, reader.header, Settings())
        except FileContentError as error:
            raise reader.wrong(str(error)) from None
        found.append(thing)
    return found


def test_a_whole_file_is_read_packed_or_not() -> None:
    settings = {"type": "settings", "settings": {"language": "german"}}
    content = file_of(settings, MESSAGE | vectors(0, 1, 0, 0, 0, 0, 0.6, 0.8))
    cut = len(content) // 2
    for variant in (content, gzip.compress(content), packed(content[:cut]) + packed(content[cut:])):
        line, message = read(variant)
        assert line.settings.language == "german"
        assert (message.content, len(message.vectors[0].data)) == ("hello", 16)
        assert read(variant + b"\0" * 700) if variant is not content else True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"content": ""}, "empty"),
        ({"content": "a\0b"}, "NUL"),
        ({"content": "x" * 100_001}, "longer than 100000"),
        ({"role": "judge"}, "role"),
        ({"metadata": {"a": 2**70}}, "64 bits"),
        ({"created_at": "2024-01-01T00:00:00"}, "time zone"),
        ({"archived_at": "0900-01-01T00:00:00Z"}, "archived_at"),
        ({"uses": -1}, "uses"),
        ({"uses": 1e400}, "line 2"),
        ({"importance_score": 1.5}, "importance_score"),
        ({"tenant_id": "globex"}, "another tenant"),
        ({"id": "7"}, "UUID"),
        (vectors(1, 0, 0), "not of 4 dimensions"),
        (vectors(), "not of 4 dimensions"),
        (vectors(1, 0, 0, 0, model=1), "no model that the header names"),
        (vectors(float("nan"), 0, 0, 1), "not finite"),
        (vectors(float("inf"), 0, 0, 1), "not finite"),
        (vectors(0, 0, 0, 0), "unit length"),
        ({"vectors": [{"model": 0, "data": "%%%"}]}, "base64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_that_is_none_is_named(changes: dict[str, Any], said: str) -> None:
    lines = [json.dumps(each).encode() for each in (HEADER, MESSAGE | changes)]
    with pytest.raises(FileContentError, match=said) as caught:
        read(b"\n".join(lines) + b"\n")
    assert "line 2" in str(caught.value)
    assert "hello" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"x", "no header"),
        (b"\x1f\x8b and nothing", "cannot be read"),
        (b'{"format":"another","version":1}\n', "no header"),
        (b"[" * 100_000, "no header"),
        (b"\xff\xfe{}\n", "no header"),
        (json.dumps(HEADER | {"version": 3}).encode(), "version 3, this knows 2"),
        (json.dumps(HEADER | {"version": "2"}).encode(), "line 1"),
        (json.dumps(HEADER | {"models": [{}]}).encode(), "line 1"),
        (file_of(MESSAGE) + b"{}\n", "line 4: comes after the end"),
        (file_of(MESSAGE).rpartition(b'{"type":"end"')[0], "incomplete.*after line 2"),
        (file_of(MESSAGE).replace(b"hello", b"hallo"), "line 3: the file is not what was written"),
        (file_of(MESSAGE).replace(b'"messages":1', b'"messages":2'), "line 3: the file is not"),
        (json.dumps(HEADER).encode() + b"\n\xff\xff\n", "line 2"),
        (json.dumps(HEADER).encode() + b"\n" + b'{"id":' * 100_000, "line 2"),
        (json.dumps(HEADER).encode() + b"\n" + b" " * (2 << 20), "line 2: is longer than"),
        (json.dumps(HEADER).encode() + b'\n{"type":"other"}\n', "line 2"),
        (json.dumps(HEADER).encode() + b'\n{"type":"settings","settings":{"w_no":1}}\n', "line 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_none_is_named(content: bytes, said: str) -> None:
    with pytest.raises(FileContentError, match=said) as caught:
        read(content)
    assert str(caught.value).startswith("file")
    assert len(str(caught.value)) < 300


def test_what_is_cut_off_is_refused_wherever_it_is_cut() -> None:
    plain = file_of(*(MESSAGE | {"id": str(UUID(int=n))} for n in range(1, 4)))
    for content in (plain, gzip.compress(plain, mtime=0)):
        for end in range(len(content) - 1):
            with pytest.raises(FileContentError):
                read(content[:end])
    # Without the last newline nothing is missing.
    assert len(read(plain[:-1])) == 3
    half = plain[: len(plain) // 2]
    assert [message.id.int for message in read(half, incomplete=True)] == [1]


def test_a_flipped_bit_is_found_wherever_it_is() -> None:
    plain = file_of(MESSAGE)
    for place in range(0, len(plain) - 1, 3):
        broken = bytearray(plain)
        broken[place] ^= 1
        with pytest.raises(FileContentError):
            read(bytes(broken))


def test_a_bomb_takes_no_more_memory_than_a_line_may_have() -> None:
    bomb = gzip.compress(b"\n" * 50_000_000)
    assert len(bomb) < 100_000
    unpacker = Unpacker("file", 1 << 20, 5_000_000)
    with pytest.raises(FileContentError, match="unpacks to more than 5,000,000"):
        for _ in unpacker.feed(bomb):
            pass
    unpacker = Unpacker("file", 1 << 20)
    with pytest.raises(FileContentError, match="line 1: is longer"):
        list(unpacker.feed(gzip.compress(b" " * 50_000_000)))


def test_a_bomb_of_lines_is_not_read_to_its_end() -> None:
    lines = gzip.compress(b"another line\n" * 4_000_000, 9)
    unpacker = Unpacker("file", 1 << 20, 1 << 40)
    fed = len(lines) // 10
    steps = (unpacker.feed(lines[at : at + fed]) for at in range(0, len(lines), fed))
    with pytest.raises(FileContentError, match="unpacks to more"):
        sum(1 for step in steps for _ in step)
    # What comes from a file of this machine may be as alike as it is.
    assert sum(1 for _ in Unpacker("file", 1 << 20).feed(lines)) == 4_000_000


def test_empty_lines_are_some_and_not_millions() -> None:
    reader = LineReader("file")
    reader.read(b'{"format":"ai-memory-layer/messages","version":1}')
    with pytest.raises(FileContentError, match="line 10001: is empty, as 10,000 others"):
        any(map(reader.read, [b""] * 20_000))


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=8), st.booleans())
def test_lines_are_the_same_however_they_come(
    content: bytes, steps: list[int], compressed: bool
) -> None:
    content = b"first" + content
    fed = gzip.compress(content, mtime=0) if compressed else content
    unpacker = Unpacker("file", 1_000)
    lines: list[bytes] = []
    for step in [*steps, len(fed)]:
        lines += unpacker.feed(fed[:step])
        fed = fed[step:]
    lines += unpacker.end()
    expected = content.split(b"\n")
    assert lines == (expected if expected[-1] else expected[:-1])


def test_what_is_packed_is_the_same_each_time() -> None:
    lines = b"one\ntwo\n"
    assert packed(lines) == packed(lines)
    assert lines_of(packed(lines)) == [b"one", b"two"]


@pytest.mark.parametrize("compressed", [True, False])
def test_what_was_not_written_to_its_end_is_cut_where_it_is_whole(
    tmp_path: Path, compressed: bool
) -> None:
    written = Written()
    header = Header(format="ai-memory-layer/messages", version=2, tenant_id="acme")
    made = [json.dumps(MESSAGE | {"id": str(UUID(int=n))}).encode() for n in (1, 2)]
    messages = [next(iter(read(file_of(json.loads(line), header=HEADER)))) for line in made]
    chunks = [written.lines(header), *(written.lines(each) for each in messages)]
    content = [packed(chunk) if compressed else chunk for chunk in chunks]
    whole = b"".join(content)
    for end in range(len(whole) + 1):
        path = tmp_path / "unfinished"
        path.write_bytes(whole[:end])
        with path.open("r+b") as file:
            reader = recovered(file, "file", compressed=compressed)
            assert file.tell() == path.stat().st_size
        kept = path.stat().st_size
        assert kept == max(
            len(b"".join(content[:n])) for n in range(4) if len(b"".join(content[:n])) <= end
        )
        assert (reader is None) is (kept == 0)
        if reader and kept == len(whole):
            assert reader.written == written
            assert isinstance(messages[0], ArchivedMessage)
