"""Holding what a service sends, so that whoever waits for it is seen, on the busiest machine."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import httpx

from tasks import publisher
from tasks.brokers import PUBLISHER_SECONDS
from tests.conftest import message
from tests.processes import wait_until

# No client of a test waits so long for its answer.
HELD_SECONDS = 60


@contextlib.contextmanager
def sends_held(name: str = "send_embedding") -> Iterator[threading.Event]:
    """Sends of an API in this process end when this does; the event is set when one has begun."""
    begun, ended = threading.Event(), threading.Event()
    send = getattr(publisher, name)

    def held(*arguments: Any, **named: Any) -> None:
        begun.set()
        try:
            send(*arguments, **named)
        finally:
            assert ended.wait(HELD_SECONDS), "what is held was waited for"

    with mock.patch.object(publisher, name, held):
        try:
            yield begun
        finally:
            ended.set()


def post_beside_a_send(api: httpx.Client, times: int) -> None:
    """Post so many messages, all but the first of which while the task of the first is sent."""
    took = []
    with sends_held() as begun:
        for _ in range(times):
            started = time.monotonic()
            assert api.post("/v1/messages", json=message()).status_code == 202
            took.append(time.monotonic() - started)
            wait_until(begun.is_set, "the first one's task is on its way")
    # Whoever asked a silent broker for anything would wait so long or longer, each time.
    assert statistics.median(took) < PUBLISHER_SECONDS
