"""The bench's way to the service: what it asks again, and what it takes for an answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from rich.progress import Progress

from bench import importing
from bench.asking import Configuration, ask
from bench.connection import Connection
from bench.conversations import Conversation, Question
from bench.importing import Imported, wait_until_embedded
from bench.rest import RefusedError, Service, ServiceError

QUESTION = Question("Where?", "plain", frozenset({"D1:1"}))


def answer(status: int, content: object, *headers: str) -> bytes:
    """An HTTP answer with `content` as JSON."""
    body = msgspec.json.encode(content)
    lines = [f"HTTP/1.1 {status} Any", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def answering(answers: Sequence[bytes]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives `answers` in turn, the last one for ever; b"" closes the connection.

    Gives its URL and the request lines that it got.
    """
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
                given = answers[min(len(asked), len(answers)) - 1]
                writer.write(given)
                if not given:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked


ALIVE = answer(200, {"status": "alive"})


async def test_a_connection_is_kept_and_opened_again_when_lost() -> None:
    async with answering([ALIVE, ALIVE, b"", ALIVE]) as (url, asked):
        connection = Connection(f"{url}/prefix/", {})
        for _ in range(2):
            assert (await connection.request("GET", "/a?b=1")).status == 200
        with pytest.raises(ConnectionResetError):
            await connection.request("GET", "/c")
        assert (await connection.request("GET", "/c")).body == b'{"status":"alive"}'
        connection.close()
    assert asked == ["GET /prefix/a?b=1 HTTP/1.1"] * 2 + ["GET /prefix/c HTTP/1.1"] * 2


async def test_an_answer_in_chunks_is_put_together() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"
    )
    async with answering([ALIVE, chunked]) as (url, _), Service(url) as service:
        assert await service.get("/numbers") == [1, 2]


@pytest.mark.parametrize("busy", [b"", answer(503, {}, "retry-after: 0")])
async def test_a_service_that_is_away_is_asked_again(busy: bytes) -> None:
    answers = [ALIVE, busy, busy, answer(200, {"n": 1})]
    async with answering(answers) as (url, asked), Service(url) as service:
        assert await service.get("/x", {"q": "a b"}) == {"n": 1}
    assert asked[1:] == ["GET /x?q=a+b HTTP/1.1"] * 3


async def test_a_limit_that_would_spoil_the_figures_is_named() -> None:
    limited = answer(429, {"detail": "Too many requests: the limit is 2/minute."})
    async with answering([ALIVE, limited]) as (url, _), Service(url) as service:
        with pytest.raises(ServiceError, match=r"2/minute.*MEMORY_TENANT_RATE_LIMIT="):
            await service.get("/x")


async def test_a_refusal_has_the_services_reason() -> None:
    refused = answer(400, {"detail": "mode: no such mode"})
    async with answering([ALIVE, refused]) as (url, asked), Service(url) as service:
        with pytest.raises(RefusedError, match=r"^400: mode: no such mode$"):
            await service.get("/x")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "strange", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<p"]
)
async def test_what_is_no_memory_service_is_said_to_be_none(strange: bytes) -> None:
    async with answering([strange]) as (url, _):
        with pytest.raises(ServiceError):
            async with Service(url) as service:
                await service.get("/x")


def document(*names: str) -> bytes:
    listed = [{"name": name} for name in names]
    return answer(200, {"paths": {"/v1/memory/search": {"get": {"parameters": listed}}}})


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (
            [document("query", "mode"), answer(400, {"detail": "mode: none such"})],
            "400: mode: none",
        ),
        ([document("query", "mode"), answer(422, {"detail": "not with this"})], "422: not with"),
        ([document("query")], "no parameter mode"),
        ([answer(404, {"detail": "no page"}), answer(400, {"detail": "unknown"})], "400: unknown"),
    ],
)
async def test_a_configuration_that_is_refused_is_skipped(
    answers: list[bytes], reason: str
) -> None:
    conversations = {"t": Conversation("one", [], [QUESTION, QUESTION])}
    async with answering([ALIVE, *answers]) as (url, _), Service(url) as service:
        asked = await ask(
            service, Configuration("x", {"mode": "y"}), conversations, {"t": Imported()}, Progress()
        )
    assert asked.answers == {}
    assert reason in (asked.skipped or "")


async def test_a_key_that_is_refused_is_no_reason_to_skip() -> None:
    conversations = {"t": Conversation("one", [], [QUESTION])}
    refused = answer(401, {"detail": "no valid key"})
    async with answering([ALIVE, document("query"), refused]) as (url, _), Service(url) as service:
        with pytest.raises(RefusedError, match="401"):
            await ask(service, Configuration("x"), conversations, {"t": Imported()}, Progress())


async def test_answers_that_are_not_as_asked_are_counted() -> None:
    found = answer(200, {"items": [{"message_id": "m1"}, {"message_id": "m7"}], "degraded": True})
    held = {"t": Imported(turn_of={"m1": "D1:1"})}
    conversations = {"t": Conversation("one", [], [QUESTION])}
    async with answering([ALIVE, document("query"), found]) as (url, _), Service(url) as service:
        asked = await ask(service, Configuration("x"), conversations, held, Progress())
    assert (asked.degraded, asked.strange) == (1, 1)
    assert [each.items for each in asked.answers["one"]] == [[{"D1:1"}, frozenset()]]


async def test_only_what_is_pending_is_polled_until_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importing, "POLL_SECONDS", 0)
    pending = answer(200, {"embedding_status": "pending"})
    failed = answer(200, {"embedding_status": "failed"})
    held = {"t": Imported(turn_of={"m1": "D1:1", "m2": "D1:2"}, pending=["m2"])}
    async with (
        answering([ALIVE, pending, pending, failed]) as (url, asked),
        Service(url) as service,
    ):
        assert await wait_until_embedded(service, held, Progress()) == 1
    assert asked[1:] == ["GET /v1/messages/m2?tenant_id=t HTTP/1.1"] * 3


async def test_a_dead_worker_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "STALL_SECONDS", 0.01)
    monkeypatch.setattr(importing, "POLL_SECONDS", 0.02)
    held = {"t": Imported(pending=["m1", "m2"])}
    pending = answer(200, {"embedding_status": "pending"})
    async with answering([ALIVE, pending]) as (url, _), Service(url) as service:
        with pytest.raises(ServiceError, match="is a worker up"):
            await wait_until_embedded(service, held, Progress())
