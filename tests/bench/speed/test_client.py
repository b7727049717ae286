"""The lean client: what it takes for an answer, and what it sends."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.speed.client import MARK, Load, is_success, is_whole, numbered, run
from bench.speed.loading import client_alone, http_request

ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


def test_an_answer_is_whole_when_its_body_is() -> None:
    assert [is_whole(ANSWER[:length]) for length in range(len(ANSWER) + 1)].count(True) == 1
    assert is_whole(ANSWER)
    assert is_whole(ANSWER.lower().replace(b"http", b"HTTP"))


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="without a length"):
        is_whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


@pytest.mark.parametrize("answer", [b"$5\r\nhello\r\n", b"+OK\r\n", b"-NOAUTH no\r\n", b"$-1\r\n"])
def test_answers_of_redis_are_whole_at_their_end(answer: bytes) -> None:
    assert is_whole(answer)
    assert not is_whole(answer[:-1])


def test_refusals_are_no_successes() -> None:
    successes = [ANSWER, b"$5\r\nhello\r\n", b"+OK\r\n"]
    refusals = [ANSWER.replace(b"202", b"429"), b"-NOAUTH no\r\n", b"$-1\r\n"]
    assert [is_success(each) for each in successes + refusals] == [True] * 3 + [False] * 3


def test_no_two_requests_are_alike() -> None:
    sent = list(itertools.islice(numbered([b"a" + MARK, b"b" + MARK + b"c", b"d"], 7), 4))
    assert sent == [b"b000000007c", b"d", b"a000000009", b"b000000010c"]


def test_the_length_of_a_body_is_that_with_its_number() -> None:
    request = http_request("http://here:1", "POST", "/x", {"k": "v"}, b'"' + MARK + b'"')
    assert b"\r\ncontent-length: 11\r\n" in request
    assert request.startswith(b"POST /x HTTP/1.1\r\nhost: here:1\r\nk: v\r\n")


@contextmanager
def answering(*parts: bytes) -> Iterator[int]:
    """A server that answers its one connection's first request in so many parts, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                for part in parts:
                    connection.sendall(part)

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def one_request(port: int) -> Load:
    return Load("127.0.0.1", port, clients=1, warm_seconds=0, seconds=0, requests=[b"GET"])


def test_a_refusal_ends_the_run() -> None:
    refusal = ANSWER.replace(b"202 Accepted", b"503 No")
    with answering(refusal[:20], refusal[20:]) as port, pytest.raises(ValueError, match="503 No"):
        run(one_request(port))


def test_a_lost_answer_ends_the_run() -> None:
    with answering(ANSWER[:-1]) as port, pytest.raises(ConnectionResetError):
        run(one_request(port))


def test_the_client_alone_is_measured() -> None:
    alone = client_alone(4, 0.2)
    assert len(alone.heard.taken) > 100
    assert alone.heard.sent > len(alone.heard.taken)
    assert 0.2 <= alone.heard.seconds < 5
    assert 0 < alone.milliseconds(0.5) <= alone.milliseconds(0.95)
    assert alone.microseconds().keys() == {"client", "responder"}
    assert all(value > 0 for value in alone.microseconds().values())
