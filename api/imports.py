"""`/v1/admin/tenants/{tenant_id}/import`: a file of messages, checked as it comes, then a job."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, Response, Router, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import PathParameter, QueryParameter
from uuid_utils.compat import uuid7

from api.entry import ADMIN, enter, who
from api.problems import FieldError, invalid
from api.runtime import NamedRuntime, Runtime
from api.starting import start
from api.transfers import TRANSFERS, received, take_time
from db.queries.jobs import ACTIVE_WITH_KEY
from db.queries.transfers import FINISH_TRANSFER, INSERT_PART, begin_transfer
from db.sessions import tenant_transaction
from memory.checks import checked_tenant
from memory.errors import FileContentError, StateConflictError
from memory.jobs import Job
from memory.settings import Settings
from tasks.file_format import LineReader
from tasks.file_packing import Unpacker, line_limit, packed
from tasks.imported_lines import check_line
from tasks.importing import TOGETHER
from tasks.transfers import ImportArguments, new_import

HttpRequest = Request[Any, Any, Any]
PART_BYTES = 1 << 20
# What is packed may be so much larger.
UNPACKED_TIMES = 20
AT_WORK = "Another import into the tenant is at work."


@dataclass
class WithFile(Operation):
    """An operation whose body is a file; the handler reads it as it comes."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        kinds = ("application/gzip", "application/x-ndjson")
        content = {kind: OpenAPIMediaType(schema=schema) for kind in kinds}
        self.request_body = RequestBody(content=content, required=True)


@post(
    "/v1/admin/tenants/{tenant_id:str}/import",
    operation_class=WithFile,
    status_code=202,
    tags=["admin"],
    opt=ADMIN,
)
async def import_tenant(
    request: HttpRequest,
    runtime: NamedRuntime,
    tenant_id: Annotated[str, PathParameter(description="Where the messages go.")],
    overwrite: Annotated[bool, QueryParameter()] = False,
) -> Response[Job]:
    """Bring back what a file holds, into this tenant, in a job.

    The file is an export, compressed or not, whosever it is. All of it is checked before anything
    is stored. With `overwrite`, what differs here is replaced.
    """
    await enter(request, runtime, checked_tenant(tenant_id))
    with TRANSFERS.one_more():
        take_time(request)
        upload = Upload(runtime, tenant_id)
        await upload.begin()
        async for data in received(request):
            await upload.take(data)
        await upload.end()
    job = await start(request, runtime, new_import(tenant_id, who(request), upload.job(overwrite)))
    if job.arguments.get("transfer_id") != str(upload.id):
        raise StateConflictError(AT_WORK)
    return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})


class Upload:
    """A file on its way into the database, in parts of whole lines; the first has the header."""

    def __init__(self, runtime: Runtime, tenant_id: str) -> None:
        self.id: UUID = uuid7()
        self._runtime = runtime
        self._tenant_id = tenant_id
        self._content = Content(runtime.settings)
        self._parts = 0
        self._bytes = 0

    async def begin(self) -> None:
        """Take the place of what was uploaded before, unless an import is at work on that."""
        key = {"tenant_id": self._tenant_id, "unique_key": "import"}
        async with tenant_transaction(self._runtime.engine, [self._tenant_id]) as connection:
            if await connection.scalar(ACTIVE_WITH_KEY, key) is not None:
                raise StateConflictError(AT_WORK)
            await connection.run_sync(begin_transfer, self._tenant_id, self.id, "import")

    async def take(self, data: bytes) -> None:
        """Check what has come and store what is whole of it; raises a 400 that names the line."""
        await self._store(await self._checked(self._content.feed, data))

    async def end(self) -> None:
        """Check that the file is whole."""
        await self._store(await self._checked(self._content.end))
        named = {"tenant_id": self._tenant_id, "id": self.id, "bytes": self._bytes}
        async with tenant_transaction(self._runtime.engine, [self._tenant_id]) as connection:
            if await connection.scalar(FINISH_TRANSFER, named) is None:
                raise StateConflictError("Another file has taken the place of this one.")

    def job(self, overwrite: bool) -> ImportArguments:
        """What is to be done with the file."""
        messages = self._content.reader.written.messages
        return ImportArguments(
            transfer_id=self.id, parts=self._parts, messages=messages, overwrite=overwrite
        )

    async def _checked(self, work: Any, *arguments: bytes) -> list[bytes]:
        try:
            parts: list[bytes] = await asyncio.to_thread(work, *arguments)
        except FileContentError as error:
            raise invalid([FieldError("", str(error))]) from None
        return parts

    async def _store(self, parts: list[bytes]) -> None:
        for content in parts:
            named = {"tenant_id": self._tenant_id, "id": self.id}
            part = {"number": self._parts, "begins": self._bytes, "content": content}
            async with tenant_transaction(self._runtime.engine, [self._tenant_id]) as connection:
                if await connection.scalar(INSERT_PART, named | part) is None:
                    raise StateConflictError("Another file has taken the place of this one.")
            self._parts += 1
            self._bytes += len(content)


class Content:
    """Makes parts of what is fed to it, after each line was checked. Blocking.

    Raises `FileContentError`, naming the line.
    """

    def __init__(self, settings: Settings) -> None:
        self.reader = LineReader("the file")
        self._settings = settings
        self._unpacker = Unpacker(
            self.reader.name,
            line_limit(settings.content_max_chars),
            settings.import_max_bytes * UNPACKED_TIMES,
        )
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The parts that are full."""
        return [part for line in self._unpacker.feed(data) if (part := self._add(line))]

    def end(self) -> list[bytes]:
        """The last parts; the file must be whole."""
        parts = [part for line in self._unpacker.end() if (part := self._add(line))]
        self.reader.finish()
        return [*parts, *([self._part()] if self._lines else [])]

    def _add(self, line: bytes) -> bytes | None:
        found = self.reader.read(line)
        if found is not None:
            try:
                check_line(found, self.reader.header, self._settings)
            except FileContentError as error:
                raise self.reader.wrong(str(error)) from None
        elif self.reader.number > 1:
            return None
        self._lines.append(line)
        self._size += len(line)
        full = len(self._lines) == TOGETHER or self._size >= PART_BYTES
        return self._part() if full or self.reader.number == 1 else None

    def _part(self) -> bytes:
        content = packed(b"\n".join(self._lines) + b"\n")
        self._lines, self._size = [], 0
        return content


def imports_router(import_max_bytes: int) -> Router:
    """The route of this page, whose body has a size limit of its own."""
    return Router("/", route_handlers=[import_tenant], request_max_body_size=import_max_bytes)
