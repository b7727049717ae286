"""A collector of spans that reads them and throws them away, in a process of its own.

    python -m uvicorn bench.receiving:receive

`GET /` tells how many bytes have come by each path.
"""

from collections import Counter
from typing import Any

import msgspec

RECEIVED: Counter[str] = Counter()


async def receive(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request, as an ASGI application."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        message = await receive()
        RECEIVED[scope["path"]] += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = msgspec.json.encode(RECEIVED) if scope["method"] == "GET" else b""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
