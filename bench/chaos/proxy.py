"""Proxies before the servers, which refuse, or swallow what is sent, when they are told to."""

import asyncio
import contextlib
from typing import Literal

from cli.records import LOOPBACK

Manner = Literal["open", "refusing", "silent"]
CHUNK_BYTES = 65_536


class Proxy:
    """Stands before the server on `server_port`, at `port`. Belongs to one event loop."""

    def __init__(self, server_port: int, port: int) -> None:
        self.port = port
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, and pass all on."""
        self._open.set()
        await self._listen()

    async def behave(self, manner: Manner) -> None:
        """Pass all on, refuse and cut, or take everything and say nothing."""
        if manner == "silent":
            self._open.clear()
        else:
            self._open.set()
        if manner == "refusing":
            await self.stop()
        elif self._listener is None:
            await self._listen()

    def cut(self) -> None:
        """End all connections at once, with a reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def stop(self) -> None:
        """Listen no more, and end all connections."""
        if self._listener:
            self._listener.close()
            self._listener = None
        self.cut()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(
            self._take, LOOPBACK, self.port, reuse_address=True, backlog=512
        )

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._open.wait()
            theirs, ours = await asyncio.open_connection(LOOPBACK, self._server_port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(ours)
        try:
            await asyncio.gather(self._pass_on(reader, ours), self._pass_on(theirs, writer))
        finally:
            for each in (writer, ours):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while received := await reader.read(CHUNK_BYTES):
                await self._open.wait()
                writer.write(received)
                await writer.drain()
        with contextlib.suppress(OSError):
            # Who has no more to say may still be told something.
            writer.write_eof()
