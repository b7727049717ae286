"""Callers that cost next to nothing: many connections, one thread, no framework.

    python -m bench.speed.client < load

A process of its own, told what to do on standard input (a `Load` in MessagePack). It writes a line
`begin` when the measured time begins, and in the end what it `Heard`, as JSON.
"""

import itertools
import select
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import msgspec

MARK = b"\x00NUMBER\x00"
DIGITS = 9
READ_BYTES = 262_144
LATE_SECONDS = 60
SHOWN_BYTES = 300


class Load(msgspec.Struct, frozen=True):
    """What to send, by how many at once and for how long.

    The requests, of HTTP or of Redis, are sent in turn, each whole as it goes over the wire. Where
    one has `MARK`, the number of the request stands instead, in nine digits: so no two are alike.
    What is `opening` is sent first by each connection.
    """

    host: str
    port: int
    clients: int
    warm_seconds: float
    seconds: float
    requests: list[bytes]
    first: int = 0
    opening: bytes = b""


class Heard(msgspec.Struct, frozen=True):
    """What came of it: the seconds of each answer, how long it all took, and the client's own time.

    `sent` counts the requests of the time before the measured one, too.
    """

    taken: list[float]
    seconds: float
    busy: float
    sent: int


class Caller:
    """A connection, with what it has of an answer."""

    __slots__ = ("connection", "part", "started")

    def __init__(self, host: str, port: int) -> None:
        self.connection = socket.create_connection((host, port), LATE_SECONDS)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.part = b""
        self.started = 0.0


def numbered(requests: Sequence[bytes], first: int) -> Iterator[bytes]:
    """The requests in turn without end, each with its number from `first` on."""
    halves = [request.split(MARK) for request in requests]
    for number in itertools.count(first):
        half = halves[number % len(halves)]
        yield half[0] if len(half) == 1 else (b"%09d" % number).join(half)


def is_whole(answer: bytes) -> bool:
    """Whether `answer` is all there; raises `ValueError` for one that does not say its length."""
    if not answer.startswith(b"HTTP"):
        return is_whole_of_redis(answer)
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = answer.find(b"content-length: ", 0, end)
    if at < 0:
        at = answer[:end].lower().find(b"content-length: ")
    if at < 0:
        raise ValueError(f"an answer without a length: {answer[:SHOWN_BYTES]!r}")
    return len(answer) >= end + 4 + int(answer[at + 16 : answer.find(b"\r", at)])


def is_whole_of_redis(answer: bytes) -> bool:
    """The same for a line or a bulk string of Redis."""
    end = answer.find(b"\r\n")
    if end < 0 or answer[:1] != b"$" or answer[1:2] == b"-":
        return end >= 0
    return len(answer) >= end + 4 + int(answer[1:end])


def is_success(answer: bytes) -> bool:
    """Whether an answer says that all went well; that Redis has nothing is no success."""
    if answer.startswith(b"HTTP"):
        return answer[9:10] == b"2"
    return answer[:1] in b"+$" and not answer.startswith(b"$-1")


def call(callers: Sequence[Caller], requests: Iterator[bytes], seconds: float) -> list[float]:
    """Send for so long, by each caller one after the other; the seconds of each answer.

    Raises `ValueError` for an answer that is no success, `OSError` when one is lost or late.
    """
    poll = select.poll()
    by_descriptor = {caller.connection.fileno(): caller for caller in callers}
    clock = time.perf_counter
    taken: list[float] = []
    until = clock() + seconds
    for descriptor, caller in by_descriptor.items():
        poll.register(descriptor, select.POLLIN)
        caller.started = clock()
        caller.connection.sendall(next(requests))
    under_way = len(callers)
    while under_way:
        ready = poll.poll(LATE_SECONDS * 1000)
        if not ready:
            raise TimeoutError(f"no answer within {LATE_SECONDS} s")
        for descriptor, _ in ready:
            caller = by_descriptor[descriptor]
            received = caller.connection.recv(READ_BYTES)
            answer = caller.part + received if caller.part else received
            if not is_whole(answer):
                caller.part = answer
                if not received:
                    raise ConnectionResetError("the connection was closed before the answer")
                continue
            caller.part = b""
            now = clock()
            taken.append(now - caller.started)
            if not is_success(answer):
                raise ValueError(f"refused: {answer[:SHOWN_BYTES]!r}")
            if now < until:
                caller.started = now
                caller.connection.sendall(next(requests))
            else:
                under_way -= 1
    return taken


def run(load: Load) -> Heard:
    """Do as `load` says; connections are open and caches warm before time is taken."""
    requests = numbered(load.requests, load.first)
    with ExitStack() as stack:
        callers = [Caller(load.host, load.port) for _ in range(load.clients)]
        for caller in callers:
            stack.enter_context(caller.connection)
        if load.opening:
            call(callers, itertools.repeat(load.opening), 0)
        before = call(callers, requests, load.warm_seconds)
        sys.stdout.write("begin\n")
        sys.stdout.flush()
        started, busy = time.perf_counter(), time.process_time()
        taken = call(callers, requests, load.seconds)
        ended, spent = time.perf_counter(), time.process_time()
    return Heard(taken, ended - started, spent - busy, len(before) + len(taken))


if __name__ == "__main__":
    told = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(run(told)) + b"\n")
