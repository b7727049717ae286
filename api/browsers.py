"""What an answer says to browsers, so that nothing of ours is run, framed or kept by others."""

import base64
import hashlib
import re
from functools import lru_cache

Headers = list[tuple[bytes, bytes]]

# Nobody but who asked may keep what holds memories; an answer that says otherwise knows better.
EVERYWHERE: Headers = [
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
# A year, as browsers' own lists ask for.
OVER_TLS: Headers = [*EVERYWHERE, (b"strict-transport-security", b"max-age=31536000")]

INLINE = {
    "script-src": re.compile(rb"(?is)<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>"),
    "style-src": re.compile(rb"(?is)<style[^>]*>(.*?)</style>"),
}


def browser_headers(scheme: str, given: Headers) -> Headers:
    """What an answer with the headers `given` says beside them."""
    names = {name.lower() for name, _ in given}
    wanted = OVER_TLS if scheme == "https" else EVERYWHERE
    return [header for header in wanted if header[0] not in names]


@lru_cache(maxsize=4)
def page_policy(page: bytes) -> str:
    """The Content-Security-Policy of an HTML page of ours: what it has inline, and our own files.

    What is inline is known by its SHA-256, so that no script gets in which the page did not have.
    """
    own = {
        directive: " ".join(["'self'", *map(_source, found.findall(page))])
        for directive, found in INLINE.items()
    }
    return (
        f"default-src 'none'; script-src {own['script-src']}; style-src {own['style-src']};"
        " img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )


def _source(inline: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"
