"""Texts as terms: what the lexical index stores of a message and looks for in it."""

import hashlib
import threading
import unicodedata
from collections import Counter
from functools import cache, lru_cache

import Stemmer

from memory.lexical.languages import Language, stop_words
from memory.lexical.tokens import Token, pieces, tokens

# Raised whenever the same text would give other terms than before.
ANALYSER_VERSION = 1
# The number of a term is its place in a pgvector `sparsevec` of so many dimensions.
TERM_SPACE = 1_000_000_000
# Most of what people write they have written before: what its pieces give is remembered.
PIECES_KEPT = 50_000
PIECE_KEPT_CHARS = 40
# Letters that Unicode does not take apart.
STROKES = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "\u0131": "i", "æ": "ae", "œ": "oe"})


class Analyser:
    """Gives the terms of texts of one language. Safe from several threads."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self.name = f"{language}/{ANALYSER_VERSION}"
        self._stop_words = stop_words(language)
        self._stemmer = None if language == "none" else Stemmer.Stemmer(language)
        self._lock = threading.Lock()
        # German writes every noun with a capital, which therefore tells no name from a word.
        self._capitals_tell = language != "german"
        self._known = lru_cache(PIECES_KEPT)(self._of_piece)

    def terms(self, text: str) -> Counter[int]:
        """How often each term stands in `text`, by the number of the term."""
        found: list[int] = []
        for piece, inside in pieces(text):
            found += self._numbers(piece, inside)
        return Counter(found)

    def query_terms(self, text: str) -> dict[int, str]:
        """The terms that `text` asks for, by number, each with a word of the text."""
        asked: dict[int, str] = {}
        for piece, inside in pieces(text):
            for token in tokens(piece, inside, query=True):
                if self._tells(token):
                    asked.setdefault(self._number(token), token.text)
        return asked

    def _numbers(self, piece: str, inside: bool) -> tuple[int, ...]:
        known = len(piece) <= PIECE_KEPT_CHARS
        return self._known(piece, inside) if known else self._of_piece(piece, inside)

    def _of_piece(self, piece: str, inside: bool) -> tuple[int, ...]:
        return tuple(self._number(token) for token in tokens(piece, inside) if self._tells(token))

    def _tells(self, token: Token) -> bool:
        named = token.name and self._capitals_tell
        return named or token.whole or token.text not in self._stop_words

    def _number(self, token: Token) -> int:
        return term_number(folded(token.text if token.whole else self._stem(token.text)))

    def _stem(self, word: str) -> str:
        if self._stemmer is None:
            return word
        with self._lock:  # A stemmer is not safe from several threads.
            return str(self._stemmer.stemWord(word))


@cache
def analyser(language: Language) -> Analyser:
    """The analyser of `language`, one a process."""
    return Analyser(language)


def term_number(term: str) -> int:
    """The number of a term, 1 to `TERM_SPACE`. Two of 50,000 terms may share one."""
    digest = hashlib.blake2b(term.encode("utf-8", "replace"), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % TERM_SPACE


def folded(word: str) -> str:
    """`word` without the accents and strokes of Latin and Greek letters, as hurried people write.

    Marks of other scripts are vowels or tell letters apart, and stay.
    """
    if word.isascii():
        return word
    kept: list[str] = []
    for character in unicodedata.normalize("NFD", word.translate(STROKES)):
        plain = not kept or ord(kept[-1][-1]) < 0x400
        if not (plain and unicodedata.combining(character)):
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))
