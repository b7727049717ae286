"""Ports of this machine for servers of tests."""

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]
