"""The files of messages: what their lines are, and the digest by which a file is known to be whole.

A file is JSON lines: a header, perhaps what the tenant has set, messages, and an end with their
number and a digest. The digest of a line is the SHA-256 of the digest of the line before and the
line: so it can be carried on from slice to slice, by another process each time.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from memory.errors import FileContentError
from memory.messages import ConversationId, Role, Share, TenantId
from memory.retention import RetentionPolicy
from memory.tenants import TenantSettings

FORMAT = "ai-memory-layer/messages"
VERSION = 2
# Of `deleted` messages, which come back live, or a whole `tenant`, which comes back as it was.
Holds = Literal["deleted", "tenant"]
# Lines that are no messages begin with their type, and no message does.
TYPED = b'{"type":'
EMPTY_LINES = 10_000  # that version 1 may have
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class FileModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that made vectors of a file."""

    name: Annotated[str, Meta(max_length=512)]
    dimensions: Annotated[int, Meta(ge=1, le=4000)]
    provider: str | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line of a file: what the others are.

    `upto` is the newest message at the time when the export began, which is the last one in it.
    """

    format: str
    version: int
    holds: Holds = "deleted"
    tenant_id: TenantId | None = None
    exported_at: datetime | None = None
    service: str = ""
    upto: UUID | None = None
    vectors: bool = False
    models: Annotated[list[FileModel], Meta(max_length=8)] = []


class FileVectors(msgspec.Struct, frozen=True, kw_only=True):
    """A message's vectors of a model of the header: float16, little-endian, part after part."""

    model: Annotated[int, Meta(ge=0)]
    data: bytes


class ArchivedMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as a line of a file: all that cannot be made again, and perhaps its vectors."""

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
    updated_at: datetime | None = None
    markers: Share | None = None
    rarity: Share | None = None
    uses: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    counted_at: datetime | None = None
    vectors: list[FileVectors] = []


class SettingsLine(msgspec.Struct, frozen=True, tag_field="type", tag="settings"):
    """What the tenant has set for itself."""

    settings: TenantSettings


class PolicyLine(msgspec.Struct, frozen=True, tag_field="type", tag="policy"):
    """What the tenant has set for its retention."""

    policy: RetentionPolicy


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The last line: how many messages there are, and the digest of all lines before."""

    messages: int
    sha256: str


Line = ArchivedMessage | SettingsLine | PolicyLine

_HEADER = msgspec.json.Decoder(Header)
_KNOWN = msgspec.json.Decoder(dict[str, Any])
_MESSAGE = msgspec.json.Decoder(ArchivedMessage)
_TYPED = msgspec.json.Decoder(SettingsLine | PolicyLine | End)
_encode = msgspec.json.Encoder().encode


def chained(digest: str, line: bytes) -> str:
    """The digest of `line` after those before it, in hexadecimal; the first has none before."""
    return hashlib.sha256(bytes.fromhex(digest) + line).hexdigest()


class Written(msgspec.Struct, kw_only=True):
    """How far a file has been written: what another process needs to write on."""

    after: UUID = UUID(int=0)
    messages: int = 0
    digest: str = ""

    def lines(self, *things: Header | Line) -> bytes:
        """The lines of `things`, noted as written."""
        encoded = [_encode(thing) for thing in things]
        for thing, line in zip(things, encoded, strict=True):
            self.digest = chained(self.digest, line)
            if isinstance(thing, ArchivedMessage):
                self.messages += 1
                self.after = thing.id
        return b"".join(line + b"\n" for line in encoded)

    def end(self) -> bytes:
        """The last line."""
        return _encode(End(messages=self.messages, sha256=self.digest)) + b"\n"


class LineReader:
    """Reads a file line by line. `name` is what errors call it.

    Raises `FileContentError`, naming the line, for what is not of this format.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.written = Written()
        self.ended = False
        self._header: Header | None = None
        self._tenant: str | None = None

    @property
    def header(self) -> Header:
        """The first line; raises `FileContentError` when there is none."""
        if self._header is None:
            raise FileContentError(f"{self.name} is empty")
        return self._header

    def read(self, line: bytes) -> Line | None:
        """What the next line holds; None for the header, the end and an empty line."""
        self.number += 1
        if self._header is None:
            self._header = self._read_header(line)
            self._tenant = self._header.tenant_id
        elif self._header.version == 1 and not line.strip():
            if self.number - self.written.messages > EMPTY_LINES:
                raise self.wrong(f"is empty, as {EMPTY_LINES:,} others are")
            return None
        else:
            return self._read_line(line)
        self.written.digest = chained(self.written.digest, line)
        return None

    def finish(self, *, incomplete: bool = False) -> None:
        """Raise `FileContentError` when the end is missing, which `incomplete` allows."""
        if self.header.version > 1 and not (self.ended or incomplete):
            raise FileContentError(
                f"{self.name} is incomplete: it ends after line {self.number} with"
                f" {self.written.messages:,} messages, without its last line"
            )

    def _read_line(self, line: bytes) -> Line | None:
        if self.ended:
            raise self.wrong("comes after the end")
        try:
            found = (_TYPED if line.startswith(TYPED) else _MESSAGE).decode(line)
        except BROKEN as error:
            raise self.wrong(reason(error)) from None
        if isinstance(found, End):
            self._check_end(found)
            return None
        self.written.digest = chained(self.written.digest, line)
        if isinstance(found, ArchivedMessage):
            self._check_tenant(found)
            self.written.messages += 1
            self.written.after = found.id
        elif self._tenant is None:
            raise self.wrong("the header does not say whose it is")
        return found

    def _read_header(self, line: bytes) -> Header:
        try:
            known = _KNOWN.decode(line)
        except BROKEN:
            known = {}
        if known.get("format") != FORMAT:
            raise FileContentError(
                f"{self.name} is no file of messages: its first line is no header"
            )
        version = known.get("version")
        if isinstance(version, int) and version > VERSION:
            raise FileContentError(f"{self.name} is of version {version}, this knows {VERSION}")
        try:
            return _HEADER.decode(line)
        except BROKEN as error:
            raise self.wrong(reason(error)) from None

    def _check_tenant(self, message: ArchivedMessage) -> None:
        # Files of version 1 have not said whose they are.
        if self.header.version > 1:
            self._tenant = self._tenant or message.tenant_id
            if message.tenant_id != self._tenant:
                raise self.wrong(f"is of another tenant than the file, which is {self._tenant}'s")

    def _check_end(self, end: End) -> None:
        self.ended = True
        if (end.messages, end.sha256) != (self.written.messages, self.written.digest):
            raise self.wrong(
                f"the file is not what was written: its lines hold {self.written.messages:,}"
                f" messages with the digest {self.written.digest[:12]}, its end says"
                f" {end.messages:,} with {end.sha256[:12]}"
            )

    def wrong(self, why: str) -> FileContentError:
        """What is wrong with the line that was read last."""
        return FileContentError(f"{self.name}, line {self.number}: {why}")


def reason(error: Exception) -> str:
    """What a decoding error says, without a word of what was decoded."""
    match error:
        case RecursionError():
            return "is nested too deep"
        case UnicodeDecodeError():
            return "is not UTF-8"
    return str(error)
