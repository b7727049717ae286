"""Taking Redis away from one who asks it, in several ways, and giving it back."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Iterator

import redis

from api.brief_redis import BriefRedis


class OwnUser:
    """A Redis user of one test, who can be thrown out without anybody else noticing."""

    def __init__(self, server: str) -> None:
        self.client = redis.Redis.from_url(server)
        self.name = f"user-{uuid.uuid4().hex}"
        self.client.acl_setuser(
            self.name, enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"]
        )
        self.url = f"redis://{self.name}:secret@{server.rpartition('@')[2]}"

    @contextlib.contextmanager
    def thrown_out(self) -> Iterator[None]:
        """The user's connections are cut, and new ones refused."""
        self.client.acl_setuser(self.name, enabled=False)
        self.client.client_kill_filter(user=self.name)
        try:
            yield
        finally:
            self.client.acl_setuser(self.name, enabled=True)

    def close(self) -> None:
        """Leave nothing in the server."""
        self.client.acl_deluser(self.name)
        self.client.close()


class Hole:
    """A server that takes connections, counts them, and never says a word."""

    def __init__(self) -> None:
        self.callers: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def calls(self) -> int:
        """How many have connected so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.callers.append(self._server.accept()[0])
        return len(self.callers)

    async def call(self) -> None:
        """Wait for one who connects."""
        self.callers.append((await asyncio.get_running_loop().sock_accept(self._server))[0])

    def close(self) -> None:
        """Let all go."""
        for each in (*self.callers, self._server):
            each.close()


def pause_is_over(redis: BriefRedis) -> None:
    """Let the next call try, as it would after a while."""
    redis._left_alone_until = 0.0
