"""Plain requests that come most often, past the framework, which takes longer than their work."""

from collections.abc import Mapping
from typing import NamedTuple

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from api.plain_posts import plain_post, stored
from api.plain_searches import found, plain_search
from api.problems import failure
from api.runtime import Runtime


class Plain:
    """An ASGI application before the framework's: does the requests that nothing is odd about.

    Whatever has a parameter or header of another kind, or would be refused for one, goes on to the
    framework.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self.framework = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what is asked, or pass it on."""
        if scope["type"] != ScopeType.HTTP:
            await self.framework(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, receive)
        except Exception as error:
            answer = Answer(*failure(scope, error))
        if answer is None:
            await self.framework(scope, receive, send)
        elif not scope.get("caller_gone"):
            headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            headers.append((b"content-length", b"%d" % len(answer.body)))
            start = {"type": "http.response.start", "status": answer.status, "headers": headers}
            await send(start)  # type: ignore[arg-type]
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def _answer(self, scope: HTTPScope, receive: Receive) -> "Answer | None":
        """The answer to a request; None for one that the framework is to see."""
        if post := plain_post(scope, self._runtime.settings.request_max_bytes):
            return Answer(*await stored(scope, receive, self._runtime, post))
        if search := plain_search(scope):
            return Answer(200, JSON, await found(scope, self._runtime, search))
        return None


class Answer(NamedTuple):
    """An answer as it is sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes


JSON = {"content-type": "application/json"}
