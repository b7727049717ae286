"""What COPY does with the rows of batches: the floor of `POST /v1/messages/batch`."""

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import Any

import psycopg
import uuid_utils

from bench.speed.inserting import STORED, rows_of
from bench.speed.posting import NUMBER
from memory.settings import Settings

ID = "\x00ID\x00"
MESSAGES = (
    "tenant_id, id, conversation_id, role, content, metadata, importance_score, markers,"
    " embedding_status, created_at, ingested_at, updated_at"
)
TERMS = "tenant_id, message_id, kind, analyser, length, weights, keys"


class Group:
    """The rows of one batch as COPY takes them; each time with other ids and another number."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._size = len(rows)
        self._messages = halves("".join(line(*message(row)) for row in rows))
        self._terms = halves("".join(line(*terms(row)) for row in rows))

    def lines(self, number: int) -> tuple[bytes, bytes]:
        """The rows of `messages` and those of `message_terms`."""
        ids = [str(uuid_utils.uuid7()).encode() for _ in range(self._size)]
        own = b"%09d" % number
        messages, entries = (
            b"".join(chain.from_iterable(zip(parts, [*ids, b""], strict=True)))
            for parts in (self._messages, self._terms)
        )
        return messages.replace(NUMBER.encode(), own), entries


def halves(text: str) -> list[bytes]:
    """What stands around the ids."""
    return text.encode().split(ID.encode())


def message(row: dict[str, Any]) -> Iterator[Any]:
    """The columns of `MESSAGES`."""
    said = row["created_at"]
    yield from (row["tenant_id"], ID, *(row[name] for name in STORED), said, said, said)


def terms(row: dict[str, Any]) -> Iterator[Any]:
    """The columns of `TERMS`."""
    yield from (row["tenant_id"], ID, "content")
    yield from (row[name] for name in ("analyser", "length", "weights", "keys"))


def line(*values: object) -> str:
    """A line of COPY's text form."""
    escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    table = str.maketrans(escapes)
    return "\t".join(str(value).translate(table) for value in values) + "\n"


def copy(
    settings: Settings, texts: Sequence[str], size: int, clients: int, seconds: float
) -> float:
    """Messages a second, `size` a transaction, by so many connections of the tables' owner.

    Row-level security lets nobody else COPY.
    """
    rows = rows_of(settings, texts)
    groups = [Group(rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
    numbers = count()
    done: list[int] = []
    until = time.perf_counter() + seconds

    def work() -> None:
        with psycopg.connect(settings.database_url) as connection:
            while time.perf_counter() < until:
                number = next(numbers)
                messages, entries = groups[number % len(groups)].lines(number)
                with connection.cursor() as cursor:
                    with cursor.copy(f"copy messages ({MESSAGES}) from stdin") as into:
                        into.write(messages)
                    with cursor.copy(f"copy message_terms ({TERMS}) from stdin") as into:
                        into.write(entries)
                connection.commit()
                done.append(size)

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return sum(done) / (time.perf_counter() - started)
