"""Checks of a message that depend on settings or look deeper than a schema can."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from memory.errors import InvalidFieldError
from memory.messages import NewMessage, TenantId
from memory.search import QUERIES_MAX_CHARS, QUERY_MAX_CHARS, SearchRequest

METADATA_MAX_BYTES = 16_384
METADATA_MAX_DEPTH = 8
# PostgreSQL and JavaScript agree on integers of this size; larger ones lose digits on the way.
INTEGER_LIMIT = 2**63
# PostgreSQL gives 1e23 back as an integer of 24 digits, and that is not what the float was.
FLOAT_LIMIT = 2.0**53
EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)


def checked_tenant(tenant_id: str) -> str:
    """`tenant_id`, if it can be one; else raises `InvalidFieldError`."""
    try:
        return msgspec.convert(tenant_id, TenantId)
    except msgspec.ValidationError as error:
        raise InvalidFieldError("tenant_id", str(error)) from None


def check_message(message: NewMessage, content_max_chars: int) -> None:
    """Raise `InvalidFieldError` for the first field of `message` that cannot be stored."""
    check_text("content", message.content, content_max_chars)
    check_text("conversation_id", message.conversation_id, 128)
    _check_metadata(message.metadata)
    if message.created_at and not EARLIEST < message.created_at < LATEST:
        raise InvalidFieldError("created_at", "must lie between the years 1000 and 9000")


def check_text(field: str, value: str, max_chars: int) -> None:
    """Raise `InvalidFieldError` when `value` is too long or is not storable Unicode text."""
    if len(value) > max_chars:
        raise InvalidFieldError(field, f"is longer than {max_chars} characters")
    if "\0" in value:
        raise InvalidFieldError(field, "has a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidFieldError(field, "has a lone surrogate, which is not Unicode text") from None


def check_search(asked: SearchRequest) -> None:
    """Raise `InvalidFieldError` for the first field of `asked` that cannot be searched for."""
    if (asked.query is None) == (asked.queries is None):
        raise InvalidFieldError("query", "or queries must be given, and not both")
    queries = asked.queries or [asked.query or ""]
    for query in queries:
        check_text("queries" if asked.queries else "query", query, QUERY_MAX_CHARS)
    if sum(map(len, queries)) > QUERIES_MAX_CHARS:
        reason = f"are longer than {QUERIES_MAX_CHARS} characters together"
        raise InvalidFieldError("queries", reason)
    check_text("conversation_id", asked.conversation_id or "", 128)
    _check_metadata(asked.metadata or {})


def _check_metadata(metadata: dict[str, Any]) -> None:
    # Once before each value is looked at, which takes seconds where there are millions.
    if _is_too_large(metadata):
        raise InvalidFieldError("metadata", f"is larger than {METADATA_MAX_BYTES} bytes as JSON")
    _check_value(metadata, METADATA_MAX_DEPTH)


def _is_too_large(metadata: dict[str, Any]) -> bool:
    try:
        return len(msgspec.json.encode(metadata)) > METADATA_MAX_BYTES
    except (RecursionError, ValueError, OverflowError):
        # What is no JSON at all has a value that is refused by name.
        return False


def _check_value(value: Any, depth: int) -> None:
    match value:
        case str():
            check_text("metadata", value, METADATA_MAX_BYTES)
        case bool() | None:
            pass
        case float():
            if not -FLOAT_LIMIT <= value <= FLOAT_LIMIT:
                raise InvalidFieldError("metadata", "has a float beyond 2**53, which loses digits")
        case int():
            if not -INTEGER_LIMIT <= value < INTEGER_LIMIT:
                raise InvalidFieldError("metadata", "has an integer of more than 64 bits")
        case dict() | list():
            if depth == 0:
                raise InvalidFieldError("metadata", f"is nested over {METADATA_MAX_DEPTH} deep")
            for item in value if isinstance(value, list) else [*value.keys(), *value.values()]:
                _check_value(item, depth - 1)
