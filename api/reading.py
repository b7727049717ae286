"""What is to be stored, and its words: what is long is read beside the event loop, by turns."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from memory.lexical.analysis import Analyser
from memory.lexical.bm25 import Entry, content_entry
from memory.markers import markers
from memory.messages import NewMessage

# To read so many takes a millisecond or two.
MANY_CHARACTERS = 5_000
# And so many at once a tenth of a second, unless a single message has more.
LOT_CHARACTERS = 20_000

# JSON of so many bytes, at most, is decoded and checked in ten milliseconds or so.
MANY_BYTES = 32 * 1024

Words = tuple[list[Entry], list[float]]
Decoded = TypeVar("Decoded")


class Reader:
    """Reads one lot at a time, whoever's it is, and the next one of another who waits.

    More at once would be no faster, for a process reads with one processor; they would only hold up
    all else that it does, for as long as batches come.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def decode(
        self, decode: Callable[[bytes, int], Decoded], body: bytes, content_max_chars: int
    ) -> Decoded:
        """What `decode` makes of `body`; raises what it raises."""
        if len(body) <= MANY_BYTES:
            return decode(body, content_max_chars)
        async with self._turn:
            return await asyncio.to_thread(decode, body, content_max_chars)

    async def read(self, new: Sequence[NewMessage], analysers: Mapping[str, Analyser]) -> Words:
        """The lexical entries of `new` and their markers. A caller that is cancelled ends it."""
        if sum(len(each.content) for each in new) <= MANY_CHARACTERS:
            return read_lot(new, analysers)
        entries: list[Entry] = []
        marks: list[float] = []
        for lot in lots_of(new):
            async with self._turn:
                found = await asyncio.to_thread(read_lot, lot, analysers)
            entries += found[0]
            marks += found[1]
        return entries, marks


def lots_of(new: Sequence[NewMessage]) -> Iterator[list[NewMessage]]:
    """`new` in their order, as many together as have few characters."""
    lot: list[NewMessage] = []
    characters = 0
    for each in new:
        if lot and characters + len(each.content) > LOT_CHARACTERS:
            yield lot
            lot, characters = [], 0
        lot.append(each)
        characters += len(each.content)
    if lot:
        yield lot


def read_lot(new: Sequence[NewMessage], analysers: Mapping[str, Analyser]) -> Words:
    """What `Reader.read` gives, here and now."""
    entries = [
        content_entry(analysers[each.tenant_id], each.tenant_id, each.content, each.metadata)
        for each in new
    ]
    return entries, [markers(each.content) for each in new]
