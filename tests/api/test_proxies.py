"""Whom the service believes about where a request comes from."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import msgspec
import pytest

from api.gate import Gate
from api.server import Server
from memory.settings import Settings
from memory.values import split_list
from tests.conftest import serving
from tests.processes import wait_until

US = "127.0.0.1"


class Mirror:
    """In the place of the gate, it answers with the address and the scheme that a gate is told."""

    def __init__(self, trusted_proxies: str) -> None:
        self.trusted_proxies = split_list(trusted_proxies)

    def end_streams(self) -> None:
        """There are none."""

    def turn_away(self) -> None:
        """There is no proxy that asks."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                stage = (await receive())["type"]
                await send({"type": f"{stage}.complete"})
            return
        seen = json.dumps([scope["client"][0], scope["scheme"]]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": seen})


@contextmanager
def mirrored(trusted_proxies: str) -> Iterator[str]:
    """The URL of a mirror that is served as the API is."""
    server = Server(cast("Gate", Mirror(trusted_proxies)), US, 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the mirror has started")
    try:
        yield f"http://{US}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def seen(url: str, *forwarded: str, peer: str = US, scheme: str = "") -> tuple[str, str]:
    """The address and scheme that are seen when `peer` sends these lines of `X-Forwarded-For`."""
    headers = [("X-Forwarded-For", line) for line in forwarded]
    headers += [("X-Forwarded-Proto", scheme)] if scheme else []
    with httpx.Client(transport=httpx.HTTPTransport(local_address=peer)) as client:
        address, spoken = client.get(url, headers=headers).json()
    return address, spoken


@pytest.fixture(scope="module")
def proxied() -> Iterator[str]:
    """A mirror behind proxies of this machine and of two networks."""
    with mirrored("127.0.0.1, 10.0.0.0/8, fd00::/8") as url:
        yield url


@pytest.mark.parametrize("peer", [US, "127.0.0.2"])
def test_nobody_is_believed_unless_the_settings_say_so(
    peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    with mirrored("") as url:
        assert seen(url, "203.0.113.9", peer=peer, scheme="https") == (peer, "http")


def test_only_the_proxies_that_are_named_are_believed(proxied: str) -> None:
    stranger = seen(proxied, "203.0.113.9", peer="127.0.0.2", scheme="https")
    assert stranger == ("127.0.0.2", "http")
    assert seen(proxied, "203.0.113.9", scheme="https") == ("203.0.113.9", "https")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], US),
        (["203.0.113.9"], "203.0.113.9"),
        # What the caller claims stands to the left of what the proxies have seen.
        (["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.7, 203.0.113.9, 10.1.2.3, 10.4.5.6"], "203.0.113.9"),
        (["10.9.9.9, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        # Some proxies add a line and not an entry.
        (["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
        (["198.51.100.7", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (["198.51.100.7,203.0.113.9 ,10.1.2.3"], "203.0.113.9"),
        (["2001:db8::7"], "2001:db8::7"),
        (["198.51.100.7, 2001:db8::7, fd00::1"], "2001:db8::7"),
        (["203.0.113.9:51234"], "203.0.113.9"),
        (["198.51.100.7, [2001:db8::7]:51234, 10.1.2.3:80"], "2001:db8::7"),
        # Nobody but proxies: the first of them asks for itself.
        (["10.1.2.3, 10.4.5.6"], "10.1.2.3"),
        # A proxy that does not know is believed that it does not: never what stands before.
        (["198.51.100.7, unknown"], "unknown"),
        (["198.51.100.7, 203.0.113.9.example"], "203.0.113.9.example"),
    ],
)
def test_the_last_address_that_is_not_a_proxys_counts(
    proxied: str, forwarded: list[str], address: str
) -> None:
    assert seen(proxied, *forwarded)[0] == address


@pytest.mark.parametrize("forwarded", ["", ",", ", ,", "10.1.2.3,"])
def test_an_empty_entry_is_nobody(proxied: str, forwarded: str) -> None:
    assert seen(proxied, forwarded)[0] == US


@pytest.mark.parametrize("scheme", ["", "HTTPS", "https,http", "ftp", "https evil"])
def test_a_scheme_that_is_none_is_not_believed(proxied: str, scheme: str) -> None:
    assert seen(proxied, "203.0.113.9", scheme=scheme) == ("203.0.113.9", "http")


@pytest.mark.parametrize("trusted", ["*", "10.0.0.1, *"])
def test_an_asterisk_believes_everybody(trusted: str) -> None:
    with mirrored(trusted) as url:
        found = seen(url, "203.0.113.9", peer="127.0.0.2", scheme="https")
        assert found == ("203.0.113.9", "https")


def test_transport_security_is_asked_for_where_there_is_some(shared_settings: Settings) -> None:
    behind = msgspec.structs.replace(shared_settings, trusted_proxies=US)
    for settings, expected in ((behind, "max-age=31536000"), (shared_settings, None)):
        with serving(settings) as api:
            for path in ("/v1/admin/live", "/docs", "/nowhere"):
                secured = api.get(path, headers={"X-Forwarded-Proto": "https"})
                assert secured.headers.get("strict-transport-security") == expected
                assert "strict-transport-security" not in api.get(path).headers


def test_a_forwarded_host_opens_nothing(shared_settings: Settings) -> None:
    behind = msgspec.structs.replace(shared_settings, trusted_proxies=US)
    with serving(behind) as api:
        headers = {"Host": "evil.example", "X-Forwarded-Host": "localhost"}
        assert api.get("/v1/admin/live", headers=headers).status_code == 403
