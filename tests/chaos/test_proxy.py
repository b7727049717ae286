"""A proxy passes on, refuses, and swallows."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.chaos.proxy import Proxy
from tests.ports import free_port

BRIEF = 0.2


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """One before a server that says what it is told."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(100):
            writer.write(said)
        writer.close()

    port = free_port()
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    made = Proxy(port, free_port())
    await made.start()
    yield made
    await made.stop()
    server.close()


async def say(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
    reader, writer = stream
    writer.write(b"hello")
    return await asyncio.wait_for(reader.read(100), BRIEF)


async def test_it_passes_on(proxy: Proxy) -> None:
    stream = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(stream) == b"hello"
    stream[1].close()


async def test_it_refuses_and_ends_what_there_is(proxy: Proxy) -> None:
    stream = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(stream) == b"hello"
    await proxy.behave("refusing")
    with pytest.raises(ConnectionError):
        assert await say(stream) == b"nothing"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.behave("open")
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(again) == b"hello"
    for each in (stream, again):
        each[1].close()


async def test_what_it_swallowed_comes_late(proxy: Proxy) -> None:
    stream = await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.behave("silent")
    with pytest.raises(TimeoutError):
        await say(stream)
    # Taken, and told nothing either.
    other = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(TimeoutError):
        await say(other)
    await proxy.behave("open")
    assert await asyncio.wait_for(stream[0].read(100), BRIEF) == b"hello"
    assert await asyncio.wait_for(other[0].read(100), BRIEF) == b"hello"
    for each in (stream, other):
        each[1].close()
