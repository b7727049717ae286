"""A file of messages that was not written to its end: what of it is whole, to be written on."""

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tasks.file_format import LineReader

READ_BYTES = 1 << 20


def recovered(file: BinaryIO, name: str, *, compressed: bool) -> LineReader | None:
    """Read what is whole of `file`, and cut off the rest; None when that is nothing.

    The file stands at its end then. Raises `FileContentError` when it is no file of messages.
    """
    reader = LineReader(name)
    end = 0
    for upto, lines in gzip_members(file) if compressed else whole_lines(file):
        for line in lines.removesuffix(b"\n").split(b"\n"):
            reader.read(line)
        end = upto
    file.seek(end)
    file.truncate()
    os.fsync(file.fileno())
    return reader if end else None


def gzip_members(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The content of each whole member, with the place where it ends."""
    member: zlib._Decompress | None = None
    plain: list[bytes] = []
    while data := file.read(READ_BYTES):
        while data:
            if member is None:
                member, plain = zlib.decompressobj(wbits=31), []
            try:
                plain.append(member.decompress(data))
            except zlib.error:
                # The machine has gone down over it.
                return
            if not member.eof:
                break
            data, member = member.unused_data, None
            yield file.tell() - len(data), b"".join(plain)


def whole_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some at a time, with the place where they end."""
    end, rest = 0, b""
    while data := file.read(READ_BYTES):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            end += len(lines) + 1
            yield end, lines
