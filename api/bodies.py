"""Request bodies: read as JSON, with an error that names the field at fault."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from litestar import Request

from api.problems import FieldError, ProblemError, invalid
from memory.checks import check_message, check_search
from memory.errors import InvalidFieldError
from memory.messages import BATCH_MAX_MESSAGES, NewMessage
from memory.search import SearchRequest

Body = TypeVar("Body")

# ASCII is a part of it.
UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
# Two escapes of six bytes each, as JSON has them at its longest.
CHARACTER_MAX_BYTES = 12
BESIDE_CONTENT_MAX_BYTES = 256 * 1024

NEW_MESSAGE = msgspec.json.Decoder(NewMessage)
SEARCH_REQUEST = msgspec.json.Decoder(SearchRequest)


class RawBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch with its messages undecoded, so that each can fail by itself."""

    messages: list[msgspec.Raw]
    partial: bool = False


RAW_BATCH = msgspec.json.Decoder(RawBatch)


def check_json(request: Request[Any, Any, Any]) -> None:
    """Raise a 415 unless the body is said to be JSON, in UTF-8 and as it is."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type.strip() != "application/json":
        raise ProblemError(415, "unsupported-media-type", "Send a body of application/json.")
    charset = re.search(r"(?:^|;)\s*charset\s*=\s*\"?([^\";\s]*)", parameters)
    if charset and charset[1] not in UTF_8:
        raise ProblemError(415, "unsupported-media-type", "Send JSON in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ProblemError(415, "unsupported-media-type", "Send the body as it is, unpacked.")


def read_message(body: bytes, content_max_chars: int) -> NewMessage:
    """The message in `body`; raises the 400 that says what is wrong with it."""
    message = _decoded(body, content_max_chars)
    if isinstance(message, FieldError):
        raise invalid([message])
    return message


def read_batch(body: bytes, content_max_chars: int) -> tuple[list[NewMessage], list[FieldError]]:
    """The valid messages of a batch in their order, and what is wrong with the others.

    Raises a 400 with all errors when any message is wrong and the batch is not `partial`, or
    when none is right.
    """
    batch = read(RAW_BATCH, body)
    if not 1 <= len(batch.messages) <= BATCH_MAX_MESSAGES:
        count = len(batch.messages)
        reason = f"takes 1 to {BATCH_MAX_MESSAGES} messages, not {count}"
        raise invalid([FieldError("messages", reason)])
    decoded = [_decoded_part(raw, content_max_chars) for raw in batch.messages]
    errors = [
        FieldError(each.field, each.message, index)
        for index, each in enumerate(decoded)
        if isinstance(each, FieldError)
    ]
    messages = [each for each in decoded if isinstance(each, NewMessage)]
    if errors and (not batch.partial or not messages):
        raise invalid(errors)
    return messages, errors


def read_search(body: bytes) -> SearchRequest:
    """The search that `body` asks for; raises the 400 that says what is wrong with it."""
    asked = read(SEARCH_REQUEST, body)
    check_search(asked)
    return asked


def search_request(**values: Any) -> SearchRequest:
    """The search of URL parameters; raises the 400 that says what is wrong with them."""
    try:
        asked = msgspec.convert(values, SearchRequest)
    except msgspec.ValidationError as error:
        raise invalid([field_error(error)]) from None
    check_search(asked)
    return asked


def read(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """What `decoder` makes of `body`; raises the 400 that says what is wrong with it."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid([field_error(error)]) from None


def read_id(field: str, text: str) -> UUID:
    """The id that `text` is; raises `InvalidFieldError` about `field` when it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidFieldError(field, "is not a UUID") from None


def read_idempotency_key(key: str | None, messages: Sequence[NewMessage]) -> str | None:
    """The Idempotency-Key of a request, None without one; raises a 400 for an unusable one."""
    if key is None:
        return None
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise invalid([FieldError("Idempotency-Key", "takes 1 to 255 printable ASCII characters")])
    if len({message.tenant_id for message in messages}) > 1:
        reason = "goes with messages of one tenant only"
        raise invalid([FieldError("Idempotency-Key", reason)])
    return key


def field_error(error: Exception) -> FieldError:
    """The field that a decoding error is about, and what is wrong with it."""
    if isinstance(error, RecursionError):
        return FieldError("", "The JSON is nested too deep.")
    if isinstance(error, UnicodeDecodeError):
        return FieldError("", "The body is not UTF-8.")
    message, _, path = str(error).partition(" - at `$.")
    named = re.search(r"(?:required|unknown) field `([^`]*)`", message)
    return FieldError(named[1] if named else re.sub(r"\W.*", "", path), message)


def _decoded_part(raw: msgspec.Raw, content_max_chars: int) -> NewMessage | FieldError:
    most = content_max_chars * CHARACTER_MAX_BYTES + BESIDE_CONTENT_MAX_BYTES
    if memoryview(raw).nbytes > most:
        return FieldError("content", f"is of a message of more than {most} bytes")
    return _decoded(raw, content_max_chars)


def _decoded(body: bytes | msgspec.Raw, content_max_chars: int) -> NewMessage | FieldError:
    try:
        message = NEW_MESSAGE.decode(body)
        check_message(message, content_max_chars)
    except InvalidFieldError as error:
        return FieldError(error.field, error.message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return field_error(error)
    return message
