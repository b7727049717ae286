"""Making text fit a model: its encoding and its window."""

import unicodedata
from collections.abc import Iterator, Sequence

# The remote models take 2,048 pieces or more, and a piece has some three bytes in any language:
# 6,000 letters of English, 2,000 characters of Chinese. A provider cuts off what does not fit.
PART_BYTES = 6000
OVERLAP_CHARACTERS = 300
# How tokenizers write the blank before a piece; the first of the two is a letter.
BLANKS = "Ġ▁"


def well_formed(text: str) -> str:
    """`text` with every lone surrogate, which no encoder takes, replaced by `?`."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def is_word(piece: str) -> bool:
    """Whether a word piece, as its tokenizer writes it, has a letter, a mark on one or a digit."""
    return any(unicodedata.category(letter)[0] in "LMN" for letter in piece.lstrip(BLANKS))


def split_by_bytes(text: str) -> list[str]:
    """The parts of `text` of at most 6,000 bytes of UTF-8; the next repeats 300 characters.

    A part ends after a blank where its last 300 characters have one. At least one part.
    """
    rest = well_formed(text)
    parts = []
    while len(rest.encode()) > PART_BYTES:
        part = rest[:PART_BYTES].encode()[:PART_BYTES].decode(errors="ignore")
        blank = max(part.rfind(space, len(part) - OVERLAP_CHARACTERS) for space in " \n")
        part = part[: blank + 1] or part
        parts.append(part)
        rest = rest[len(part) - OVERLAP_CHARACTERS :]
    return [*parts, rest]


def split_by_pieces(
    text: str,
    words: Sequence[int | None],
    offsets: Sequence[tuple[int, int]],
    *,
    room: int,
    overlap: int,
) -> list[str]:
    """The parts of `text` of at most `room` pieces; the next repeats at least `overlap` of them.

    `words` and `offsets` give each piece's word and characters. Parts are cut between words; a
    word longer than the room is cut. Joined, the parts hold every character of `text`.
    """
    starts = [i == 0 or words[i] != words[i - 1] for i in range(len(words))]
    begins = [0, *(begin for begin, _ in offsets[1:]), len(text)]
    return [text[begins[a] : begins[b]] for a, b in _spans(starts, room, overlap)]


def _spans(starts: Sequence[bool], room: int, overlap: int) -> Iterator[tuple[int, int]]:
    first = 0
    while len(starts) - first > room:
        end = _cut(starts, first + room, first + overlap)
        yield first, end
        first = _cut(starts, end - overlap, first)
    yield first, len(starts)


def _cut(starts: Sequence[bool], latest: int, after: int) -> int:
    """The last start of a word that is at most `latest` and comes after `after`, else `latest`."""
    return next((i for i in range(latest, after, -1) if starts[i]), latest)
