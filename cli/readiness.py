"""Asking the started parts whether they serve."""

import http.client
import json
import socket

from memory.settings import Settings

# Model, schema and connections are checked in this time; past it something is wrong.
API_ANSWERS_SECONDS = 120.0
REQUEST_SECONDS = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def not_ready_because(settings: Settings) -> str | None:
    """What `/v1/admin/readiness` gives as the reason, None when requests are served."""
    try:
        status, body = _asked(settings, "/v1/admin/readiness")
    except (OSError, http.client.HTTPException):
        return "the API does not answer"
    return None if status == 200 else _reasons(status, body)


def wants_key(settings: Settings) -> bool:
    """Whether the API turns away who sends no key."""
    try:
        return _asked(settings, "/v1/jobs?limit=1")[0] == 401
    except (OSError, http.client.HTTPException):
        return bool(settings.operator_keys)


def flower_listens(settings: Settings) -> bool:
    """Whether Flower takes connections."""
    try:
        address = (reachable(settings.flower_host), settings.flower_port)
        socket.create_connection(address, REQUEST_SECONDS).close()
    except OSError:
        return False
    return True


def reachable(host: str) -> str:
    """The address to reach a server at that listens on `host`."""
    return EVERYWHERE.get(host, host)


def url_of(host: str, port: int) -> str:
    """The URL to reach a server at that listens on `host`."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _asked(settings: Settings, target: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(
        reachable(settings.api_host), settings.api_port, timeout=REQUEST_SECONDS
    )
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _reasons(status: int, body: bytes) -> str:
    try:
        return "; ".join(json.loads(body)["reasons"]) or f"the API answers {status}"
    except (ValueError, KeyError, TypeError):
        return f"the API answers {status}"
