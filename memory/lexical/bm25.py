"""BM25 in two halves: what a message stores of each term, and what a search makes of it.

A term that stands `f` times in a text of `l` terms is worth, with the tenant's mean length `a`,

    idf * f * (k1 + 1) / (f + K(l, a)),    K(l, a) = k1 * (1 - b + b * l / a)

(Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009). `a` and the idf change with
each message that comes, so neither is stored: a row holds the weights as they are at a fixed
reference length, and the search multiplies a row's sum by (1 + K(l, reference)) / (1 + K(l, a)).
For a term that stands once that is BM25 to the letter whatever `a` has become. For one that
stands twice it is off by a tenth at most while `a` is 8 to 32, and by a fifth up to 64
(`docs/decisions/0005-lexical-and-dense.md`).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from memory.lexical.analysis import TERM_SPACE, Analyser
from memory.lexical.keys import metadata_keys, tenant_salt

K1 = 1.2
B = 0.75
REFERENCE_LENGTH = 16
# pgvector keeps so many entries in a `sparsevec`: of a text with more, the most frequent count.
MOST_TERMS = 16_000


class Entry(NamedTuple):
    """A text as the lexical index stores it; `weights` and `keys` are PostgreSQL literals.

    `analyser` names what made the terms. `length` is in terms, repeated ones counted. `weights` is
    a `sparsevec` with a weight a term, `keys` an `int8[]` by which the row is found.
    """

    analyser: str
    length: int
    weights: str
    keys: str


def content_entry(
    analyser: Analyser, tenant_id: str, content: str, metadata: dict[str, Any]
) -> Entry:
    """What finds a message by its own words and by its metadata."""
    terms = analyser.terms(content)
    return _entry(analyser, terms, tenant_salt(tenant_id), metadata_keys(metadata))


def context_entry(analyser: Analyser, tenant_id: str, previous: str, content: str) -> Entry:
    """What finds a message by its words and those of the message before it."""
    terms = analyser.terms(previous)
    terms.update(analyser.terms(content))
    return _entry(analyser, terms, tenant_salt(tenant_id), frozenset())


def _entry(
    analyser: Analyser, terms: Mapping[int, int], salt: int, more_keys: frozenset[int]
) -> Entry:
    length = sum(terms.values())
    if len(terms) > MOST_TERMS:
        kept = sorted(terms, key=lambda term: -terms[term])[:MOST_TERMS]
        terms = {term: terms[term] for term in kept}
    saturation = K1 * (1 - B + B * length / REFERENCE_LENGTH)
    weights = ",".join(
        f"{term}:{count * (K1 + 1) / (count + saturation):.5g}" for term, count in terms.items()
    )
    keys = ",".join(str(salt | key) for key in (*terms, *more_keys))
    return Entry(analyser.name, length, f"{{{weights}}}/{TERM_SPACE}", f"{{{keys}}}")
