"""A request whose end takes long, for a database that says nothing, is answered in its time."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from bench.chaos.proxy import Manner, Proxy
from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.conftest import message, serving
from tests.ports import free_port

TIMEOUT_SECONDS = 2.0
# psycopg asks a silent server for five seconds to end a statement, and waits five more for that.
LONG_SECONDS = 6.0


Behave = Callable[[Manner], None]


@pytest.fixture
def way(settings: Settings) -> Iterator[tuple[int, Behave]]:
    """The port of a proxy before the database, and what has it behave in some way."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)

    port = int(settings.database_url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port, free_port())
    run(proxy.start())
    try:
        yield proxy.port, lambda manner: run(proxy.behave(manner))
    finally:
        run(proxy.behave("open"))
        run(proxy.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def api(settings: Settings, way: tuple[int, Behave]) -> Iterator[str]:
    before, _, after = settings.database_url.rpartition("@")
    name = after.partition("/")[2]
    through = f"{before}@127.0.0.1:{way[0]}/{name}"
    hasty = msgspec.structs.replace(
        settings, database_url=through, request_timeout_seconds=TIMEOUT_SECONDS
    )
    with serving(hasty) as client:
        yield str(client.base_url)


async def test_a_silent_database_is_not_waited_for_beyond_the_timeout(
    api: str, way: tuple[int, Behave]
) -> None:
    async with httpx.AsyncClient(base_url=api, timeout=30) as client:
        # The first may take longer, where a machine does much else.
        while (posted := await client.post("/v1/messages", json=message())).status_code != 202:
            assert_problem(posted, 503, "unavailable")
        way[1]("silent")
        began = time.monotonic()
        asked = [client.get(f"/v1/messages/{posted.json()['id']}") for _ in range(3)]
        for answer in await asyncio.gather(*asked):
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
        assert time.monotonic() - began < LONG_SECONDS
        way[1]("open")
        # The same connections go on, and nothing is answered twice.
        for _ in range(3):
            assert (await client.get("/v1/admin/live")).status_code == 200
