"""Writing all of a tenant to a file."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from cli.errors import StartError
from cli.jobs import Line as ProgressLine
from cli.servers import database
from db.schema import check_schema, owner_connection
from memory.checks import checked_tenant
from memory.errors import ArchiveFileError, InvalidFieldError
from memory.settings import load_settings
from tasks.archive_files import UNFINISHED, put_in_place
from tasks.exporting import extent_of, first_lines, next_lines
from tasks.file_format import Header, LineReader, Written
from tasks.file_packing import packed
from tasks.resources import Resources
from tasks.unfinished import recovered

STANDARD_OUTPUT = "-"


@click.command("export")
@click.argument("tenant")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--vectors", is_flag=True, help="With the vectors, which no one need make again.")
@click.option("--resume", is_flag=True, help="Go on with an export to FILE that was interrupted.")
def export(tenant: str, file: Path, *, vectors: bool, resume: bool) -> None:
    """Write all of TENANT to FILE: JSON lines, compressed when the name ends in .gz.

    `-` is the standard output. Until it is whole the file is called FILE.unfinished.
    """
    settings = load_settings()
    checked_tenant(tenant)
    with database(settings) as url:
        with owner_connection(url) as connection:
            check_schema(connection)
        with contextlib.closing(
            Resources(msgspec.structs.replace(settings, database_url=url))
        ) as resources:
            job = Export(resources, tenant, vectors=vectors)
            if str(file) == STANDARD_OUTPUT:
                if resume:
                    raise InvalidFieldError("--resume", "goes with a file")
                job.write(sys.stdout.buffer.write)
            else:
                with interruptible(file):
                    to_file(job, file, resume=resume)
    click.echo(f"{file}: {job.written.messages:,} messages of {tenant}", err=True)


@contextlib.contextmanager
def interruptible(file: Path) -> Iterator[None]:
    """Ctrl-C, a full disk and the like end in a line that says how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise StartError(f"Interrupted. `--resume` goes on with {file}{UNFINISHED}.") from None
    except OSError as error:
        raise ArchiveFileError(f"{file} cannot be written: {error.strerror}") from None


def to_file(job: "Export", file: Path, *, resume: bool) -> None:
    """Write the export to `file`, by way of an unfinished one beside it.

    Raises `ArchiveFileError` when there is a file already, or another process writes it.
    """
    if file.exists():
        raise ArchiveFileError(f"{file} is there already")
    unfinished = file.with_name(file.name + UNFINISHED)
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as raw:
        output: BinaryIO = raw
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveFileError(f"{unfinished}: another process is writing it") from None
        compressed = file.suffix == ".gz"
        found = recovered(output, str(unfinished), compressed=compressed) if resume else None
        if found is None:
            output.truncate(0)
            output.seek(0)
        else:
            job.go_on(found)
        if found is None or not found.ended:
            job.write(lambda lines: write_all(output, packed(lines) if compressed else lines))
        put_in_place(output, unfinished, file)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`, of which an unbuffered file may take a part at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


class Export:
    """A tenant on its way to a file."""

    def __init__(self, resources: Resources, tenant_id: str, *, vectors: bool) -> None:
        self.written = Written()
        self._resources = resources
        self._tenant_id = tenant_id
        self._vectors = vectors
        self._header: Header | None = None

    def go_on(self, reader: LineReader) -> None:
        """Go on after what `reader` has read; raises `ArchiveFileError` if it is of another."""
        asked = {"tenant_id": self._tenant_id, "vectors": self._vectors}
        for name, value in asked.items():
            if getattr(reader.header, name) != value:
                was = getattr(reader.header, name)
                raise ArchiveFileError(f"{reader.name} was begun with {name} {was}, not {value}")
        self.written, self._header = reader.written, reader.header

    def write(self, write: Callable[[bytes], object]) -> None:
        """Write what is still to be written, page by page.

        Raises `InvalidFieldError` when there is nothing of the tenant.
        """
        with self._resources.engine.begin() as connection:
            extent = extent_of(connection, self._tenant_id)
            first = b""
            if self._header is None:
                self._header, first = first_lines(
                    connection,
                    self._tenant_id,
                    extent.upto,
                    vectors=self._vectors,
                    written=self.written,
                )
        if extent.upto is None and first.count(b"\n") == 1:
            raise InvalidFieldError("tenant", f"there is nothing of {self._tenant_id}")
        if first:
            write(first)
        of = f" of {max(extent.messages, self.written.messages):,} messages"
        with ProgressLine(f"Exporting {self._tenant_id}", stderr=True) as line:
            while lines := self._next_lines(self._header):
                write(lines)
                line.show(f"{self.written.messages:,}{of}")
        write(self.written.end())

    def _next_lines(self, header: Header) -> bytes:
        with self._resources.engine.begin() as connection:
            return next_lines(connection, self._tenant_id, header, self.written)
