"""Files of messages on the disk: what deletion leaves behind, and exports, for `aiml import`."""

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from memory.errors import ArchiveFileError
from memory.version import VERSION as SERVICE
from tasks.file_format import FORMAT, VERSION, ArchivedMessage, Header, Line, LineReader, Written
from tasks.file_packing import Unpacker

READ_BYTES = 256 * 1024
LINE_MAX_BYTES = 32 << 20
UNFINISHED = ".unfinished"


def write_file(path: Path, messages: Iterable[ArchivedMessage], tenant_id: str) -> None:
    """Write deleted `messages` of a tenant to `path`, whole and on the disk, or not at all.

    For the user of this process alone. Raises `ArchiveFileError` when it cannot be written.
    """
    written = Written()
    header = Header(format=FORMAT, version=VERSION, tenant_id=tenant_id, service=SERVICE)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(UNFINISHED)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
                file.write(written.lines(header))
                for message in messages:
                    file.write(written.lines(message))
                file.write(written.end())
            put_in_place(raw, unfinished, path)
    except OSError as error:
        raise ArchiveFileError(f"{path} cannot be written: {error.strerror}") from None


def put_in_place(file: BinaryIO, unfinished: Path, path: Path) -> None:
    """Have all of an open file on the disk, and then under the name `path`."""
    file.flush()
    os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, line_max: int = LINE_MAX_BYTES) -> Iterator[ArchivedMessage]:
    """The messages of a whole file, compressed or not.

    Raises `ArchiveFileError`, naming the line, for what is not such a file.
    """
    with open_file(path) as file:
        reader = LineReader(str(path))
        for thing in read_lines(file, reader, line_max):
            if isinstance(thing, ArchivedMessage):
                yield thing


def open_file(path: Path) -> BinaryIO:
    """`path`, to be read; raises `ArchiveFileError`."""
    try:
        return path.open("rb")
    except OSError as error:
        raise ArchiveFileError(f"{path} cannot be read: {error.strerror}") from None


def read_lines(
    file: BinaryIO,
    reader: LineReader,
    line_max: int,
    *,
    incomplete: bool = False,
    seen: Callable[[int], None] = lambda _: None,
) -> Iterator[Line]:
    """What the lines of `file` hold; `seen` is told of each step how many bytes it had.

    Raises `ArchiveFileError`, naming the line, for what is not a whole file; `incomplete` takes
    what there is of one without an end.
    """
    unpacker = Unpacker(reader.name, line_max)
    try:
        while data := file.read(READ_BYTES):
            yield from filter(None, map(reader.read, unpacker.feed(data)))
            seen(len(data))
    except OSError as error:
        raise ArchiveFileError(f"{reader.name} cannot be read: {error.strerror}") from None
    try:
        yield from filter(None, map(reader.read, unpacker.end()))
    except ArchiveFileError:
        # Cut off in the middle of a line.
        if not incomplete:
            raise
    reader.finish(incomplete=incomplete)


def file_name(folder: str, tenant_id: str, as_of: datetime, job_id: UUID, number: int) -> Path:
    """Where a slice of a run leaves what it deletes.

    A slice that is done again after a crash writes to the same place: what it had written then
    was never deleted.
    """
    # With a prefix, for a tenant may be called `..`.
    name = f"{as_of:%Y-%m-%d}-{job_id}-{number:06d}.jsonl.gz"
    return Path(folder).expanduser() / f"tenant-{tenant_id}" / name
