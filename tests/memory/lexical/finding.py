"""What the index would find, without the index."""

from memory.lexical.analysis import analyser
from memory.lexical.languages import Language


def found_by(query: str, text: str, language: Language = "english") -> list[str]:
    """The words of `query` by which it finds `text`, in their order."""
    known = analyser(language)
    stored = known.terms(text)
    return [word for number, word in known.query_terms(query).items() if number in stored]


def asked(query: str, language: Language = "english") -> list[str]:
    """The words that `query` asks for, in their order."""
    return list(analyser(language).query_terms(query).values())
