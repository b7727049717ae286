"""The `session_1`, `session_2`, ... keys of a LoCoMo or REALTALK conversation."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from bench.conversations import DatasetError
from bench.datasets.dates import read_date

SESSION = re.compile(r"session_(\d+)")
Said = TypeVar("Said")


def session_keys(keys: Mapping[str, Any]) -> list[str]:
    """The keys that hold turns, in the order of their numbers."""
    found = [key for key in keys if SESSION.fullmatch(key)]
    return sorted(found, key=session_number)


def session_number(key: str) -> int:
    """2 of `session_2`."""
    return int(key.removeprefix("session_"))


def sessions(entry: Mapping[str, Any], turn: type[Said]) -> Iterator[tuple[str, list[Said]]]:
    """Each session's key with its turns.

    Raises `DatasetError` that names the session whose turns are not of type `turn`.
    """
    keys = session_keys(entry)
    if not keys:
        raise DatasetError("has no session_1, session_2, ...")
    for key in keys:
        try:
            yield key, msgspec.convert(entry[key], list[turn])  # type: ignore[valid-type]
        except msgspec.ValidationError as error:
            raise DatasetError(f"{key}: {error}") from None


def stated_date(entry: Mapping[str, Any], session: str) -> datetime:
    """When `session` began; raises `DatasetError` when that is not stated readably."""
    value = entry.get(f"{session}_date_time")
    if not isinstance(value, str):
        raise DatasetError(f"{session}_date_time is missing or no text")
    try:
        return read_date(value)
    except DatasetError as error:
        raise DatasetError(f"{session}_date_time: {error}") from None
