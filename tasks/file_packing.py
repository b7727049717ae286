"""Bytes of a file to lines and back, a step at a time: no file is ever whole in memory.

A compressed file is several gzip members one after the other, each of whole lines. Any gunzip reads
that, and what was written before a crash can be kept up to its last whole member.
"""

import gzip
import zlib
from collections.abc import Iterator

from memory.errors import FileContentError

GZIP = b"\x1f\x8b"
STEP_BYTES = 1 << 20
# What a line may have beside its content: metadata, and vectors of many parts.
BESIDE_CONTENT_BYTES = 16 << 20
# A character as JSON has it at its longest.
CHARACTER_BYTES = 12
COMPRESSION = 3
# What is fed may unpack to so many times its size, and to so much anyway: no chat is more alike.
MOST_TIMES = 100
ANYWAY_BYTES = 16 << 20


def packed(lines: bytes) -> bytes:
    """Whole lines as a gzip member, the same for the same lines."""
    return gzip.compress(lines, COMPRESSION, mtime=0)


def lines_of(member: bytes) -> list[bytes]:
    """The lines that were `packed`."""
    return gzip.decompress(member).removesuffix(b"\n").split(b"\n")


def line_limit(content_max_chars: int) -> int:
    """How many bytes a line may have."""
    return content_max_chars * CHARACTER_BYTES + BESIDE_CONTENT_BYTES


class Unpacker:
    """Makes lines of what is fed to it, compressed or not; holds one line and a step at most.

    Raises `FileContentError`, naming the line, for bytes that are neither, for a line of more than
    `line_max` bytes, and for a file that unpacks to more than `total_max`; where that is given,
    also for one that unpacks to far more than was fed, which would take long to check.
    """

    def __init__(self, name: str, line_max: int, total_max: int | None = None) -> None:
        self._name = name
        self._line_max = line_max
        self._total_max = total_max
        self._total = 0
        self._fed = 0
        self._lines = 0
        self._rest = b""
        self._first = b""
        self._compressed: bool | None = None
        self._member: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are whole with `data`, without their ends."""
        self._fed += len(data)
        if self._compressed is None:
            data = self._first + data
            if len(data) < len(GZIP):
                self._first = data
                return
            self._compressed = data.startswith(GZIP)
        for plain in self._unpacked(data) if self._compressed else (data,):
            yield from self._split(plain)

    def end(self) -> Iterator[bytes]:
        """The last line, where it has no end of its own."""
        if self._compressed is None:
            yield from self._split(self._first)
        elif self._member is not None:
            # What the last step had no room for.
            yield from self._split(self._step(self._member, b""))
            if not self._member.eof:
                raise self._unreadable("it ends in the middle of its compressed data")
        if self._rest:
            self._lines += 1
            yield self._rest
            self._rest = b""

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                # Zeros after a member are padding.
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._member = zlib.decompressobj(wbits=31)
            member = self._member
            yield self._step(member, data)
            if member.eof:
                data, self._member = member.unused_data, None
            else:
                data = member.unconsumed_tail

    def _step(self, member: "zlib._Decompress", data: bytes) -> bytes:
        try:
            return member.decompress(data, STEP_BYTES)
        except zlib.error as error:
            raise self._unreadable(str(error)) from None

    def _split(self, plain: bytes) -> Iterator[bytes]:
        self._total += len(plain)
        if self._total_max is not None:
            most = min(self._total_max, ANYWAY_BYTES + MOST_TIMES * self._fed)
            if self._total > most:
                raise FileContentError(f"{self._name} unpacks to more than {most:,} bytes")
        *lines, rest = plain.split(b"\n")
        for line in lines:
            whole, self._rest = self._rest + line, b""
            self._check(whole)
            self._lines += 1
            yield whole
        self._rest += rest
        self._check(self._rest)

    def _check(self, line: bytes) -> None:
        if len(line) > self._line_max:
            raise FileContentError(
                f"{self._name}, line {self._lines + 1}: is longer than {self._line_max:,} bytes"
                " (MEMORY_CONTENT_MAX_CHARS makes room for more)"
            )

    def _unreadable(self, why: str) -> FileContentError:
        return FileContentError(f"{self._name}, line {self._lines + 1}, cannot be read: {why}")
