"""The same over HTTP, as jobs: exported, erased, imported, equal; and what can go wrong."""

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.jobs import JobKind
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.jobs import work
from tasks.kinds import STEPS
from tasks.resources import Resources
from tests.conftest import serving
from tests.exports.tenants import answers_of, embed_all, erase, fill, many, rows_of
from tests.processes import wait_until

PATH = "/v1/admin/tenants/{}/{}"
HEADER = b'{"format":"ai-memory-layer/messages","version":1}\n'
FILES = text("select kind, count(*) from transfers group by 1")


@pytest.fixture
def resources(settings: Settings) -> Iterator[Resources]:
    resources = Resources(settings)
    yield resources
    resources.close()


def export(api: httpx.Client, tenant_id: str = "acme", **asked: Any) -> dict[str, Any]:
    answer = api.post(PATH.format(tenant_id, "export"), json=asked)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    return job


def send(api: httpx.Client, content: Any, tenant_id: str = "acme", **asked: Any) -> httpx.Response:
    return api.post(PATH.format(tenant_id, "import"), content=content, params=asked)


def fetch(api: httpx.Client, **headers: str) -> httpx.Response:
    return api.get(PATH.format("acme", "export"), headers={"accept-encoding": "", **headers})


def carry_out(resources: Resources, job: dict[str, Any]) -> str:
    kind: JobKind = job["kind"]
    return work(resources, job["tenant_id"], UUID(job["id"]), STEPS[kind])


def ended(api: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended well."""

    def now() -> dict[str, Any]:
        found: dict[str, Any] = api.get(f"/v1/jobs/{job['id']}").json()
        return found

    wait_until(lambda: now()["state"] in ("completed", "failed"), "the job has ended")
    assert now()["state"] == "completed", now()
    return now()


def test_exported_erased_and_imported_it_is_equal(
    api: httpx.Client, owner: Connection, resources: Resources, worker: CeleryTestWorker
) -> None:
    speaker = fill(api, owner, resources, "acme")
    before, found = rows_of(owner, "acme"), answers_of(speaker)
    assert fetch(api).status_code == 404
    job = ended(api, export(api, vectors=True))
    assert (job["done"], job["total"], job["result"]["messages"]) == (241, 241, 241)
    file = fetch(api)
    assert file.status_code == 200
    assert len(file.content) == job["result"]["bytes"]
    assert file.headers["content-disposition"] == 'attachment; filename="acme.jsonl.gz"'
    erase(owner, "acme")
    answer = send(api, file.content)
    assert answer.status_code == 202, answer.text
    job = ended(api, answer.json())
    result = {"stored": 241, "there": 0, "replaced": 0, "conflicts": 0, "pending": 0, "named": []}
    assert job["result"] == result
    assert (job["done"], job["total"]) == (241, 241)
    assert rows_of(owner, "acme") == before
    assert answers_of(speaker) == found
    # The file of the import is gone, that of the export stays for a day.
    assert dict(map(tuple, owner.execute(FILES).all())) == {"export": 1}


def test_a_file_is_fetched_in_pieces(
    api: httpx.Client, owner: Connection, resources: Resources
) -> None:
    many(owner, 3_000)
    carry_out(resources, export(api))
    whole = fetch(api)
    size, tag = len(whole.content), whole.headers["etag"]
    assert gzip.decompress(whole.content).count(b"\n") == 3_002
    for first, last in ((0, 9), (1, size - 1), (size // 2, size - 1), (size - 1, size - 1)):
        asked = {"range": f"bytes={first}-{last}", "if-range": tag}
        piece = fetch(api, **asked)
        assert piece.status_code == 206
        assert piece.content == whole.content[first : last + 1]
        assert piece.headers["content-range"] == f"bytes {first}-{last}/{size}"
    rest = fetch(api, range=f"bytes={size // 3}-")
    assert rest.content == whole.content[size // 3 :]
    assert fetch(api, range=f"bytes={size}-").status_code == 416
    for passed_over in ("bytes=-5", "bytes=5-2", "lines=1-2", "bytes=0-1,3-4"):
        assert fetch(api, range=passed_over).status_code == 200
    other = fetch(api, **{"range": "bytes=5-", "if-range": '"another"'})
    assert other.content == whole.content
    # What is over a day old is gone.
    owner.execute(text("update transfers set created_at = now() - interval '25 hours'"))
    assert fetch(api).status_code == 404


def test_of_each_kind_one_is_at_work(
    api: httpx.Client, owner: Connection, resources: Resources
) -> None:
    many(owner, 10)
    first = export(api)
    assert export(api)["id"] == first["id"]
    another = api.post(PATH.format("acme", "export"), json={"vectors": True})
    assert another.status_code == 409
    carry_out(resources, first)
    assert export(api)["id"] != first["id"]
    file = fetch(api).content
    job = send(api, file).json()
    assert send(api, file).status_code == 409
    assert carry_out(resources, job).startswith("completed")
    assert send(api, file).status_code == 202


def test_until_a_new_file_is_whole_there_is_the_last_one(
    api: httpx.Client, owner: Connection, resources: Resources
) -> None:
    many(owner, 1_000)
    carry_out(resources, export(api))
    first = fetch(api).headers["etag"]
    with api.stream("GET", PATH.format("acme", "export")) as slow:
        job = export(api)
        work(resources, "acme", UUID(job["id"]), STEPS["export"], seconds=0)
        assert fetch(api).headers["etag"] == first
        carry_out(resources, job)
        assert fetch(api).headers["etag"] != first
        # Who reads the last one gets all of it.
        assert len(slow.read()) > 1_000
    assert owner.scalar(text("select count(*) from transfers")) == 2
    carry_out(resources, export(api))
    assert owner.scalar(text("select count(*) from transfers")) == 2


def test_a_worker_that_is_killed_is_followed_by_another(
    api: httpx.Client, owner: Connection, settings: Settings, worker: CeleryTestWorker
) -> None:
    many(owner, 8_000)
    done = text("select done from jobs where kind = :kind")
    end = text("update jobs set lease_until = now() - interval '1 second' where runner is not null")
    broker = Celery(set_as_current=False)
    broker.conf.update(celery_configuration(settings))

    def kill(kind: str, most: int) -> None:
        wait_until(lambda: owner.scalar(done, {"kind": kind}), f"the {kind} is under way")
        worker.kill()
        assert owner.scalar(done, {"kind": kind}) < most
        worker.container.restart()
        owner.execute(end)
        broker.send_task("restart_stalled_jobs")

    with broker:
        job = export(api)
        kill("export", 8_001)
        ended(api, job)
        file = fetch(api).content
        lines = gzip.decompress(file).splitlines()
        assert len({json.loads(line)["id"] for line in lines[1:-1]}) == 8_000
        erase(owner, "acme")
        job = send(api, file).json()
        kill("import", 8_000)
        assert ended(api, job)["result"]["stored"] == 8_000
    assert owner.scalar(text("select count(*) from messages")) == 8_000


def test_cancelled_they_stop_and_a_retry_goes_on(
    api: httpx.Client, owner: Connection, resources: Resources
) -> None:
    many(owner, 3_000)
    job = export(api)
    work(resources, "acme", UUID(job["id"]), STEPS["export"], seconds=0)
    assert api.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert fetch(api).status_code == 404
    assert api.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    assert carry_out(resources, job) == "completed: 3,000 of 3,000"
    # One whose file another export has replaced cannot go on.
    job = export(api)
    work(resources, "acme", UUID(job["id"]), STEPS["export"], seconds=0)
    assert api.post(f"/v1/jobs/{job['id']}/cancel").is_success
    carry_out(resources, export(api))
    assert api.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
    assert "begin a new one" in carry_out(resources, job)
    assert fetch(api).status_code == 200


def test_what_differs_is_named_or_replaced(
    api: httpx.Client, owner: Connection, resources: Resources
) -> None:
    fill(api, owner, resources, "acme")
    carry_out(resources, export(api))
    before, file = rows_of(owner, "acme"), fetch(api).content
    owner.execute(text("update messages set content = 'another' where content like '%word7%'"))
    changed = owner.scalar(text("select count(*) from messages where content = 'another'"))
    job = send(api, file).json()
    assert carry_out(resources, job).startswith("completed")
    result = api.get(f"/v1/jobs/{job['id']}").json()["result"]
    assert (result["conflicts"], len(result["named"])) == (changed, changed)
    assert (result["stored"], result["there"]) == (0, 241 - changed)
    job = send(api, file, overwrite="true").json()
    carry_out(resources, job)
    assert api.get(f"/v1/jobs/{job['id']}").json()["result"]["replaced"] == changed
    embed_all(resources, "acme")
    for rows in (after := rows_of(owner, "acme"), before):
        for row in rows["messages"]:
            row.pop("updated_at")
    assert after == before


def test_too_much_is_refused(settings: Settings, owner: Connection) -> None:
    small = msgspec.structs.replace(settings, import_max_bytes=100_000, content_max_chars=1_000)
    with serving(small) as api:

        def pieces() -> Iterator[bytes]:
            for _ in range(20):
                yield b" " * 10_000

        for body in (b" " * 200_000, pieces()):
            answer = send(api, body)
            assert answer.status_code == 413, answer.text
        bomb = gzip.compress(HEADER + b"\n" * 30_000_000, mtime=0)
        answer = send(api, bomb)
        assert answer.status_code == 400
        assert "line 10001: is empty, as 10,000 others" in answer.json()["detail"]
        line = gzip.compress(HEADER + b" " * 50_000_000, mtime=0)
        assert send(api, line).status_code == 400
        long = {"id": str(UUID(int=1)), "tenant_id": "acme", "conversation_id": "c"}
        long |= {"role": "user", "created_at": "2026-01-01T00:00:00Z", "content": "x" * 1_001}
        answer = send(api, HEADER + json.dumps(long).encode())
        assert answer.status_code == 400
        assert "longer than 1000 characters" in answer.json()["detail"]
    assert owner.scalar(text("select count(*) from jobs")) == 0


def test_who_sends_nothing_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.transfers.UNREAD_SECONDS", 0.3)
    quick = msgspec.structs.replace(settings, request_timeout_seconds=0.5)
    with serving(quick) as api:

        def slow(seconds: float) -> Iterator[bytes]:
            yield HEADER
            time.sleep(seconds)
            yield b""

        assert send(api, slow(2)).status_code == 503

        def steady() -> Iterator[bytes]:
            yield HEADER
            message = {"id": str(UUID(int=1)), "tenant_id": "acme", "conversation_id": "c"}
            message |= {"role": "user", "created_at": "2026-01-01T00:00:00Z"}
            for n in range(8):
                time.sleep(0.1)
                message |= {"id": str(UUID(int=n)), "content": "x" * 90_000}
                yield b"".join(json.dumps(message).encode() + b"\n" for _ in range(4))

        assert send(api, steady()).status_code == 202
