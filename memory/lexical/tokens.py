"""The words of a text: Unicode-correct, with names, numbers, code and addresses kept findable."""

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import regex

# Words joined by what stands inside addresses, paths, versions, numbers and code.
CHUNK = regex.compile(r"\w+(?:[.,:;/\\@#&=?%+~$'’_-]+\w+)*(?:\+\+|#)?")
WORD = regex.compile(r"\w+")
# A part of camelCase or snake_case: `getHTTPUrl_2` is get, HTTP, Url and 2.
CASED_PART = regex.compile(r"\p{Lu}+(?!\p{Ll})|\p{Lu}?[^\W\p{Lu}_]+|\p{Lu}+")
# Scripts that write no space between words, and Hangul, whose particles hang on the words.
UNSPACED = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}"
    r"\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー々]+"
)
# Soft hyphens, joiners, frames, the colours of emoji: inside a word they part it, beside an
# emoji they would be one.
UNSEEN = regex.compile(r"[[\p{Default_Ignorable_Code_Point}\p{Me}]--[\u200b]]+", regex.V1)
MARKS_TOO_MANY = regex.compile(r"([\p{M}ﾞﾟ]{30})[\p{M}ﾞﾟ]+")
SENTENCE_ENDS = frozenset(".!?…:;。！？-–—*•")
# What is longer is no word that anybody asks for; its parts are kept.
COMPOUND_MAX_CHARS = 200


class Token(NamedTuple):
    """A word as the index knows it.

    `text` is in lower case. `whole` marks what must not be stemmed: compounds, numbers and pairs
    of characters. `name` marks a word written as a name is, so that it is none of the stop words.
    """

    text: str
    whole: bool = False
    name: bool = False


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """What stands between the spaces of `text`, and whether it stands within a sentence.

    Within a sentence a capital marks a name.
    """
    text = text if text.isascii() else _plain(text)
    inside = False
    for piece in text.split():
        yield piece, inside
        inside = piece[-1] not in SENTENCE_ENDS


def tokens(piece: str, inside: bool, *, query: bool = False) -> Iterator[Token]:
    """The words of a piece in their order, compounds before their parts.

    In scripts without spaces each pair of neighbouring characters is a word. A message is also
    found by each single one; a `query` of several characters asks for the pairs only.
    """
    for found in CHUNK.finditer(piece):
        yield from _of_chunk(found[0], inside, query)
        inside = True


def _plain(text: str) -> str:
    """`text` with one spelling for what reads alike, and without what is not seen."""
    # More marks on one letter than any script has; to put them in order takes their square.
    seen = MARKS_TOO_MANY.sub(r"\1", UNSEEN.sub("", text))
    return unicodedata.normalize("NFKC", seen)


def _of_chunk(chunk: str, inside: bool, query: bool) -> Iterator[Token]:
    words = WORD.findall(chunk)
    if (len(words) > 1 or chunk != words[0]) and not _apostrophes_only(chunk):
        yield from _compound(chunk)
    for word in words:
        yield from _of_word(word, inside, query)
        inside = True


def _compound(chunk: str) -> Iterator[Token]:
    if len(chunk) > COMPOUND_MAX_CHARS:
        return
    digits = chunk.replace(",", "").replace("'", "").replace("’", "").replace("-", "")
    # 1,234 and 555-0199 are found by 1234 and 5550199 too.
    yield Token(digits if digits.isdecimal() else chunk.casefold(), whole=True)


def _of_word(word: str, inside: bool, query: bool) -> Iterator[Token]:
    if not word.isascii() and UNSPACED.search(word):
        yield from _unspaced(word, query)
        return
    has_case = not (word.islower() or word.isupper() or word.istitle())
    parts = CASED_PART.findall(word) if has_case or "_" in word else []
    if len(parts) > 1:
        yield Token(word.casefold(), whole="_" in word or any(map(str.isdigit, word)), name=True)
        for part in parts:
            yield Token(part.casefold())
    elif any(map(str.isalnum, word)):  # Else it is what an emoji is made of.
        number = any(character.isdigit() for character in word)
        name = len(word) > 1 and (word.isupper() or (word[0].isupper() and inside))
        yield Token(word.strip("_").casefold(), whole=number, name=name)


def _unspaced(word: str, query: bool) -> Iterator[Token]:
    place = 0
    for run in UNSPACED.finditer(word):
        yield from _of_word(word[place : run.start()], True, query)
        characters = run[0]
        if not query or len(characters) == 1:
            yield from (Token(character, whole=True) for character in characters)
        for start in range(len(characters) - 1):
            yield Token(characters[start : start + 2], whole=True)
        place = run.end()
    yield from _of_word(word[place:], True, query)


def _apostrophes_only(chunk: str) -> bool:
    return not regex.search(r"[^\w'’]|\d['’]\d", chunk)
