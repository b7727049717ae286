"""The OpenAPI document, and its page at `/docs` without an asset from elsewhere."""

from dataclasses import dataclass
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import MediaType, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    Operation,
    RequestBody,
    SecurityScheme,
)
from litestar.params import FromPath

from api.browsers import page_policy
from api.documented import WholeConfig
from memory.version import VERSION

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def documented_body(body: type[msgspec.Struct]) -> type[Operation]:
    """An operation whose JSON body is documented as `body`; the handler reads the bytes itself."""

    schema = self_contained(body)

    @dataclass
    class WithBody(Operation):
        def __post_init__(self) -> None:
            content = {"application/json": OpenAPIMediaType(schema=schema)}
            self.request_body = RequestBody(content=content, required=True)

    return WithBody


def self_contained(body: type[msgspec.Struct]) -> Any:
    """The JSON schema of `body` with all that it refers to written out.

    The framework keeps no component that it has not made itself, so nothing can be referred to.
    """
    (schema,), parts = msgspec.json.schema_components([body], ref_template="{name}")

    def written_out(node: Any) -> Any:
        if isinstance(node, list):
            return [written_out(item) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("$ref") in parts:
            return written_out(parts[node["$ref"]])
        return {name: written_out(item) for name, item in node.items()}

    return written_out(schema)


async def fit_for_browsers(response: Response[Any]) -> Response[Any]:
    """Raise in place of the framework's own page for a path that is not there.

    The documents may be kept, and the page may run what it has.
    """
    if response.status_code == HTTPStatus.NOT_FOUND:
        raise NotFoundException
    response.headers["cache-control"] = "no-cache"
    if response.media_type == MediaType.HTML:
        response.headers["content-security-policy"] = page_policy(response.content)
    return response


def openapi_config() -> OpenAPIConfig:
    """The document at `/docs/openapi.json`, and Swagger UI at `/docs`."""
    key = SecurityScheme(type="apiKey", name="x-api-key", security_scheme_in="header")
    bearer = SecurityScheme(type="http", scheme="bearer")
    components = Components(security_schemes={"key": key, "bearer": bearer})
    page = SwaggerRenderPlugin(
        js_url="/docs/assets/swagger-ui-bundle.js",
        css_url="/docs/assets/swagger-ui.css",
        standalone_preset_js_url="/docs/assets/swagger-ui-bundle.js",
        favicon="<link rel='icon' href='data:,'>",
        path="/",
    )
    return WholeConfig(
        title="AI Memory Layer",
        version=VERSION,
        description="Post conversation messages; find the few that matter.",
        use_handler_docstrings=True,
        components=components,
        security=[{"key": []}, {"bearer": []}],
        path="/docs",
        openapi_router=Router(
            "/docs", route_handlers=[], include_in_schema=False, after_request=fit_for_browsers
        ),
        render_plugins=[page, JsonRenderPlugin(), YamlRenderPlugin()],
    )


@get("/docs/assets/{name:str}", include_in_schema=False, sync_to_thread=True)
def docs_asset(name: FromPath[str]) -> Response[bytes]:
    """A file of Swagger UI, from the package that carries it."""
    package = find_spec("swagger_ui")
    if name not in ASSETS or package is None or package.origin is None:
        raise NotFoundException
    content = (Path(package.origin).parent / "static" / name).read_bytes()
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(content, media_type=ASSETS[name], headers=headers)
