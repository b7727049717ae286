"""What is kept in a process for a while, and not more of it than there is room for."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Known = TypeVar("Known")


def remember(known: OrderedDict[Key, Known], key: Key, what: Known, most: int) -> None:
    """Note `what` for `key`; of more than `most` forget the one that was noted longest ago."""
    known[key] = what
    known.move_to_end(key)
    if len(known) > most:
        known.popitem(last=False)
