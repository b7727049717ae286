"""Posts of a message that nothing is odd about."""

from typing import NamedTuple

import msgspec
from litestar.types import HTTPScope, Receive

from api.bodies import read_message
from api.messages import PATH, outcome_of, store
from api.runtime import Runtime
from memory.access import Caller

JSON = b"application/json"
# Of these a plain post has none: they say that its body is not as it is.
ODD = frozenset({b"content-encoding", b"transfer-encoding"})


class Post(NamedTuple):
    """What is known of a post before its body."""

    idempotency_key: str | None


def plain_post(scope: HTTPScope, most_bytes: int) -> Post | None:
    """The post that a request is; None for one that is none, or that the framework is to see."""
    if scope["path"] != PATH or scope["method"] != "POST" or scope["query_string"]:
        return None
    caller: Caller | None = scope.get("caller")  # type: ignore[assignment]
    if caller is None or "write" not in caller.scopes:
        return None
    headers = dict(scope["headers"])
    said_twice = len(headers) < len(list(scope["headers"]))
    if said_twice or headers.get(b"content-type") != JSON or not ODD.isdisjoint(headers):
        return None
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or int(length) > most_bytes:
        return None
    key = headers.get(b"idempotency-key")
    return Post(None if key is None else key.decode("latin-1"))


async def stored(
    scope: HTTPScope, receive: Receive, runtime: Runtime, post: Post
) -> tuple[int, dict[str, str], bytes]:
    """Store what is posted: status, headers and body. Raises what the handler raises.

    Nobody is there to be told of a body that does not come to its end.
    """
    scope["path_template"] = PATH
    body = await read_body(receive)
    if body is None:
        return 499, {}, b""
    new = read_message(body, runtime.settings.content_max_chars)
    done = await store(scope, runtime, [new], post.idempotency_key)
    status, headers = outcome_of(runtime, done)
    headers = {"content-type": "application/json", **headers}
    return status, headers, msgspec.json.encode(done.messages[0])


async def read_body(receive: Receive) -> bytes | None:
    """All of a body; None when its caller has gone before."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)
