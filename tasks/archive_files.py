"""The files in which deletion leaves what it takes: compressed JSON lines, for `aiml import`."""

import gzip
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from memory.errors import ArchiveFileError
from memory.messages import ConversationId, Role, Share, TenantId

FORMAT = "ai-memory-layer/messages"
VERSION = 1


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a file: what the others are."""

    format: str
    version: int


class ArchivedMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as a line of a file: all that cannot be made again."""

    id: UUID
    tenant_id: TenantId
    conversation_id: ConversationId
    role: Role
    content: str
    created_at: datetime
    metadata: dict[str, Any] = {}
    importance_score: Share = 0.5
    importance_override: Share | None = None
    pinned: bool = False
    ingested_at: datetime | None = None
    archived_at: datetime | None = None


def write_file(path: Path, messages: Iterable[ArchivedMessage]) -> None:
    """Write `messages` to `path`, whole and on the disk, or not at all.

    For the user of this process alone. Raises `ArchiveFileError` when it cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
                for line in (Header(format=FORMAT, version=VERSION), *messages):
                    file.write(encode(line) + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ArchiveFileError(f"{path} cannot be written: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path) -> Iterator[ArchivedMessage]:
    """The messages of a file, compressed or not.

    Raises `ArchiveFileError`, naming the line, for what is not such a file.
    """
    decode = msgspec.json.Decoder(ArchivedMessage).decode
    opened = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    check_header(path, line)
                elif line.strip():
                    yield decode(line)
    except (OSError, EOFError) as error:
        raise ArchiveFileError(f"{path}, line {number + 1}, cannot be read: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveFileError(f"{path}, line {number}: {error}") from None
    if number == 0:
        raise ArchiveFileError(f"{path} is empty")


def check_header(path: Path, line: bytes) -> None:
    """Raise `ArchiveFileError` when the file's first line is not that of this format."""
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        header = Header(format="", version=0)
    if header.format != FORMAT:
        raise ArchiveFileError(f"{path} is no file of messages: its first line is no header")
    if header.version > VERSION:
        raise ArchiveFileError(f"{path} is of version {header.version}, this knows {VERSION}")


def file_name(folder: str, tenant_id: str, as_of: datetime, job_id: UUID, number: int) -> Path:
    """Where a slice of a run leaves what it deletes.

    A slice that is done again after a crash writes to the same place: what it had written then
    was never deleted.
    """
    # With a prefix, for a tenant may be called `..`.
    name = f"{as_of:%Y-%m-%d}-{job_id}-{number:06d}.jsonl.gz"
    return Path(folder).expanduser() / f"tenant-{tenant_id}" / name
