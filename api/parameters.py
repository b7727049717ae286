"""What is seen to before a handler is called: who may, and what it takes in its URL.

Other parameters are refused, and OPTIONS is told its path's methods.
"""

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from api.entry import may_enter
from memory.errors import InvalidFieldError

# A handler that takes parameters of any name after a prefix has it under this name.
OPEN = "open_parameters"
SHOWN_MOST = 64


class Declared(NamedTuple):
    """What a handler takes: names, those of them that may be given more than once, a prefix."""

    names: frozenset[str]
    many: frozenset[str]
    prefix: str | None


class Parameters:
    """Knows what every handler takes; a misspelt filter would otherwise filter nothing."""

    def __init__(self) -> None:
        self._declared: dict[HTTPRouteHandler, Declared] = {}
        self._methods: dict[HTTPRouteHandler, str] = {}

    def learn(self, app: Litestar) -> None:
        """Read what the documented handlers of `app` take; pages and assets take anything."""
        for route in app.routes:
            if isinstance(route, HTTPRoute):
                options, _ = route.route_handler_map["OPTIONS"]
                self._methods[options] = ", ".join(sorted(route.methods))
                for handler, model in route.route_handler_map.values():
                    if handler.resolve_include_in_schema():
                        taken = model.expected_query_params
                        self._declared[handler] = Declared(
                            frozenset(each.field_alias for each in taken),
                            frozenset(each.field_alias for each in taken if each.is_sequence),
                            handler.opt.get(OPEN),
                        )

    async def before(self, request: Request[Any, Any, Any]) -> Response[None] | None:
        """See whether the caller may do this, and asks in the right way. Raises as both do.

        No guard of the framework's, for which it makes a copy of the handler each time.
        """
        may_enter(request, request.route_handler)
        return self.check(request)

    def check(self, request: Request[Any, Any, Any]) -> Response[None] | None:
        """Raise `InvalidFieldError` for a parameter that the handler does not take like this.

        An OPTIONS is answered here: the framework's own answer names the methods of one handler.
        """
        if methods := self._methods.get(request.route_handler):
            return Response(None, status_code=204, headers={"Allow": methods})
        declared = self._declared.get(request.route_handler)
        if declared is not None and (raw := request.scope["query_string"]):
            check_unicode(raw)
            check_names(request.query_params.multi_items(), declared)
        return None


def check_unicode(raw: bytes) -> None:
    """Raise `InvalidFieldError` for a parameter that is no UTF-8; the framework would mend it."""
    if b"%" not in raw:
        return
    for pair in raw.split(b"&"):
        name, _, value = map(unquote_to_bytes, pair.partition(b"="))
        try:
            name.decode()
            value.decode()
        except UnicodeDecodeError:
            shown = name[:SHOWN_MOST].decode(errors="replace")
            raise InvalidFieldError(shown, "is not UTF-8") from None


def check_names(given: Iterable[tuple[str, Any]], declared: Declared) -> None:
    """Raise `InvalidFieldError` for the first of `given` that is unknown or there again."""
    seen: set[str] = set()
    for name, _ in given:
        if declared.prefix and name.startswith(declared.prefix):
            continue
        if name not in declared.names:
            raise unknown(name, declared.names)
        if name in seen and name not in declared.many:
            raise InvalidFieldError(name, "is given more than once")
        seen.add(name)


def unknown(name: str, known: frozenset[str]) -> InvalidFieldError:
    """What is said of a name that is none, with the nearest that is one."""
    shown = name[:SHOWN_MOST]
    nearest = difflib.get_close_matches(shown, known, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return InvalidFieldError(shown, f"is no parameter here{hint}")
