"""Telling the workers what was committed: gathered, bounded, and never in a request's way."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
import redis
from sqlalchemy import Connection, text

from memory.queues import EMBEDDINGS
from memory.settings import Settings
from tasks.publisher import MOST_MESSAGES, MOST_REQUEST_IDS, REST_MOST_SECONDS, Publisher
from tests.conftest import message, serving
from tests.processes import wait_until
from tests.sends import post_beside_a_send, sends_held

Pair = tuple[str, UUID]


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def queue(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.redis_url) as client:
        yield client


@pytest.fixture
def refused(settings: Settings) -> Settings:
    """Settings of a broker that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return msgspec.structs.replace(settings, redis_url=f"redis://127.0.0.1:{port}/0")


@pytest.fixture
def silent(settings: Settings) -> Iterator[Settings]:
    """Settings of a broker that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield msgspec.structs.replace(settings, redis_url=f"redis://127.0.0.1:{port}/0")


def tasks(queue: redis.Redis) -> list[dict[str, Any]]:
    """The tasks that wait in the broker, oldest first, as (headers, keyword arguments)."""
    found = []
    for raw in reversed(queue.lrange(EMBEDDINGS, 0, -1)):
        envelope = json.loads(raw)
        _, arguments, _ = json.loads(base64.b64decode(envelope["body"]))
        found.append({**arguments, "request_ids": envelope["headers"]["request_ids"]})
    return found


def sent(queue: redis.Redis) -> set[Pair]:
    return {
        (tenant, UUID(id_))
        for task in tasks(queue)
        for tenant, ids in task["messages"].items()
        for id_ in ids
    }


def pairs(count: int, tenant: str = "acme") -> list[Pair]:
    return [(tenant, uuid4()) for _ in range(count)]


async def test_what_comes_together_goes_as_one_task(
    settings: Settings, queue: redis.Redis, dropped: list[int]
) -> None:
    publisher = Publisher(settings, dropped.append)
    await publisher.start()
    ours, theirs = pairs(10), pairs(5, "globex")
    for number, pair in enumerate([*ours, *theirs]):
        publisher.publish([pair], f"request-{number % 3}")
    await publisher.stop()
    (task,) = tasks(queue)
    assert task["messages"] == {
        "acme": [str(id_) for _, id_ in ours],
        "globex": [str(id_) for _, id_ in theirs],
    }
    assert task["request_ids"] == ["request-0", "request-1", "request-2"]
    assert task["alone"] is False
    assert dropped == []


async def test_a_task_names_a_bounded_number_of_requests(
    settings: Settings, queue: redis.Redis, dropped: list[int]
) -> None:
    publisher = Publisher(settings, dropped.append)
    for number in range(MOST_REQUEST_IDS + 5):
        publisher.publish(pairs(1), f"request-{number}")
    await publisher.stop()
    (task,) = tasks(queue)
    assert len(task["request_ids"]) == MOST_REQUEST_IDS
    assert len(task["messages"]["acme"]) == MOST_REQUEST_IDS + 5


async def test_it_goes_without_being_asked(
    settings: Settings, queue: redis.Redis, dropped: list[int]
) -> None:
    publisher = Publisher(settings, dropped.append)
    await publisher.start()
    first, second = pairs(1), pairs(1)
    publisher.publish(first, "r")
    await asyncio.to_thread(wait_until, lambda: sent(queue) == set(first), "the first is sent")
    publisher.publish(second, "r")
    await asyncio.to_thread(wait_until, lambda: len(sent(queue)) == 2, "the second is sent")
    await publisher.stop()


async def test_a_stop_sends_what_waits_once(
    settings: Settings, queue: redis.Redis, dropped: list[int]
) -> None:
    publisher = Publisher(settings, dropped.append)
    await publisher.start()
    expected: list[Pair] = []
    for _ in range(20):
        lot = pairs(7)
        expected += lot
        publisher.publish(lot, "r")
        await asyncio.sleep(0.001)
    await publisher.stop()
    named = [id_ for task in tasks(queue) for id_ in task["messages"]["acme"]]
    assert sorted(named) == sorted(str(id_) for _, id_ in expected)
    assert dropped == []


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted(
    settings: Settings, queue: redis.Redis, dropped: list[int]
) -> None:
    publisher = Publisher(settings, dropped.append)
    publisher.publish(pairs(MOST_MESSAGES), "r")
    publisher.publish(pairs(3), "r")
    assert dropped == [3]
    await publisher.stop()
    assert len(sent(queue)) == MOST_MESSAGES


async def test_a_refused_lot_is_dropped_and_the_broker_left_alone(
    refused: Settings, dropped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.publisher.PAUSE_SECONDS", 600)
    publisher = Publisher(refused, dropped.append)
    publisher.publish(pairs(2), "r")
    await publisher.start()
    await asyncio.to_thread(wait_until, lambda: dropped == [2], "the lot is given up")
    with sends_held() as begun:
        publisher.publish(pairs(3), "r")
        await asyncio.to_thread(wait_until, lambda: dropped == [2, 3], "the next at once")
    assert not begun.is_set()
    await publisher.stop()


async def test_the_broker_is_tried_again(
    settings: Settings, queue: redis.Redis, dropped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.publisher.PAUSE_SECONDS", 0.1)
    publisher = Publisher(settings, dropped.append)
    await publisher.start()
    # As when it has run out of memory.
    queue.config_set("maxmemory", "1mb")
    try:
        publisher.publish(pairs(2), "r")
        await asyncio.to_thread(wait_until, lambda: dropped == [2], "the broker refuses")
    finally:
        queue.config_set("maxmemory", "0")
    expected = pairs(1)
    async with asyncio.timeout(60):
        while sent(queue) != set(expected):
            publisher.publish(expected, "r")
            await asyncio.sleep(0.02)
    await publisher.stop()


@pytest.mark.usefixtures("in_real_time")
@pytest.mark.parametrize("broker", ["refused", "silent"])
def test_a_broken_broker_neither_fails_nor_slows_a_post(
    request: pytest.FixtureRequest, broker: str, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.brokers.SOCKET_SECONDS", 2)
    with serving(request.getfixturevalue(broker)) as api:
        post_beside_a_send(api, 51)
        wait_until(lambda: dropped_messages(api) > 0, "what is dropped is counted")
    pending = text("select count(*) from messages where embedding_status = 'pending'")
    assert owner.scalar(pending) == 51


def test_an_end_with_a_silent_broker_is_bounded(
    silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.brokers.SOCKET_SECONDS", 1)
    with serving(silent) as api:
        api.post("/v1/messages", json=message())
        started = time.monotonic()
    assert time.monotonic() - started < 15


def test_each_posted_message_is_sent_once(api: httpx.Client, queue: redis.Redis) -> None:
    headers = {"Idempotency-Key": "k"}
    ids = {api.post("/v1/messages", json=message(), headers=headers).json()["id"] for _ in "12"}
    body = {"messages": [message(), message(tenant_id="globex")]}
    items = api.post("/v1/messages/batch", json=body).json()["items"]
    expected = {("acme", *ids), *((item["tenant_id"], item["id"]) for item in items)}
    wait_until(lambda: len(sent(queue)) >= 3, "all are sent")
    assert {(tenant, str(id_)) for tenant, id_ in sent(queue)} == expected
    assert sum(len(ids) for task in tasks(queue) for ids in task["messages"].values()) == 3


def dropped_messages(api: httpx.Client) -> float:
    lines = api.get("/metrics").text.splitlines()
    (line,) = (line for line in lines if line.startswith("publish_dropped_total"))
    return float(line.split()[1])


async def test_after_a_long_send_there_is_a_rest_in_which_what_comes_is_gathered(
    settings: Settings, dropped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lots: list[tuple[float, int]] = []
    sent = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def send(_: Any, messages: dict[str, list[UUID]], **__: Any) -> None:
        began = time.monotonic()
        time.sleep(0.05)
        lots.append((began, sum(map(len, messages.values()))))
        loop.call_soon_threadsafe(sent.release)

    monkeypatch.setattr("tasks.publisher.send_embedding", send)
    publisher = Publisher(settings, dropped.append)
    await publisher.start()
    publisher.publish(pairs(1), "first")
    await sent.acquire()
    for _ in range(5):
        publisher.publish(pairs(1), "then")
    await sent.acquire()
    await publisher.stop()
    ((first, one), (then, five)) = lots
    assert (one, five) == (1, 5)
    assert then - first >= 0.05 + REST_MOST_SECONDS
