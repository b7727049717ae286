"""What an answer says to browsers, whatever kind of answer it is."""

import base64
import hashlib
from html.parser import HTMLParser

import httpx
import pytest

from api.browsers import page_policy
from tests.conftest import message

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Inline(HTMLParser):
    """What a page has in itself, as a browser finds it, and what it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"script": [], "style": []}
        self.loaded: list[str] = []
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if url := given.get("src") or given.get("href"):
            self.loaded.append(url)
        assert not [name for name in given if name.startswith("on") or name == "style"]
        self._within = tag if tag in self.found and "src" not in given else ""

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self.found[self._within].append(data)


def source(inline: str) -> str:
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def directives(policy: str) -> dict[str, list[str]]:
    parts = [part.split() for part in policy.split(";")]
    return {name: sources for name, *sources in parts}


def every_answer(api: httpx.Client) -> list[httpx.Response]:
    return [
        api.get("/v1/admin/live"),
        api.post("/v1/messages", json=message()),
        api.post("/v1/messages", content=b"{"),
        api.get("/nowhere"),
        api.get("/docs/nothing"),
        api.get("/metrics"),
        api.delete("/v1/memory/search"),
        api.get("/v1/admin/live", headers={"Host": "evil.example"}),
        api.get("/v1/admin/live", headers={"x-large": "v" * 40_000}),
        api.options("/v1/messages"),
    ]


def test_every_answer_is_for_nobody_else(shared: httpx.Client) -> None:
    for answer in every_answer(shared):
        assert answer.headers.get_list("content-security-policy") == [NOTHING], answer.url
        assert answer.headers.get_list("x-frame-options") == ["DENY"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert "strict-transport-security" not in answer.headers


def test_the_page_may_run_what_it_has_and_nothing_else(shared: httpx.Client) -> None:
    answer = shared.get("/docs")
    (policy,) = answer.headers.get_list("content-security-policy")
    allowed = directives(policy)
    page = Inline(answer.text)
    assert page.found["script"]
    assert allowed["script-src"] == ["'self'", *map(source, page.found["script"])]
    assert allowed["style-src"] == ["'self'", *map(source, page.found["style"])]
    assert (allowed["default-src"], allowed["frame-ancestors"]) == (["'none'"], ["'none'"])
    assert "unsafe" not in policy
    # The rest is of our own: `data:,` stands for no picture at all.
    assert all(url.startswith(("/docs/", "data:")) for url in page.loaded)
    assert answer.headers["x-frame-options"] == "DENY"


def test_what_holds_no_memories_may_be_kept(shared: httpx.Client) -> None:
    asset = shared.get("/docs/assets/swagger-ui.css")
    assert asset.headers.get_list("cache-control") == ["public, max-age=86400"]
    for path in ("/docs", "/docs/openapi.json"):
        assert shared.get(path).headers.get_list("cache-control") == ["no-cache"]


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("<p>none</p>", []),
        ("<script>a()</script>", ["a()"]),
        ("<SCRIPT type='module'>\na()\n</SCRIPT>", ["\na()\n"]),
        ("<script>a()</script><p><script defer>b()</script>", ["a()", "b()"]),
        ("<script src='/x.js'></script><script>b()</script>", ["b()"]),
        ("<script type='a' src=\"/x.js\">c()</script>", []),
    ],
)
def test_scripts_are_known_by_what_they_are(page: str, scripts: list[str]) -> None:
    assert directives(page_policy(page.encode()))["script-src"][1:] == [*map(source, scripts)]
