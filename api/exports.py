"""`/v1/admin/tenants/{tenant_id}/export`: all of a tenant in a file, made in a job and fetched."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, RawBody
from litestar.response import Stream

from api.bodies import check_json, read
from api.entry import ADMIN, enter, record, who
from api.openapi import documented_body
from api.problems import ProblemError
from api.runtime import NamedRuntime, Runtime
from api.starting import start
from api.transfers import TRANSFERS, take_time
from db.queries.audit import INSERT_RECORD
from db.queries.transfers import PART_AT, finished_export
from db.sessions import tenant_transaction
from memory.checks import checked_tenant
from memory.errors import StateConflictError
from memory.jobs import Job
from tasks.transfers import KEPT_HOURS, new_export

PATH = "/v1/admin/tenants/{tenant_id:str}/export"
MEDIA_TYPE = "application/gzip"
# Of a range the beginning counts: who was cut off goes on from there.
RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
HttpRequest = Request[Any, Any, Any]
Tenant = Annotated[str, PathParameter(description="Whose memory this is.")]
FILE = {
    status: ResponseSpec(
        data_container=bytes, generate_examples=False, media_type=MEDIA_TYPE, description=what
    )
    for status, what in ((200, "the file"), (206, "the rest of it, from where `Range` says"))
}


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes into the file beside the messages: with `vectors` none is to be made again."""

    vectors: bool = False


REQUEST = msgspec.json.Decoder(ExportRequest)


class File(NamedTuple):
    """A file that is whole, and which bytes of it are asked for."""

    tenant_id: str
    id: UUID
    size: int
    first: int = 0
    end: int = 0


@post(
    PATH,
    operation_class=documented_body(ExportRequest),
    status_code=202,
    tags=["admin"],
    opt=ADMIN,
)
async def export_tenant(
    request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant, body: RawBody
) -> Response[Job]:
    """Write all of a tenant to a file, in a job. It takes the last one's place then."""
    check_json(request)
    asked = read(REQUEST, body)
    await enter(request, runtime, checked_tenant(tenant_id))
    job = await start(request, runtime, new_export(tenant_id, who(request), vectors=asked.vectors))
    if job.arguments.get("vectors") != asked.vectors:
        raise StateConflictError("Another export of the tenant is at work.")
    return Response(job, status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})


@get(PATH, tags=["admin"], opt=ADMIN, responses=FILE)
async def download_export(request: HttpRequest, runtime: NamedRuntime, tenant_id: Tenant) -> Stream:
    """The file of the tenant's last export, for a day: compressed JSON lines.

    A `Range` such as `bytes=1000-` is answered with what is left of it.
    """
    await enter(request, runtime, checked_tenant(tenant_id))
    TRANSFERS.check_room()
    async with tenant_transaction(runtime.engine, [tenant_id]) as connection:
        row = (await connection.execute(finished_export(tenant_id, KEPT_HOURS))).first()
        done = record(request, tenant_id, "download_export", {"id": row.id} if row else {})
        if row:
            await connection.execute(INSERT_RECORD, done)
    if row is None:
        raise ProblemError(404, "not-found", "There is no export of this tenant to be fetched.")
    file = asked_for(request, File(tenant_id, row.id, row.bytes))
    begun = await part_at(runtime, file, file.first)
    if begun is None:
        raise ProblemError(404, "not-found", "There is no export of this tenant to be fetched.")
    whole = file.end - file.first == file.size
    headers = {
        "ETag": f'"{file.id}"',
        "Accept-Ranges": "bytes",
        "Content-Length": str(file.end - file.first),
        "Content-Disposition": f'attachment; filename="{tenant_id}.jsonl.gz"',
        **({} if whole else {"Content-Range": f"bytes {file.first}-{file.end - 1}/{file.size}"}),
    }
    take_time(request)
    content = parts(runtime, file, begun)
    return Stream(
        content, status_code=200 if whole else 206, headers=headers, media_type=MEDIA_TYPE
    )


def asked_for(request: HttpRequest, file: File) -> File:
    """The bytes that `Range` asks for; all of them without one that is understood.

    Raises the 416 for one that begins beyond the end.
    """
    found = RANGE.fullmatch(request.headers.get("range", "").strip())
    same = request.headers.get("if-range", f'"{file.id}"') == f'"{file.id}"'
    if not (found and same) or (found[2] and int(found[2]) < int(found[1])):
        return file._replace(end=file.size)
    first = int(found[1])
    if first >= file.size:
        detail = f"The file has {file.size} bytes."
        raise ProblemError(416, "requested-range-not-satisfiable", detail)
    last = int(found[2]) if found[2] else file.size - 1
    return file._replace(first=first, end=min(last + 1, file.size))


async def parts(runtime: Runtime, file: File, part: bytes) -> AsyncIterator[bytes]:
    """The bytes of a file that are asked for, part by part, of which the first is there.

    It ends early when the file goes meanwhile, and so does the answer: two later ones were made.
    """
    with TRANSFERS.one_more():
        place = file.first
        following: bytes | None = part
        while following:
            yield following[: file.end - place]
            place += len(following)
            following = await part_at(runtime, file, place) if place < file.end else None


async def part_at(runtime: Runtime, file: File, place: int) -> bytes | None:
    """What a part has from the byte `place` of the file on; None when the file is gone."""
    named = {"tenant_id": file.tenant_id, "id": file.id, "place": place}
    async with tenant_transaction(runtime.engine, [file.tenant_id]) as connection:
        row = (await connection.execute(PART_AT, named)).first()
    return None if row is None else bytes(row.content[place - row.begins :])
