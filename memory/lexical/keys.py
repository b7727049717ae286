"""The keys by which the lexical index finds a message: its terms and its metadata, by tenant.

One inverted index serves all tenants. A key is the tenant's salt in its upper half, so that the
posting lists of a tenant are its own, however common the word is elsewhere.
"""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

METADATA_BIT = 1 << 31


@lru_cache(10_000)
def tenant_salt(tenant_id: str) -> int:
    """What is or-ed to a term's number or a metadata key; non-negative, its lower half empty."""
    return (_hash(tenant_id.encode(), 4) & 0x7FFF_FFFF) << 32


def metadata_keys(metadata: Any) -> frozenset[int]:
    """A key for each value in `metadata` with its path; numbers that are equal share one.

    What `metadata` contains has a subset of its keys, as with PostgreSQL's `@>`.
    """
    return frozenset(
        METADATA_BIT | _hash(msgspec.json.encode(leaf), 4) & 0x7FFF_FFFF
        for leaf in _leaves(metadata, ())
    )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*path, name))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, (*path, ""))
    elif isinstance(value, bool) or value is None:
        yield path, "literal", str(value)
    elif isinstance(value, int | float):
        yield path, "number", format(Decimal(str(value)).normalize() + 0, "f")  # -0 is 0.
    else:
        yield path, "text", str(value)


def _hash(value: bytes, size: int) -> int:
    return int.from_bytes(hashlib.blake2b(value, digest_size=size).digest(), "big")
