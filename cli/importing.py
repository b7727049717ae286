"""Bringing back messages from files: a tenant's export, or what deletion has left."""

import contextlib
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from cli.jobs import Line as ProgressLine
from cli.servers import database
from db.schema import check_schema, owner_connection
from memory.checks import checked_tenant
from memory.errors import FileContentError, MemoryLayerError
from memory.settings import load_settings
from tasks.archive_files import open_file, read_lines
from tasks.file_format import ArchivedMessage, Header, Line, LineReader
from tasks.file_packing import line_limit
from tasks.imported_lines import check_line, import_rules
from tasks.importing import TOGETHER, Imported, Importing, import_messages
from tasks.indexing import refresh
from tasks.resources import Resources

# Something was left as it is, because here it differs from the file.
CONFLICTS = 1


class Options(msgspec.Struct, frozen=True):
    """How files are imported."""

    tenant: str | None
    overwrite: bool
    incomplete: bool


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option("--tenant", help="The tenant that all messages go to, in place of the file's.")
@click.option("--overwrite", is_flag=True, help="Replace what differs here, in place of naming it.")
@click.option("--incomplete", is_flag=True, help="Take what there is of a file without its end.")
def import_files(
    files: tuple[Path, ...], tenant: str | None, *, overwrite: bool, incomplete: bool
) -> None:
    """Bring back the messages in FILES: exports, or what retention left in MEMORY_ARCHIVE_DIR.

    `-` is the standard input. Messages come back under their ids. What is there already is left as
    it is, so an import that was interrupted can be begun again. Where another message has an id of
    the file's, it is named, and the exit code is 1.
    """
    settings = load_settings()
    if tenant is not None:
        checked_tenant(tenant)
    options = Options(tenant, overwrite, incomplete)
    with database(settings) as url:
        with owner_connection(url) as connection:
            check_schema(connection)
        with contextlib.closing(
            Resources(msgspec.structs.replace(settings, database_url=url))
        ) as resources:
            # A new store takes the model of the settings, and vectors of that.
            with contextlib.suppress(MemoryLayerError):
                resources.check_model()
            outcomes = [FileImport(resources, file, options).run() for file in files]
    if any(outcome.conflicts for outcome in outcomes):
        sys.exit(CONFLICTS)


class FileImport:
    """One file on its way into the store."""

    def __init__(self, resources: Resources, path: Path, options: Options) -> None:
        self._resources = resources
        self._path = path
        self._options = options
        self._name = "standard input" if str(path) == "-" else str(path)
        self._line_max = line_limit(resources.settings.content_max_chars)
        self._read = 0
        self._tenants: set[str] = set()
        self._outcome = Imported()

    def run(self) -> Imported:
        """Import it and say what became of it.

        A file is read to its end before anything of it is stored; what comes from elsewhere is not
        known to be whole until the end.
        """
        if str(self._path) == "-":
            self._store(sys.stdin.buffer, None)
        else:
            size = self._path.stat().st_size
            with open_file(self._path) as file:
                self._verify(file, size)
                file.seek(0)
                self._store(file, size)
        for tenant_id in self._tenants:
            refresh(self._resources, tenant_id, anyway=True)
        self._tell()
        return self._outcome

    def _verify(self, file: BinaryIO, size: int) -> None:
        with ProgressLine(f"{self._name}: reading") as line:
            reader = LineReader(self._name)
            for thing in self._lines(file, reader, size, line):
                self._check(reader, thing)

    def _store(self, file: BinaryIO, size: int | None) -> None:
        reader = LineReader(self._name)
        lines: list[Line] = []
        try:
            with ProgressLine(f"{self._name}: importing") as shown:
                for thing in self._lines(file, reader, size, shown):
                    self._check(reader, thing)
                    lines.append(thing)
                    if len(lines) == TOGETHER:
                        self._store_lines(reader.header, lines)
                        lines = []
                self._store_lines(reader.header, lines)
        except FileContentError as error:
            # From a file nothing is stored by then.
            raise FileContentError(f"{error}. Before that: {told(self._outcome)}") from None

    def _lines(
        self, file: BinaryIO, reader: LineReader, size: int | None, shown: ProgressLine
    ) -> Iterator[Line]:
        self._read = 0

        def seen(count: int) -> None:
            self._read += count
            of = f" of {size / 1e6:,.1f}" if size is not None else ""
            shown.show(f"{self._read / 1e6:,.1f}{of} MB, {reader.written.messages:,} messages")

        incomplete = self._options.incomplete
        return read_lines(file, reader, self._line_max, incomplete=incomplete, seen=seen)

    def _check(self, reader: LineReader, thing: Line) -> None:
        try:
            check_line(thing, reader.header, self._resources.settings, any_length=True)
        except FileContentError as error:
            raise reader.wrong(str(error)) from None

    def _store_lines(self, header: Header, lines: list[Line]) -> None:
        overwrite, settings = self._options.overwrite, self._resources.settings
        with self._resources.engine.begin() as connection:
            messages = [line for line in lines if isinstance(line, ArchivedMessage)]
            for line in lines:
                if not isinstance(line, ArchivedMessage):
                    tenant_id = self._options.tenant or header.tenant_id or ""
                    rules = import_rules(settings, connection, tenant_id, line, overwrite=overwrite)
                    self._outcome.add(rules)
            done = Imported()
            for tenant_id, own in by_tenant(messages, self._options.tenant):
                to = Importing(tenant_id, header, overwrite)
                done.add(import_messages(self._resources, connection, to, own))
                self._tenants.add(tenant_id)
        self._outcome.add(done)
        for tenant_id in self._tenants:
            self._resources.answers.changed(tenant_id)

    def _tell(self) -> None:
        click.echo(f"{self._name}: {told(self._outcome)}")
        for each in self._outcome.named:
            click.echo(f"  differs here, and was left as it is: {each}", err=True)
        more = self._outcome.conflicts - len(self._outcome.named)
        if more:
            click.echo(f"  and {more:,} more", err=True)


def by_tenant(
    messages: list[ArchivedMessage], tenant: str | None
) -> Iterator[tuple[str, list[ArchivedMessage]]]:
    """`messages` by the tenant that they go to."""

    def goes_to(message: ArchivedMessage) -> str:
        return tenant or message.tenant_id

    for tenant_id, own in groupby(sorted(messages, key=goes_to), goes_to):
        yield tenant_id, list(own)


def told(outcome: Imported) -> str:
    """What became of a file, for people."""
    said = f"{outcome.stored} brought back, {outcome.there} were there already"
    if outcome.replaced:
        said += f", {outcome.replaced} replaced"
    if outcome.conflicts:
        said += f", {outcome.conflicts} differ here and were left"
    if outcome.pending:
        said += f"; {outcome.pending} are to be embedded by the workers"
    return said
