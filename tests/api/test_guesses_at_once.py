"""Whoever sends many keys at once learns no more than who sends them one after another."""

import contextlib
import socket
from collections import Counter
from typing import Any

import msgspec
import pytest

from memory.settings import Settings
from tests.api.issuing import OPERATOR_KEY
from tests.conftest import serving

GUESSES = 60
HEAD = b"GET /v1/jobs HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize("alone", [True, False], ids=["one process", "with Redis"])
def test_many_guesses_at_once_are_as_few(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    monkeypatch.setattr("api.entrance.FIRST_WAIT_SECONDS", 0.0)
    given: dict[str, Any] = {"async_embeddings": False, "redis_url": ""} if alone else {}
    limited = {"api_keys": OPERATOR_KEY, "auth_failure_limit": "3/hour", **given}
    with (
        serving(msgspec.structs.replace(settings, **limited)) as api,
        contextlib.ExitStack() as all_open,
    ):
        place = (api.base_url.host, api.base_url.port or 0)
        connections = [
            all_open.enter_context(socket.create_connection(place, 10)) for _ in range(GUESSES)
        ]
        for connection in connections:
            connection.sendall(HEAD)
        for number, connection in enumerate(connections):
            last = number == GUESSES - 1
            key = OPERATOR_KEY if last else f"guess-{number}"
            connection.sendall(f"x-api-key: {key}\r\n\r\n".encode())
        answers = [connection.recv(12)[-3:] for connection in connections]
    # The right one, which comes last, is not told from the wrong ones.
    assert answers[-1] == b"429"
    assert Counter(answers) == {b"401": 3, b"429": GUESSES - 3}
