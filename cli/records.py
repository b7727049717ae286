"""The small things a data folder remembers between two starts: secrets, ports, places."""

import errno
import os
import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` in one step, readable by its owner only."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def recorded(path: Path) -> str | None:
    """What `path` holds, without the line's end; None when there is no such file."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def secret(path: Path) -> str:
    """The secret kept in `path`, drawn at random the first time."""
    kept = recorded(path)
    if kept:
        return kept
    drawn = secrets.token_urlsafe(24)
    write_private(path, drawn)
    return drawn


def port_is_free(host: str, port: int) -> bool:
    """Whether nobody listens on `host` and `port`. Raises `OSError` when we may not either."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            # Without this a listener that also allows reuse would go unseen.
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def loopback_port(path: Path) -> int:
    """The loopback port remembered in `path` if it is free, else a new free one, remembered."""
    kept = recorded(path) or ""
    if kept.isdecimal() and 0 < int(kept) < 65536 and port_is_free(LOOPBACK, int(kept)):
        return int(kept)
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    write_private(path, str(port))
    return port
