"""Sockets for the API that outlive it: who holds them keeps those waiting who come meanwhile."""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import MutableMapping, Sequence

import msgspec

from cli.errors import StartError
from memory.settings import Settings

# `aiml up` names in this variable the descriptors of the sockets that it passes on.
PASSED = "AIML_LISTEN_FDS"
# systemd's own way: so many descriptors from 3 on, for the process of that id and for no other.
COUNT, FOR_PROCESS, NAMES = "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"
FIRST = 3
BACKLOG = 2048
NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listening(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on each address of `host`. Raises `OSError` where none can."""
    sockets: list[socket.socket] = []
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as stack:
        missing: OSError | None = None
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                listener = stack.enter_context(socket.socket(family, kind, protocol))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind(address)
                listener.listen(BACKLOG)
            except OSError as error:
                # As where `localhost` is ::1 too, and the machine has no IPv6.
                if error.errno not in NOT_HERE:
                    raise
                missing = error
            else:
                sockets.append(listener)
        if missing and not sockets:
            raise missing
        stack.pop_all()
    return sockets


def passed_on(sockets: Sequence[socket.socket]) -> dict[str, str]:
    """The variable by which a child finds `sockets`, whose descriptors it inherits."""
    return {PASSED: ",".join(str(each.fileno()) for each in sockets)} if sockets else {}


def inherited(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that this process was given, none when it was given none.

    Raises `StartError` for what is no such socket. The variables are taken away, so that no process
    that this one starts takes them for its own.
    """
    ours = environ.pop(PASSED, "")
    count, for_process = environ.pop(COUNT, ""), environ.pop(FOR_PROCESS, "")
    environ.pop(NAMES, None)
    if ours:
        return [adopted(PASSED, int(number)) for number in ours.split(",")]
    if for_process != str(os.getpid()) or not count.isdecimal():
        return []
    return [adopted(COUNT, number) for number in range(FIRST, FIRST + int(count))]


def adopted(variable: str, descriptor: int) -> socket.socket:
    """The socket of an inherited descriptor, which is not inherited further."""
    try:
        found = socket.socket(fileno=descriptor)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"{variable}: descriptor {descriptor}: {error.strerror}.") from None
    if not listens or found.family not in (socket.AF_INET, socket.AF_INET6):
        found.close()
        raise StartError(f"{variable}: descriptor {descriptor} is no TCP socket that listens.")
    found.set_inheritable(False)
    return found


def heard_on(settings: Settings, sockets: Sequence[socket.socket]) -> Settings:
    """`settings` with the address of `sockets`, of several the one that most can reach.

    Whether the service may be open to this machine without a key is judged by it.
    """
    addresses = [each.getsockname()[:2] for each in sockets]
    if not addresses:
        return settings
    host, port = min(addresses, key=lambda each: ipaddress.ip_address(each[0]).is_loopback)
    return msgspec.structs.replace(settings, api_host=host, api_port=port)
